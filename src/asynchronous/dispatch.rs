//! The asynchronous traits that modules use as bounds on the bus.
//!
//! A [`Bus`](crate::bus::Bus) whose handlers are `Sync` implements these traits for the messages
//! registered on it, with asynchronous or synchronous handlers. So does the client of a broker. Code
//! that is generic over them may be separated from the handler by a network, and handles [`BusError`].
//! Their trait objects are those of the twins, such as
//! [`DynAsyncSendQuery`](super::DynAsyncSendQuery).

use super::BusError;
use crate::message::{Command, Event, Query};

/// A bus that answers query `Q`, possibly from another process.
///
/// ```
/// use static_bus::{asynchronous::BusError, prelude::*};
/// struct GetRate;
/// query!(GetRate -> f64);
///
/// async fn convert(amount: f64, rates: &impl AsyncSendQuery<GetRate>) -> Result<f64, BusError> {
///     Ok(amount * rates.send_async(GetRate).await?)
/// }
///
/// struct Unreachable; // a double for tests
/// impl AsyncSendQuery<GetRate> for Unreachable {
///     async fn send_async(&self, _: GetRate) -> Result<f64, BusError> {
///         Err(BusError::NoHandler { message: GetRate::NAME })
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert!(convert(10.0, &Unreachable).await.unwrap_err().is_retryable());
///
/// let bus = BusBuilder::new().register_query_async_fn(|_: GetRate| async { Ok(2.0) }).build();
/// assert_eq!(convert(10.0, &bus).await.unwrap(), 20.0);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot send query `{Q}`",
    label = "not a bus that answers `{Q}`",
    note = "in generic code, add the bound `AsyncSendQuery<{Q}>`",
    note = "if this is an `Arc`, a `Box` or a reference to a bus, pass the bus itself: `&*bus`"
)]
pub trait AsyncSendQuery<Q: Query>: Sync {
    /// Sends the query to its one handler.
    ///
    /// # Errors
    /// [`BusError`], if no answer arrived.
    fn send_async(&self, query: Q) -> impl Future<Output = Result<Q::Response, BusError>> + Send;
}

/// A bus that executes command `C`, possibly in another process.
///
/// ```
/// use static_bus::{asynchronous::BusError, prelude::*};
/// struct Stop;
/// command!(Stop -> Result<(), &'static str>, name = "engine.stop");
///
/// async fn stop_twice(bus: &impl AsyncExecuteCommand<Stop>) -> Result<(), BusError> {
///     bus.execute_async(Stop).await?;
///     bus.execute_async(Stop).await
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let bus = BusBuilder::new().register_command_fn(|_: Stop| Err("it stands")).build();
/// let error = stop_twice(&bus).await.unwrap_err();
/// assert_eq!(error.to_string(), "engine.stop: its handler failed: it stands");
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot execute command `{C}`",
    label = "not a bus that executes `{C}`",
    note = "in generic code, add the bound `AsyncExecuteCommand<{C}>`",
    note = "if this is an `Arc`, a `Box` or a reference to a bus, pass the bus itself: `&*bus`"
)]
pub trait AsyncExecuteCommand<C: Command>: Sync {
    /// Sends the command to its one handler. In process, `Ok` means that the handler succeeded;
    /// remotely, that the broker has accepted the command.
    ///
    /// # Errors
    /// [`BusError`]; in process, [`BusError::Rejected`] with the handler's error.
    fn execute_async(&self, command: C) -> impl Future<Output = Result<(), BusError>> + Send;
}

/// A bus that publishes event `E`, possibly to other processes. A [`Bus`](crate::bus::Bus) publishes
/// every event, including those without subscribers.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use static_bus::{asynchronous::BusError, prelude::*};
/// struct Saved(u32);
/// event!(Saved);
///
/// async fn save(bus: &impl AsyncPublishEvent<Saved>) -> Result<(), BusError> {
///     bus.publish_async(&Saved(7)).await
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let last = AtomicU32::new(0);
/// let bus = BusBuilder::new().subscribe_fn(|event: &Saved| last.store(event.0, Relaxed)).build();
/// save(&bus).await.unwrap();
/// assert_eq!(last.load(Relaxed), 7);
/// save(&BusBuilder::new().build()).await.unwrap();
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot publish event `{E}`",
    label = "not a bus that publishes `{E}`",
    note = "in generic code, add the bound `AsyncPublishEvent<{E}>`",
    note = "if this is an `Arc`, a `Box` or a reference to a bus, pass the bus itself: `&*bus`"
)]
pub trait AsyncPublishEvent<E: Event>: Sync {
    /// Runs all subscribers concurrently and waits for them. In process, `Ok` means that all have
    /// succeeded; remotely, that the broker has accepted the event.
    ///
    /// # Errors
    /// [`BusError`]; in process, [`BusError::Rejected`] with all failures.
    fn publish_async(&self, event: &E) -> impl Future<Output = Result<(), BusError>> + Send;
}
