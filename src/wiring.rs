//! The registrations of a bus: a record of each, and the whole wiring as a table, Mermaid and DOT.

#[cfg(feature = "alloc")]
mod drawing;
mod names;

#[cfg(feature = "alloc")]
pub use drawing::Wiring;
#[cfg(feature = "testing")]
pub(crate) use drawing::{escaped, quoted};
pub use names::Layers;
pub(crate) use names::handler_name;

use crate::message::Message;
use core::fmt;

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
    layers: Layers,
    remote: bool,
}
impl Registration {
    pub(crate) fn new<M: Message, H>(kind: Kind) -> Self {
        let (handler, layers) = names::of::<H>();
        Registration {
            kind,
            message: M::NAME,
            handler,
            layers,
            remote: false,
        }
    }

    /// The registration of a remote handler, such as a broker, for a client that passes its messages through
    /// [layers](mod@crate::layer). `handler` is its name, without secrets.
    ///
    /// ```
    /// use static_bus::{prelude::*, wiring::{Kind, Registration}};
    /// struct Ping;
    /// query!(Ping -> u8, name = "net.ping");
    /// let registration = Registration::remote::<Ping>(Kind::Query, "redis://10.0.0.7:6379");
    /// assert_eq!(format!("{registration:?}"), "query net.ping -> redis://10.0.0.7:6379");
    /// assert!(registration.is_remote());
    /// ```
    pub const fn remote<M: Message>(kind: Kind, handler: &'static str) -> Self {
        Registration {
            kind,
            message: M::NAME,
            handler,
            layers: Layers::NONE,
            remote: true,
        }
    }

    /// True if the handler is behind a client that sends the message to another process.
    pub const fn is_remote(&self) -> bool {
        self.remote
    }

    /// The type names of the [layers](mod@crate::layer) around the handler, the innermost first.
    pub const fn layers(&self) -> Layers {
        self.layers
    }
}
impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.kind, self.message, self.handler)?;
        if !self.layers.is_empty() {
            write!(f, " within {}", self.layers)?;
        }
        Ok(())
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
