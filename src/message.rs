//! Messages: queries (1:1, with a response), commands (1:1, without one) and events (1:N).
//!
//! A message is a type of your own, with one line that declares its kind:
//!
//! ```
//! use static_bus::prelude::*;
//!
//! pub struct GetUser { pub id: u32 }
//! query!(GetUser -> Option<String>);
//!
//! pub struct Rename(pub u32, pub String);
//! command!(Rename -> Result<(), &'static str>);
//!
//! pub struct Renamed;
//! event!(Renamed, name = "users.renamed");
//!
//! assert_eq!(Renamed::NAME, "users.renamed");
//! ```

#[cfg(feature = "alloc")]
mod fallible;
mod macros;

#[cfg(feature = "alloc")]
pub use fallible::{Failure, PublishError};

/// A message's identity on a bus.
///
/// The macros [`query!`](crate::query!), [`command!`](crate::command!) and [`event!`](crate::event!)
/// write the impl. An impl by hand uses [`name_key!`](crate::name_key!) with the same name:
///
/// ```
/// use static_bus::prelude::*;
/// struct Ping;
/// impl Message for Ping {
///     const NAME: &'static str = "net.ping";
///     type NameKey = name_key!("net.ping");
/// }
/// impl Query for Ping { type Response = u8; }
/// let bus = BusBuilder::new().register_query_fn(|_: Ping| 1).build();
/// assert_eq!(bus.send::<Ping>(Ping), 1);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    label = "not a message",
    note = "declare it with `query!({Self} -> Response)`, `command!({Self})` or `event!({Self})`"
)]
pub trait Message {
    /// The name, unique on a bus: `module_path!()::Type` unless set with `name = "…"`.
    const NAME: &'static str;
    /// The name's hash as a type, from [`name_key!`](crate::name_key!).
    type NameKey: crate::key::Key;

    /// Passes the message's ordering key to `show`, if it has one.
    ///
    /// A broker delivers messages of one type and one key in the order in which they were sent. The
    /// macros set it with `key = field`. It has no effect within one process.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Deposit { account: u32, amount: u64 }
    /// command!(Deposit, key = account);
    ///
    /// let mut key = None;
    /// Deposit { account: 7, amount: 100 }.ordering_key(&mut |k| key = Some(k.to_string()));
    /// assert_eq!(key.as_deref(), Some("7"));
    /// ```
    #[inline]
    fn ordering_key(&self, show: &mut dyn FnMut(&dyn core::fmt::Display)) {
        _ = show;
    }

    /// What a [`Recorder`](crate::testing::Recorder) keeps of it; written by the macros.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    fn __keep(&self) -> crate::testing::Kept {
        crate::testing::Kept::default()
    }
}

/// A question to one handler, which answers with [`Response`](Query::Response).
///
/// Declared with [`query!`](crate::query!), handled by a
/// [`QueryHandler`](crate::handler::QueryHandler), sent with [`SendQuery`](crate::dispatch::SendQuery).
///
/// ```
/// use static_bus::prelude::*;
/// struct Square(u64);
/// query!(Square -> u64);
///
/// fn answer<Q: Query>(bus: &impl SendQuery<Q>, query: Q) -> Q::Response {
///     bus.send(query)
/// }
/// let bus = BusBuilder::new().register_query_fn(|query: Square| query.0 * query.0).build();
/// assert_eq!(answer(&bus, Square(9)), 81);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a query",
    label = "not a query",
    note = "declare it with `query!({Self} -> Response)`, or use `execute` for a command and `publish` for an event"
)]
pub trait Query: Message {
    /// The type of the answer.
    type Response;
}

/// An instruction to one handler, which reports success or failure, never data.
///
/// Declared with [`command!`](crate::command!), handled by a
/// [`CommandHandler`](crate::handler::CommandHandler), sent with
/// [`ExecuteCommand`](crate::dispatch::ExecuteCommand).
///
/// ```
/// use static_bus::prelude::*;
/// struct Launch { countdown: u32 }
/// command!(Launch -> Result<(), &'static str>);
///
/// let bus = BusBuilder::new()
///     .register_command_fn(|launch: Launch| if launch.countdown == 0 { Ok(()) } else { Err("too early") })
///     .build();
/// assert_eq!(bus.execute(Launch { countdown: 3 }), Err("too early"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a command",
    label = "not a command",
    note = "declare it with `command!({Self})`, or use `send` for a query and `publish` for an event"
)]
pub trait Command: Message {
    /// The output of the handler: `()` or `Result<(), E>`.
    type Output: CommandOutput;
}

/// A fact for any number of subscribers.
///
/// Declared with [`event!`](crate::event!), handled by [`EventHandler`](crate::handler::EventHandler)s,
/// published with [`PublishEvent`](crate::dispatch::PublishEvent).
///
/// ```
/// use std::cell::Cell;
/// use static_bus::prelude::*;
/// struct Landed;
/// event!(Landed);
///
/// let heard = Cell::new(0);
/// let bus = BusBuilder::new()
///     .subscribe_fn(|_: &Landed| heard.set(heard.get() + 1))
///     .subscribe_fn(|_: &Landed| heard.set(heard.get() + 1))
///     .build();
/// bus.publish(&Landed);
/// assert_eq!(heard.get(), 2);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "not an event",
    note = "declare it with `event!({Self})`, or use `send` for a query and `execute` for a command"
)]
pub trait Event: Message {
    /// The output of each subscriber: `()` or `Result<(), E>`.
    type Output: EventOutput;
}

/// The possible outputs of a command: `()` or `Result<(), E>`. Sealed.
///
/// ```compile_fail,E0277
/// use static_bus::prelude::*;
/// struct Count;
/// command!(Count -> u32); // a command's output is `()` or `Result<(), E>`
/// ```
#[diagnostic::on_unimplemented(
    message = "a command's output is `()` or `Result<(), E>`",
    label = "`{Self}` carries data",
    note = "a command reports failure, never data: ask for data with a query"
)]
pub trait CommandOutput: sealed::Sealed {}
impl CommandOutput for () {}
impl<E> CommandOutput for Result<(), E> {}

/// The possible outputs of an event: `()`, or `Result<(), E>` with feature `alloc`. Sealed.
///
/// ```
/// use static_bus::message::{EventOutput, PublishError};
///
/// fn published<O: EventOutput<Published = P>, P>() {}
/// published::<(), ()>();
/// published::<Result<(), u8>, Result<(), PublishError<u8>>>();
/// ```
#[diagnostic::on_unimplemented(
    message = "an event's output is `()` or `Result<(), E>`",
    label = "`{Self}` is neither",
    note = "`Result<(), E>` needs the feature `alloc`, which is on by default"
)]
pub trait EventOutput: sealed::Sealed + Sized {
    /// The return type of `publish`: `()`, or `Result<(), PublishError<E>>`.
    type Published;
    #[doc(hidden)]
    type Log: Default;
    #[doc(hidden)]
    fn note(self, log: &mut Self::Log, position: usize, handler: impl FnOnce() -> &'static str);
    #[doc(hidden)]
    fn finish(log: Self::Log, subscribers: usize, event: &'static str) -> Self::Published;
}
impl EventOutput for () {
    type Published = ();
    type Log = ();
    #[inline]
    fn note(self, _: &mut (), _: usize, _: impl FnOnce() -> &'static str) {}
    #[inline]
    fn finish(_: (), _: usize, _: &'static str) {}
}

mod sealed {
    pub trait Sealed {
        const SUCCESS: Self;
        fn is_failure(&self) -> bool;
    }
    impl Sealed for () {
        const SUCCESS: () = ();
        fn is_failure(&self) -> bool {
            false
        }
    }
    impl<E> Sealed for Result<(), E> {
        const SUCCESS: Self = Ok(());
        fn is_failure(&self) -> bool {
            self.is_err()
        }
    }
}
/// The output of a handler of a command or an event that succeeded.
#[cfg(feature = "testing")]
pub(crate) fn success<O: sealed::Sealed>() -> O {
    O::SUCCESS
}
/// True if a handler of a command or an event failed.
#[cfg(any(feature = "metrics", feature = "testing", feature = "tracing"))]
pub(crate) fn is_failure<O: sealed::Sealed>(output: &O) -> bool {
    output.is_failure()
}
