//! The traits that asynchronous services implement.
//!
//! Each trait is also implemented for `&T`, `Box<T>`, `Rc<T>` and `Arc<T>`, and for the closures that the
//! `…_async_fn` methods take.

use super::BusError;
use crate::handler::Function;
use crate::message::{Command, Event, Query};
use alloc::{boxed::Box, rc::Rc, sync::Arc};

/// Answers a query asynchronously.
///
/// Write it as an `async fn`. Its future must be `Send`, so the service must be `Sync`. The bus is `Sync`:
/// that is a bound of the method, and an impl needs no `B: Sync` of its own.
///
/// ```
/// use static_bus::{asynchronous::BusError, prelude::*};
/// struct Double(u32);
/// query!(Double -> u32);
///
/// struct Doubler;
/// impl<B> AsyncQueryHandler<Double, B> for Doubler {
///     async fn handle(&self, query: Double, _bus: &B) -> Result<u32, BusError> {
///         tokio::task::yield_now().await;
///         Ok(query.0 * 2)
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(Doubler.handle(Double(21), &()).await.unwrap(), 42);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle query `{Q}` asynchronously",
    label = "not an asynchronous handler of `{Q}`",
    note = "implement it: `impl<B> AsyncQueryHandler<{Q}, B> for {Self}`; a closure is registered with `register_query_async_fn`, a handler that does not wait with `register_query`"
)]
pub trait AsyncQueryHandler<Q: Query, B: ?Sized> {
    /// Answers `query`. `bus` is the bus that dispatched it.
    ///
    /// # Errors
    /// The answer could not be determined. A failure that is a regular answer is part of the response.
    fn handle(
        &self,
        query: Q,
        bus: &B,
    ) -> impl Future<Output = Result<Q::Response, BusError>> + Send
    where
        B: Sync;
}

/// Handles a command asynchronously.
///
/// ```
/// use static_bus::{asynchronous::BusError, prelude::*};
/// struct Pay { cents: u64 }
/// command!(Pay);
/// struct Paid { cents: u64 }
/// event!(Paid);
///
/// struct Bank;
/// impl<B: AsyncPublishEvent<Paid>> AsyncCommandHandler<Pay, B> for Bank {
///     async fn handle(&self, command: Pay, bus: &B) -> Result<(), BusError> {
///         if command.cents == 0 {
///             return Err(BusError::refused::<Pay>("nothing to pay"));
///         }
///         bus.publish_async(&Paid { cents: command.cents }).await
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let bus = BusBuilder::new().build(); // nobody subscribes, which is fine
/// assert!(Bank.handle(Pay { cents: 5 }, &bus).await.is_ok());
/// assert!(Bank.handle(Pay { cents: 0 }, &bus).await.is_err());
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle command `{C}` asynchronously",
    label = "not an asynchronous handler of `{C}`",
    note = "implement it: `impl<B> AsyncCommandHandler<{C}, B> for {Self}`; a closure is registered with `register_command_async_fn`, a handler that does not wait with `register_command`"
)]
pub trait AsyncCommandHandler<C: Command, B: ?Sized> {
    /// Handles `command`. `bus` is the bus that dispatched it.
    ///
    /// # Errors
    /// The handler's own error, as [`BusError::rejected`] or [`BusError::refused`], or that of a nested call.
    fn handle(&self, command: C, bus: &B) -> impl Future<Output = Result<(), BusError>> + Send
    where
        B: Sync;
}

/// Handles an event asynchronously.
///
/// ```
/// use std::sync::Mutex;
/// use static_bus::{asynchronous::BusError, prelude::*};
/// struct Renamed(&'static str);
/// event!(Renamed);
///
/// #[derive(Default)]
/// struct Last(Mutex<&'static str>);
/// impl<B> AsyncEventHandler<Renamed, B> for Last {
///     async fn handle(&self, event: &Renamed, _bus: &B) -> Result<(), BusError> {
///         tokio::task::yield_now().await;
///         *self.0.lock().unwrap() = event.0;
///         Ok(())
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let last = Last::default();
/// last.handle(&Renamed("Ada"), &()).await.unwrap();
/// assert_eq!(*last.0.lock().unwrap(), "Ada");
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle event `{E}` asynchronously",
    label = "not an asynchronous handler of `{E}`",
    note = "implement it: `impl<B> AsyncEventHandler<{E}, B> for {Self}`; a closure is subscribed with `subscribe_async_fn`, a handler that does not wait with `subscribe`"
)]
pub trait AsyncEventHandler<E: Event, B: ?Sized> {
    /// Handles `event`. `bus` is the bus that dispatched it.
    ///
    /// # Errors
    /// The handler's own error, as [`BusError::rejected`] or [`BusError::refused`], or that of a nested call.
    /// The other subscribers still run.
    fn handle(&self, event: &E, bus: &B) -> impl Future<Output = Result<(), BusError>> + Send
    where
        B: Sync;
}

macro_rules! through {
    ($($pointer:ty),*) => { $(
        impl<Q, B, H> AsyncQueryHandler<Q, B> for $pointer
        where
            Q: Query,
            B: ?Sized,
            H: AsyncQueryHandler<Q, B> + ?Sized,
        {
            #[inline]
            fn handle(
                &self,
                query: Q,
                bus: &B,
            ) -> impl Future<Output = Result<Q::Response, BusError>> + Send
            where
                B: Sync,
            {
                (**self).handle(query, bus)
            }
        }
        impl<C, B, H> AsyncCommandHandler<C, B> for $pointer
        where
            C: Command,
            B: ?Sized,
            H: AsyncCommandHandler<C, B> + ?Sized,
        {
            #[inline]
            fn handle(
                &self,
                command: C,
                bus: &B,
            ) -> impl Future<Output = Result<(), BusError>> + Send
            where
                B: Sync,
            {
                (**self).handle(command, bus)
            }
        }
        impl<E, B, H> AsyncEventHandler<E, B> for $pointer
        where
            E: Event,
            B: ?Sized,
            H: AsyncEventHandler<E, B> + ?Sized,
        {
            #[inline]
            fn handle(
                &self,
                event: &E,
                bus: &B,
            ) -> impl Future<Output = Result<(), BusError>> + Send
            where
                B: Sync,
            {
                (**self).handle(event, bus)
            }
        }
    )* };
}
// `Rc` is included although a bus that holds one is not `Sync`: the compile error then says so.
through!(&H, Box<H>, Rc<H>, Arc<H>);

impl<Q, B, F, Answer> AsyncQueryHandler<Q, B> for Function<F>
where
    Q: Query,
    B: ?Sized,
    F: Fn(Q) -> Answer,
    Answer: Future<Output = Result<Q::Response, BusError>> + Send,
{
    #[inline]
    fn handle(
        &self,
        query: Q,
        _: &B,
    ) -> impl Future<Output = Result<Q::Response, BusError>> + Send {
        (self.0)(query)
    }
}
impl<C, B, F, Done> AsyncCommandHandler<C, B> for Function<F>
where
    C: Command,
    B: ?Sized,
    F: Fn(C) -> Done,
    Done: Future<Output = Result<(), BusError>> + Send,
{
    #[inline]
    fn handle(&self, command: C, _: &B) -> impl Future<Output = Result<(), BusError>> + Send {
        (self.0)(command)
    }
}
impl<E, B, F, Done> AsyncEventHandler<E, B> for Function<F>
where
    E: Event,
    B: ?Sized,
    F: Fn(&E) -> Done,
    Done: Future<Output = Result<(), BusError>> + Send,
{
    #[inline]
    fn handle(&self, event: &E, _: &B) -> impl Future<Output = Result<(), BusError>> + Send {
        (self.0)(event)
    }
}
