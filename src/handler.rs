//! The traits that services implement, and the adapter that implements them for closures.
//!
//! A handler takes `&self`, because a message may reach it while it is handling another. Mutable
//! state belongs in a `Cell`, a `RefCell`, an atomic or a lock. The `where` clause lists the messages
//! that the handler sends; it has no other access to the bus:
//!
//! ```
//! use static_bus::prelude::*;
//!
//! struct GetPrice;
//! query!(GetPrice -> u32);
//! struct Buy { quantity: u32 }
//! command!(Buy -> Result<(), &'static str>);
//! struct Bought;
//! event!(Bought);
//!
//! struct Shop { budget: u32 }
//! impl<B> CommandHandler<Buy, B> for Shop
//! where
//!     B: SendQuery<GetPrice> + PublishEvent<Bought>,
//! {
//!     fn handle(&self, command: Buy, bus: &B) -> Result<(), &'static str> {
//!         if bus.send(GetPrice) * command.quantity > self.budget {
//!             return Err("too expensive");
//!         }
//!         bus.publish(&Bought);
//!         Ok(())
//!     }
//! }
//!
//! let bus = BusBuilder::new()
//!     .register_command::<Buy, _>(Shop { budget: 100 })
//!     .register_query_fn(|_: GetPrice| 30)
//!     .build();
//! assert_eq!(bus.execute(Buy { quantity: 4 }), Err("too expensive"));
//! ```
//!
//! Each trait is also implemented through `&T`, `Box<T>`, `Rc<T>` and `Arc<T>`, so that one service
//! can be registered for many messages.

use crate::message::{Command, Event, Query};

/// Answers a query.
///
/// ```
/// use static_bus::prelude::*;
/// struct Double(u32);
/// query!(Double -> u32);
///
/// struct Doubler;
/// impl<B> QueryHandler<Double, B> for Doubler {
///     fn handle(&self, query: Double, _bus: &B) -> u32 {
///         query.0 * 2
///     }
/// }
/// assert_eq!(Doubler.handle(Double(21), &()), 42);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle query `{Q}`",
    label = "not a handler of `{Q}`",
    note = "implement it: `impl<B> QueryHandler<{Q}, B> for {Self}`; a closure is registered with `register_query_fn`"
)]
pub trait QueryHandler<Q: Query, B: ?Sized> {
    /// Answers `query`. `bus` is the bus that dispatched it.
    fn handle(&self, query: Q, bus: &B) -> Q::Response;
}

/// Handles a command.
///
/// ```
/// use std::cell::Cell;
/// use static_bus::prelude::*;
/// struct Add(u32);
/// command!(Add);
///
/// #[derive(Default)]
/// struct Counter(Cell<u32>);
/// impl<B> CommandHandler<Add, B> for Counter {
///     fn handle(&self, command: Add, _bus: &B) {
///         self.0.set(self.0.get() + command.0);
///     }
/// }
/// let counter = Counter::default();
/// counter.handle(Add(2), &());
/// assert_eq!(counter.0.get(), 2);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle command `{C}`",
    label = "not a handler of `{C}`",
    note = "implement it: `impl<B> CommandHandler<{C}, B> for {Self}`; a closure is registered with `register_command_fn`"
)]
pub trait CommandHandler<C: Command, B: ?Sized> {
    /// Handles `command`. `bus` is the bus that dispatched it.
    ///
    /// # Errors
    /// The command's own error, if its output is a `Result`.
    fn handle(&self, command: C, bus: &B) -> C::Output;
}

/// Handles an event.
///
/// ```
/// use std::cell::Cell;
/// use static_bus::prelude::*;
/// struct Renamed(&'static str);
/// event!(Renamed);
///
/// #[derive(Default)]
/// struct Last(Cell<&'static str>);
/// impl<B> EventHandler<Renamed, B> for Last {
///     fn handle(&self, event: &Renamed, _bus: &B) {
///         self.0.set(event.0);
///     }
/// }
/// let last = Last::default();
/// last.handle(&Renamed("Ada"), &());
/// assert_eq!(last.0.get(), "Ada");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle event `{E}`",
    label = "not a handler of `{E}`",
    note = "implement it: `impl<B> EventHandler<{E}, B> for {Self}`; a closure is subscribed with `subscribe_fn`"
)]
pub trait EventHandler<E: Event, B: ?Sized> {
    /// Handles `event`. `bus` is the bus that dispatched it.
    ///
    /// # Errors
    /// The event's own error, if its output is a `Result`. The other subscribers still run.
    fn handle(&self, event: &E, bus: &B) -> E::Output;
}

macro_rules! through {
    ($($pointer:ty),*) => { $(
        impl<Q: Query, B: ?Sized, H: QueryHandler<Q, B> + ?Sized> QueryHandler<Q, B> for $pointer {
            #[inline]
            fn handle(&self, query: Q, bus: &B) -> Q::Response { (**self).handle(query, bus) }
        }
        impl<C: Command, B: ?Sized, H: CommandHandler<C, B> + ?Sized> CommandHandler<C, B> for $pointer {
            #[inline]
            fn handle(&self, command: C, bus: &B) -> C::Output { (**self).handle(command, bus) }
        }
        impl<E: Event, B: ?Sized, H: EventHandler<E, B> + ?Sized> EventHandler<E, B> for $pointer {
            #[inline]
            fn handle(&self, event: &E, bus: &B) -> E::Output { (**self).handle(event, bus) }
        }
    )* };
}
through!(&H);
#[cfg(feature = "alloc")]
through!(alloc::boxed::Box<H>, alloc::rc::Rc<H>, alloc::sync::Arc<H>);

/// A function or closure as a handler; made by the builder's `…_fn` methods.
///
/// There is no blanket impl of the handler traits for functions: with one, rustc would see two
/// candidates for every failing handler and explain neither.
///
/// ```
/// use static_bus::prelude::*;
/// struct Double(u32);
/// query!(Double -> u32);
/// fn double(query: Double) -> u32 { query.0 * 2 }
///
/// let bus = BusBuilder::new().register_query_fn(double).build();
/// assert_eq!(bus.send::<Double>(Double(21)), 42);
/// ```
#[derive(Clone, Copy)]
pub struct Function<F>(pub(crate) F);

impl Function<()> {
    /// The prefix of the type name of every `Function`.
    pub(crate) const PATH: &str = concat!(module_path!(), "::Function<");
}

/// A synchronous subscriber among asynchronous ones.
#[cfg(feature = "async")]
#[doc(hidden)]
#[derive(Clone)]
pub struct AtOnce<H>(pub(crate) H);

#[cfg(feature = "async")]
impl AtOnce<()> {
    /// The prefix of the type name of every `AtOnce`.
    pub(crate) const PATH: &str = concat!(module_path!(), "::AtOnce<");
}

impl<Q: Query, B: ?Sized, F: Fn(Q) -> Q::Response> QueryHandler<Q, B> for Function<F> {
    #[inline]
    fn handle(&self, query: Q, _: &B) -> Q::Response {
        (self.0)(query)
    }
}
impl<C: Command, B: ?Sized, F: Fn(C) -> C::Output> CommandHandler<C, B> for Function<F> {
    #[inline]
    fn handle(&self, command: C, _: &B) -> C::Output {
        (self.0)(command)
    }
}
impl<E: Event, B: ?Sized, F: Fn(&E) -> E::Output> EventHandler<E, B> for Function<F> {
    #[inline]
    fn handle(&self, event: &E, _: &B) -> E::Output {
        (self.0)(event)
    }
}
