//! The registrations of a bus: a record of each, and the whole wiring as a table, Mermaid and DOT.

#[cfg(feature = "alloc")]
mod drawing;

#[cfg(feature = "alloc")]
pub use drawing::Wiring;

#[cfg(feature = "async")]
use crate::handler::AtOnce;
use crate::handler::Function;
use crate::message::Message;
use core::{any::type_name, fmt};

/// The registration of one handler for one message.
///
/// ```
/// use static_bus::{prelude::*, wiring::Kind};
/// struct Ping;
/// query!(Ping -> u8, name = "net.ping");
/// struct Pong;
/// impl<B> QueryHandler<Ping, B> for Pong {
///     fn handle(&self, _: Ping, _bus: &B) -> u8 { 1 }
/// }
/// let bus = BusBuilder::new().register_query::<Ping, _>(Pong).build();
/// let wiring = bus.wiring();
/// let registration = wiring.registrations()[0];
/// assert_eq!(registration.kind, Kind::Query);
/// assert_eq!(registration.message, "net.ping");
/// assert!(registration.handler.ends_with("::Pong"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// The message's kind.
    pub kind: Kind,
    /// The message's name.
    pub message: &'static str,
    /// The type name of the handler; for a function or closure, the name of the function.
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

/// The kind of a message.
///
/// ```
/// use static_bus::wiring::Kind;
/// assert_eq!(Kind::Command.to_string(), "command");
/// assert!(Kind::Query < Kind::Command && Kind::Command < Kind::Event);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// 1:1, with a response.
    Query,
    /// 1:1, without one.
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

/// A table, or a part of one, that lists its registrations.
#[doc(hidden)]
pub trait Registrations {
    fn each(visit: &mut dyn FnMut(Registration));
}

/// The type name of a handler; for a function, without the wrapper [`Function`].
pub(crate) fn handler_name<H>() -> &'static str {
    let name = type_name::<H>();
    #[cfg(feature = "async")]
    let name = without(AtOnce::<()>::PATH, name);
    without(Function::<()>::PATH, name)
}
#[inline]
fn without(wrapper: &str, name: &'static str) -> &'static str {
    name.strip_prefix(wrapper)
        .and_then(|rest| rest.strip_suffix('>'))
        .unwrap_or(name)
}
