//! The asynchronous traits as objects.
//!
//! The futures of [`AsyncSendQuery`] and its siblings are types of the bus, so these traits have no `dyn`
//! form. Each has a twin that returns its future in a box. Every bus implements the twins, and their
//! objects implement the original traits.

use super::{AsyncExecuteCommand, AsyncPublishEvent, AsyncSendQuery, BusError};
use crate::message::{Command, Event, Query};
use alloc::{boxed::Box, sync::Arc};
use core::pin::Pin;

/// The future of a call through a trait object.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, BusError>> + Send + 'a>>;

/// A bus that answers query `Q`, as a trait object: `&dyn DynAsyncSendQuery<Q>` or
/// `Arc<dyn DynAsyncSendQuery<Q>>`.
///
/// Implemented for every [`AsyncSendQuery<Q>`] that is `Send`. The object itself, and `&` and `Arc` of it, are
/// `AsyncSendQuery<Q>` again. Each call allocates the box of its future.
///
/// ```
/// use std::sync::Arc;
/// use static_bus::asynchronous::{BusError, DynAsyncSendQuery};
/// use static_bus::prelude::*;
/// struct GetRate;
/// query!(GetRate -> f64);
///
/// struct Prices {
///     rates: Arc<dyn DynAsyncSendQuery<GetRate>>, // no type parameter
/// }
/// impl Prices {
///     async fn in_euros(&self, dollars: f64) -> Result<f64, BusError> {
///         Ok(dollars * self.rates.send_async(GetRate).await?)
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let bus = BusBuilder::new().register_query_async_fn(|_: GetRate| async { Ok(0.5) }).build();
/// let prices = Prices { rates: Arc::new(bus) };
/// assert_eq!(prices.in_euros(3.0).await.unwrap(), 1.5);
/// # }
/// ```
///
/// An object for several messages is that of a trait with several supertraits. It has the methods of the
/// twins:
///
/// ```
/// use static_bus::asynchronous::{BusError, DynAsyncExecuteCommand, DynAsyncSendQuery};
/// use static_bus::prelude::*;
/// struct GetRate;
/// query!(GetRate -> f64);
/// struct SetRate(f64);
/// command!(SetRate);
///
/// trait Rates: DynAsyncSendQuery<GetRate> + DynAsyncExecuteCommand<SetRate> {}
/// impl<B: DynAsyncSendQuery<GetRate> + DynAsyncExecuteCommand<SetRate>> Rates for B {}
///
/// async fn double(rates: &dyn Rates) -> Result<(), BusError> {
///     let rate = rates.send_boxed(GetRate).await?;
///     rates.execute_boxed(SetRate(rate * 2.0)).await
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let last = std::sync::Mutex::new(2.0);
/// # let bus = BusBuilder::new()
/// #     .register_query_fn(|_: GetRate| *last.lock().unwrap())
/// #     .register_command_fn(|rate: SetRate| *last.lock().unwrap() = rate.0)
/// #     .build();
/// double(&bus).await.unwrap();
/// assert_eq!(bus.send(GetRate), 4.0);
/// # }
/// ```
#[diagnostic::on_unimplemented(message = "`{Self}` cannot send query `{Q}`")]
pub trait DynAsyncSendQuery<Q: Query>: Send + Sync {
    /// Sends the query to its one handler: [`send_async`](AsyncSendQuery::send_async) in a box.
    ///
    /// # Errors
    /// [`BusError`], if no answer arrived.
    fn send_boxed(&self, query: Q) -> Boxed<'_, Q::Response>;
}
impl<Q: Query + 'static, B: AsyncSendQuery<Q> + Send> DynAsyncSendQuery<Q> for B {
    fn send_boxed(&self, query: Q) -> Boxed<'_, Q::Response> {
        Box::pin(self.send_async(query))
    }
}

/// A bus that executes command `C`, as a trait object. See [`DynAsyncSendQuery`].
///
/// ```
/// use static_bus::asynchronous::DynAsyncExecuteCommand;
/// use static_bus::prelude::*;
/// struct Stop;
/// command!(Stop -> Result<(), &'static str>, name = "engine.stop");
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let bus = BusBuilder::new().register_command_fn(|_: Stop| Err("it stands")).build();
/// let engine: &dyn DynAsyncExecuteCommand<Stop> = &bus;
/// let error = engine.execute_async(Stop).await.unwrap_err();
/// assert_eq!(error.to_string(), "engine.stop: its handler failed: it stands");
/// # }
/// ```
#[diagnostic::on_unimplemented(message = "`{Self}` cannot execute command `{C}`")]
pub trait DynAsyncExecuteCommand<C: Command>: Send + Sync {
    /// Sends the command to its one handler: [`execute_async`](AsyncExecuteCommand::execute_async) in a box.
    ///
    /// # Errors
    /// Those of `execute_async`.
    fn execute_boxed(&self, command: C) -> Boxed<'_, ()>;
}
impl<C: Command + 'static, B: AsyncExecuteCommand<C> + Send> DynAsyncExecuteCommand<C> for B {
    fn execute_boxed(&self, command: C) -> Boxed<'_, ()> {
        Box::pin(self.execute_async(command))
    }
}

/// A bus that publishes event `E`, as a trait object. See [`DynAsyncSendQuery`].
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use static_bus::asynchronous::DynAsyncPublishEvent;
/// use static_bus::prelude::*;
/// struct Saved(u32);
/// event!(Saved);
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let last = AtomicU32::new(0);
/// let bus = BusBuilder::new().subscribe_fn(|event: &Saved| last.store(event.0, Relaxed)).build();
/// let saves: Box<dyn DynAsyncPublishEvent<Saved> + '_> = Box::new(bus);
/// saves.publish_async(&Saved(7)).await.unwrap();
/// assert_eq!(last.load(Relaxed), 7);
/// # }
/// ```
#[diagnostic::on_unimplemented(message = "`{Self}` cannot publish event `{E}`")]
pub trait DynAsyncPublishEvent<E: Event>: Send + Sync {
    /// Runs all subscribers and waits for them: [`publish_async`](AsyncPublishEvent::publish_async) in a box.
    ///
    /// # Errors
    /// Those of `publish_async`.
    fn publish_boxed<'a>(&'a self, event: &'a E) -> Boxed<'a, ()>;
}
impl<E: Event, B: AsyncPublishEvent<E> + Send> DynAsyncPublishEvent<E> for B {
    fn publish_boxed<'a>(&'a self, event: &'a E) -> Boxed<'a, ()> {
        Box::pin(self.publish_async(event))
    }
}

// ----- the objects as buses
//
// Only `&` and `Arc` of these objects are buses. If every `Arc<B>` were one, a call through the `Arc` of a
// bus would no longer be the inherent one. The methods are called on `**self`, because `&` and `Arc` have
// objects too.

impl<Q: Query + Send> AsyncSendQuery<Q> for dyn DynAsyncSendQuery<Q> + '_ {
    async fn send_async(&self, query: Q) -> Result<Q::Response, BusError> {
        self.send_boxed(query).await
    }
}
impl<Q: Query + Send> AsyncSendQuery<Q> for &(dyn DynAsyncSendQuery<Q> + '_) {
    async fn send_async(&self, query: Q) -> Result<Q::Response, BusError> {
        (**self).send_boxed(query).await
    }
}
impl<Q: Query + Send> AsyncSendQuery<Q> for Arc<dyn DynAsyncSendQuery<Q> + '_> {
    async fn send_async(&self, query: Q) -> Result<Q::Response, BusError> {
        (**self).send_boxed(query).await
    }
}
impl<C: Command + Send> AsyncExecuteCommand<C> for dyn DynAsyncExecuteCommand<C> + '_ {
    async fn execute_async(&self, command: C) -> Result<(), BusError> {
        self.execute_boxed(command).await
    }
}
impl<C: Command + Send> AsyncExecuteCommand<C> for &(dyn DynAsyncExecuteCommand<C> + '_) {
    async fn execute_async(&self, command: C) -> Result<(), BusError> {
        (**self).execute_boxed(command).await
    }
}
impl<C: Command + Send> AsyncExecuteCommand<C> for Arc<dyn DynAsyncExecuteCommand<C> + '_> {
    async fn execute_async(&self, command: C) -> Result<(), BusError> {
        (**self).execute_boxed(command).await
    }
}
impl<E: Event + Sync> AsyncPublishEvent<E> for dyn DynAsyncPublishEvent<E> + '_ {
    async fn publish_async(&self, event: &E) -> Result<(), BusError> {
        self.publish_boxed(event).await
    }
}
impl<E: Event + Sync> AsyncPublishEvent<E> for &(dyn DynAsyncPublishEvent<E> + '_) {
    async fn publish_async(&self, event: &E) -> Result<(), BusError> {
        (**self).publish_boxed(event).await
    }
}
impl<E: Event + Sync> AsyncPublishEvent<E> for Arc<dyn DynAsyncPublishEvent<E> + '_> {
    async fn publish_async(&self, event: &E) -> Result<(), BusError> {
        (**self).publish_boxed(event).await
    }
}
