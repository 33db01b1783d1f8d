//! The wiring of a bus, for people to read.

use super::Registration;
use crate::bus::Bus;
use crate::table::Registrations;
use alloc::{string::String, vec::Vec};
use core::fmt::{self, Write};

impl<T: Registrations, O> Bus<T, O> {
    /// Lists what is registered.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Ping;
    /// query!(Ping -> u8, name = "net.ping");
    /// fn pong(_: Ping) -> u8 { 1 }
    /// let bus = BusBuilder::new().register_query_fn(pong).build();
    /// assert_eq!(bus.wiring().registrations().len(), 1);
    /// ```
    pub fn wiring(&self) -> Wiring {
        let mut all = Vec::new();
        T::each(&mut |registration| all.push(registration));
        all.sort_by_key(|registration| (registration.kind, registration.message));
        Wiring(all)
    }
}

/// Every registration of a bus: queries, commands, events, each by message name, and the subscribers
/// of one event in registration order.
///
/// `Display` prints a table:
///
/// ```
/// use static_bus::prelude::*;
/// struct Ping;
/// query!(Ping -> u8, name = "net.ping");
/// struct Pong;
/// impl<B> QueryHandler<Ping, B> for Pong {
///     fn handle(&self, _: Ping, _bus: &B) -> u8 { 1 }
/// }
/// let bus = BusBuilder::new().register_query::<Ping, _>(Pong).build();
/// let table = bus.wiring().to_string();
/// assert!(table.starts_with("kind     message   handler\nquery    net.ping  "));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring(Vec<Registration>);

impl Wiring {
    /// The registrations, in the order of the table.
    ///
    /// ```
    /// let bus = static_bus::prelude::BusBuilder::new().build();
    /// assert!(bus.wiring().registrations().is_empty());
    /// ```
    pub fn registrations(&self) -> &[Registration] {
        &self.0
    }

    /// A [Mermaid](https://mermaid.js.org) flowchart: messages on the left, their handlers on the
    /// right.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Ping;
    /// query!(Ping -> u8, name = "net.ping");
    /// let bus = BusBuilder::new().register_query_fn(|_: Ping| 1).build();
    /// assert!(bus.wiring().mermaid().starts_with("flowchart LR\n  m0[\"query net.ping\"] --> h0"));
    /// ```
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        let mut first = 0;
        for (i, registration) in self.0.iter().enumerate() {
            let Registration {
                kind,
                message,
                handler,
            } = registration;
            // All subscribers of an event hang on the node of the first: they stand together.
            if self.0[first].message != *message {
                first = i;
            }
            let handler = handler.replace('<', "&lt;").replace('>', "&gt;");
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "  m{first}[\"{kind} {message}\"] --> h{i}[\"{handler}\"]"
            );
        }
        out
    }

    /// A [Graphviz](https://graphviz.org) digraph in the DOT language, likewise.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Ping;
    /// query!(Ping -> u8, name = "net.ping");
    /// let bus = BusBuilder::new().register_query_fn(|_: Ping| 1).build();
    /// assert!(bus.wiring().dot().contains("\"query net.ping\" -> "));
    /// ```
    pub fn dot(&self) -> String {
        let mut out = String::from("digraph wiring {\n  rankdir=LR;\n");
        for registration in &self.0 {
            let Registration {
                kind,
                message,
                handler,
            } = registration;
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  \"{kind} {message}\" -> \"{handler}\";");
        }
        out + "}\n"
    }
}

impl fmt::Display for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|registration| registration.message.len());
        let width = names.max().unwrap_or(0).max("message".len());
        writeln!(f, "{:<7}  {:<width$}  handler", "kind", "message")?;
        for registration in &self.0 {
            let Registration {
                kind,
                message,
                handler,
            } = registration;
            writeln!(f, "{kind:<7}  {message:<width$}  {handler}")?;
        }
        Ok(())
    }
}
