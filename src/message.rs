//! Messages: queries (1:1, with a response), commands (1:1, no response) and events (1:N).

/// A message's identity on a bus.
///
/// The macros [`query!`](crate::query), [`command!`](crate::command) and [`event!`](crate::event)
/// write the impl. By hand it takes [`key!`](crate::key!) with the same name:
///
/// ```
/// use static_bus::prelude::*;
/// struct Ping;
/// impl Message for Ping {
///     const NAME: &'static str = "net.ping";
///     type Key = key!("net.ping");
/// }
/// impl Query for Ping { type Response = u8; }
/// let bus = BusBuilder::new().register_query_fn(|_: Ping| 1).build();
/// assert_eq!(bus.send::<Ping>(Ping), 1);
/// ```
pub trait Message {
    /// The name, unique on a bus: `module_path!()::Type` unless set with `name = "…"`.
    const NAME: &'static str;
    /// The name's hash as a type, from [`key!`](crate::key!).
    type Key: crate::key::Key;
}

/// A question to one handler, which answers with [`Response`](Query::Response).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a query",
    label = "not a query",
    note = "declare it with `query!({Self} -> Response)`, or use `execute` for a command and `publish` for an event"
)]
pub trait Query: Message {
    /// What the handler answers.
    type Response;
}

/// An order to one handler, which reports success or failure, never data.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a command",
    label = "not a command",
    note = "declare it with `command!({Self})`, or use `send` for a query and `publish` for an event"
)]
pub trait Command: Message {
    /// `()` or `Result<(), E>`.
    type Output: CommandOutput;
}

/// A fact for any number of subscribers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "not an event",
    note = "declare it with `event!({Self})`, or use `send` for a query and `execute` for a command"
)]
pub trait Event: Message {
    /// What each subscriber returns: `()` or `Result<(), E>`.
    type Output: EventOutput;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
}

/// What a command's handler may return: `()` or `Result<(), E>`. Sealed.
#[diagnostic::on_unimplemented(
    message = "a command's output is `()` or `Result<(), E>`",
    label = "`{Self}` carries data",
    note = "a command reports failure, never data: ask for data with a query"
)]
pub trait CommandOutput: sealed::Sealed {}
impl CommandOutput for () {}
impl<E> CommandOutput for Result<(), E> {}

/// What an event's subscribers may return: `()`, or `Result<(), E>` with feature `alloc`. Sealed.
#[diagnostic::on_unimplemented(
    message = "an event's output is `()` or `Result<(), E>`",
    note = "`Result<(), E>` needs the feature `alloc`"
)]
pub trait EventOutput: sealed::Sealed + Sized {
    /// What `publish` returns: `()` or `Result<(), PublishError<E>>`.
    type Published;
    #[doc(hidden)]
    type Log: Default;
    #[doc(hidden)]
    fn note(self, log: &mut Self::Log, position: usize, handler: &'static str);
    #[doc(hidden)]
    fn finish(log: Self::Log, subscribers: usize, event: &'static str) -> Self::Published;
}
impl EventOutput for () {
    type Published = ();
    type Log = ();
    #[inline]
    fn note(self, _: &mut (), _: usize, _: &'static str) {}
    #[inline]
    fn finish(_: (), _: usize, _: &'static str) {}
}

#[cfg(feature = "alloc")]
pub use fallible::{Failure, PublishError};

#[cfg(feature = "alloc")]
mod fallible {
    use super::EventOutput;
    use alloc::vec::Vec;
    use core::{error::Error, fmt};

    /// One subscriber's failure.
    #[derive(Debug, Clone, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct Failure<E> {
        /// The handler's type name.
        pub handler: &'static str,
        /// Its position among the event's subscribers, from 0, in registration order.
        pub position: usize,
        /// What it returned.
        pub error: E,
    }

    /// Some subscribers of an event failed; all of them ran.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PublishError<E> {
        event: &'static str,
        subscribers: usize,
        failures: Vec<Failure<E>>,
    }

    impl<E> PublishError<E> {
        /// The failures, in registration order.
        pub fn failures(&self) -> &[Failure<E>] {
            &self.failures
        }
    }

    impl<E: fmt::Display> fmt::Display for PublishError<E> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let event = self.event.rsplit("::").next().unwrap_or(self.event);
            let (failed, all) = (self.failures.len(), self.subscribers);
            write!(f, "{failed} of {all} handlers of {event} failed: ")?;
            for (i, failure) in self.failures.iter().enumerate() {
                let separator = if i == 0 { "" } else { "; " };
                let Failure {
                    handler,
                    position,
                    error,
                } = failure;
                write!(f, "{separator}{handler} (position {position}): {error}")?;
            }
            Ok(())
        }
    }

    impl<E: fmt::Debug + fmt::Display> Error for PublishError<E> {}

    impl<E> EventOutput for Result<(), E> {
        type Published = Result<(), PublishError<E>>;
        type Log = Vec<Failure<E>>;
        #[inline]
        fn note(self, log: &mut Self::Log, position: usize, handler: &'static str) {
            if let Err(error) = self {
                log.push(Failure {
                    handler,
                    position,
                    error,
                });
            }
        }
        #[inline]
        fn finish(failures: Self::Log, subscribers: usize, event: &'static str) -> Self::Published {
            if failures.is_empty() {
                return Ok(());
            }
            Err(PublishError {
                event,
                subscribers,
                failures,
            })
        }
    }
}

/// Declares a query: `query!(GetUser -> Option<User>)`, optionally `, name = "users.get"`.
#[macro_export]
macro_rules! query {
    ($message:ident -> $response:ty) => {
        $crate::query!($message -> $response, name = concat!(module_path!(), "::", stringify!($message)));
    };
    ($message:ident -> $response:ty, name = $name:expr $(,)?) => {
        $crate::__message!($message, $name);
        impl $crate::message::Query for $message { type Response = $response; }
    };
}

/// Declares a command: `command!(CreateOrder)` or `command!(CreateOrder -> Result<(), E>)`,
/// optionally `, name = "orders.create"`.
#[macro_export]
macro_rules! command {
    ($message:ident $(, name = $name:expr)? $(,)?) => {
        $crate::command!($message -> () $(, name = $name)?);
    };
    ($message:ident -> $output:ty) => {
        $crate::command!($message -> $output, name = concat!(module_path!(), "::", stringify!($message)));
    };
    ($message:ident -> $output:ty, name = $name:expr $(,)?) => {
        $crate::__message!($message, $name);
        impl $crate::message::Command for $message { type Output = $output; }
    };
}

/// Declares an event: `event!(OrderCreated)` or `event!(OrderCreated -> Result<(), E>)`,
/// optionally `, name = "orders.created"`.
#[macro_export]
macro_rules! event {
    ($message:ident $(, name = $name:expr)? $(,)?) => {
        $crate::event!($message -> () $(, name = $name)?);
    };
    ($message:ident -> $output:ty) => {
        $crate::event!($message -> $output, name = concat!(module_path!(), "::", stringify!($message)));
    };
    ($message:ident -> $output:ty, name = $name:expr $(,)?) => {
        $crate::__message!($message, $name);
        impl $crate::message::Event for $message { type Output = $output; }
    };
}

/// A name as a type, for a [`Message`] impl by hand.
#[macro_export]
macro_rules! key {
    ($name:expr) => { $crate::__key!($crate::__private::hash($name), 0 1 2 3 4 5 6 7) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __message {
    ($message:ident, $name:expr) => {
        const _: () = {
            const HASH: u64 = $crate::__private::hash($name);
            impl $crate::message::Message for $message {
                const NAME: &'static str = $name;
                type Key = $crate::__key!(HASH, 0 1 2 3 4 5 6 7);
            }
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __key {
    ($hash:expr,) => { $crate::__private::KeyEnd };
    ($hash:expr, $digit:literal $($more:literal)*) => {
        $crate::__private::Digits<
            { $crate::__private::digit($hash, $digit) },
            $crate::__key!($hash, $($more)*)
        >
    };
}
