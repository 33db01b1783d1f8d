//! Asynchronous entries of [modules](mod@crate::module).

use super::BusError;
use super::entry::{AsyncCommandEntry, AsyncQueryEntry};
use super::event::SingleAsyncSubscriber;
use crate::handler::Function;
use crate::message::{Command, Event, Query};
use crate::module::entries;
use core::marker::PhantomData;

entries! {
    /// A module's entry: `H` answers query `M` asynchronously. Made by [`on_query_async`].
    OnQueryAsync: Query => AsyncQueryEntry::new,
    /// A module's entry: `handler` answers query `M` asynchronously.
    ///
    /// ```
    /// use static_bus::{asynchronous::BusError, prelude::*};
    /// struct Ping;
    /// query!(Ping -> u8);
    /// struct Pong;
    /// impl<B> AsyncQueryHandler<Ping, B> for Pong {
    ///     async fn handle(&self, _: Ping, _bus: &B) -> Result<u8, BusError> { Ok(1) }
    /// }
    /// fn module() -> HList![OnQueryAsync<Ping, Pong>] {
    ///     hlist![on_query_async(Pong)]
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let bus = BusBuilder::new().mount(module()).build();
    /// assert_eq!(bus.send_async(Ping).await.unwrap(), 1);
    /// # }
    /// ```
    on_query_async;
    /// A module's entry: `H` handles command `M` asynchronously. Made by [`on_command_async`].
    OnCommandAsync: Command => AsyncCommandEntry::new,
    /// A module's entry: `handler` handles command `M` asynchronously.
    ///
    /// ```
    /// use static_bus::{asynchronous::BusError, prelude::*};
    /// struct Stop;
    /// command!(Stop, name = "engine.stop");
    /// struct Engine;
    /// impl<B> AsyncCommandHandler<Stop, B> for Engine {
    ///     async fn handle(&self, _: Stop, _bus: &B) -> Result<(), BusError> {
    ///         Err(BusError::refused::<Stop>("it stands"))
    ///     }
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let bus = BusBuilder::new().mount(hlist![on_command_async::<Stop, _>(Engine)]).build();
    /// assert!(bus.execute_async(Stop).await.is_err());
    /// # }
    /// ```
    on_command_async;
    /// A module's entry: `H` subscribes to event `M` asynchronously. Made by [`on_event_async`].
    OnEventAsync: Event => SingleAsyncSubscriber::of,
    /// A module's entry: `handler` subscribes to event `M` asynchronously.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    /// use static_bus::{asynchronous::BusError, prelude::*};
    /// struct Clicked;
    /// event!(Clicked);
    /// #[derive(Default)]
    /// struct Clicks(AtomicU32);
    /// impl<B> AsyncEventHandler<Clicked, B> for Clicks {
    ///     async fn handle(&self, _: &Clicked, _bus: &B) -> Result<(), BusError> {
    ///         self.0.fetch_add(1, Relaxed);
    ///         Ok(())
    ///     }
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let clicks = Clicks::default();
    /// let bus = BusBuilder::new().mount(hlist![on_event_async::<Clicked, _>(&clicks)]).build();
    /// bus.publish_async(&Clicked).await.unwrap();
    /// assert_eq!(clicks.0.load(Relaxed), 1);
    /// # }
    /// ```
    on_event_async;
}

/// A module's entry: a function or closure that returns a future answers query `Q`.
///
/// ```
/// use static_bus::prelude::*;
/// struct Double(u32);
/// query!(Double -> u32);
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let arithmetic = hlist![on_query_async_fn(|query: Double| async move { Ok(query.0 * 2) })];
/// let bus = BusBuilder::new().mount(arithmetic).build();
/// assert_eq!(bus.send_async(Double(21)).await.unwrap(), 42);
/// # }
/// ```
#[inline]
pub const fn on_query_async_fn<Q: Query, F, Answer>(function: F) -> OnQueryAsync<Q, Function<F>>
where
    F: Fn(Q) -> Answer,
    Answer: Future<Output = Result<Q::Response, BusError>> + Send,
{
    on_query_async(Function(function))
}

/// A module's entry: a function or closure that returns a future handles command `C`.
///
/// ```
/// use static_bus::prelude::*;
/// struct Stop;
/// command!(Stop);
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let engine = hlist![on_command_async_fn(|_: Stop| async { Ok(()) })];
/// assert!(BusBuilder::new().mount(engine).build().execute_async(Stop).await.is_ok());
/// # }
/// ```
#[inline]
pub const fn on_command_async_fn<C: Command, F, Done>(function: F) -> OnCommandAsync<C, Function<F>>
where
    F: Fn(C) -> Done,
    Done: Future<Output = Result<(), BusError>> + Send,
{
    on_command_async(Function(function))
}

/// A module's entry: a function or closure that returns a future subscribes to event `E`.
///
/// The future cannot borrow the event.
///
/// ```
/// use static_bus::{asynchronous::BusError, prelude::*};
/// struct Clicked;
/// event!(Clicked);
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let broken = hlist![on_event_async_fn(|_: &Clicked| async {
///     Err(BusError::rejected::<Clicked>("no screen"))
/// })];
/// let bus = BusBuilder::new().mount(broken).build();
/// assert!(bus.publish_async(&Clicked).await.is_err());
/// # }
/// ```
#[inline]
pub const fn on_event_async_fn<E: Event, F, Done>(function: F) -> OnEventAsync<E, Function<F>>
where
    F: Fn(&E) -> Done,
    Done: Future<Output = Result<(), BusError>> + Send,
{
    on_event_async(Function(function))
}
