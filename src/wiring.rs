//! What is registered: `Debug` of a bus, and its wiring as a table, Mermaid and DOT.

use crate::bus::Bus;
use crate::handler::Function;
use crate::message::Message;
use crate::table::Registrations;
use core::{any::type_name, fmt};

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// 1:1, with a response.
    Query,
    /// 1:1, no response.
    Command,
    /// 1:N.
    Event,
}
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Query => "query",
            Kind::Command => "command",
            Kind::Event => "event",
        })
    }
}

/// One handler of one message.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// The message's kind.
    pub kind: Kind,
    /// The message's name.
    pub message: &'static str,
    /// The handler's type name.
    pub handler: &'static str,
}
impl Registration {
    pub(crate) fn new<M: Message, H>(kind: Kind) -> Self {
        Registration {
            kind,
            message: M::NAME,
            handler: handler_name::<H>(),
        }
    }
}
impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.kind, self.message, self.handler)
    }
}

/// The type name of a handler; of a function, that of the function and not of its wrapper.
pub(crate) fn handler_name<H>() -> &'static str {
    let name = type_name::<H>();
    name.strip_prefix(Function::<()>::PATH)
        .and_then(|rest| rest.strip_suffix('>'))
        .unwrap_or(name)
}

/// A flat list of registrations.
impl<T: Registrations, O> fmt::Debug for Bus<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bus ")?;
        let mut list = f.debug_list();
        T::each(&mut |registration| {
            list.entry(&registration);
        });
        list.finish()
    }
}

#[cfg(feature = "alloc")]
pub use listed::Wiring;

#[cfg(feature = "alloc")]
mod listed {
    use super::{Bus, Registration, Registrations};
    use alloc::{string::String, vec::Vec};
    use core::fmt::{self, Write};

    /// Every registration, by kind and message; subscribers of one event in registration order.
    /// `Display` prints a table.
    #[derive(Debug, Clone)]
    pub struct Wiring(Vec<Registration>);

    impl<T: Registrations, O> Bus<T, O> {
        /// Lists what is registered.
        pub fn wiring(&self) -> Wiring {
            let mut all = Vec::new();
            T::each(&mut |registration| all.push(registration));
            all.sort_by_key(|r| (r.kind, r.message));
            Wiring(all)
        }
    }

    impl Wiring {
        /// The registrations.
        pub fn registrations(&self) -> &[Registration] {
            &self.0
        }

        /// A Mermaid flowchart.
        pub fn mermaid(&self) -> String {
            self.draw("flowchart LR\n", "")
        }

        /// A Graphviz digraph.
        pub fn dot(&self) -> String {
            self.draw("digraph wiring {\n  rankdir=LR;\n", "}\n")
        }

        fn draw(&self, head: &str, foot: &str) -> String {
            let dot = !foot.is_empty();
            let mut out = String::from(head);
            for (
                i,
                Registration {
                    kind,
                    message,
                    handler,
                },
            ) in self.0.iter().enumerate()
            {
                let first = self
                    .0
                    .iter()
                    .position(|r| r.message == *message)
                    .unwrap_or(i);
                let _ = if dot {
                    writeln!(out, "  \"{kind} {message}\" -> \"{handler}\";")
                } else {
                    writeln!(
                        out,
                        "  m{first}[\"{kind} {message}\"] --> h{i}[\"{}\"]",
                        escaped(handler)
                    )
                };
            }
            out + foot
        }
    }

    fn escaped(name: &str) -> String {
        name.replace('<', "&lt;").replace('>', "&gt;")
    }

    impl fmt::Display for Wiring {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let width = self
                .0
                .iter()
                .map(|r| r.message.len())
                .max()
                .unwrap_or(0)
                .max(7);
            writeln!(f, "{:<7}  {:<width$}  handler", "kind", "message")?;
            for Registration {
                kind,
                message,
                handler,
            } in &self.0
            {
                writeln!(f, "{kind:<7}  {message:<width$}  {handler}")?;
            }
            Ok(())
        }
    }
}
