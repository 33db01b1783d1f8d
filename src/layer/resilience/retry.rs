//! Further attempts after errors that may pass.

use crate::asynchronous::BusError;
use crate::layer::{
    AsyncAroundCommand, AsyncAroundEvent, AsyncAroundQuery, Layer, NextCommand, NextEvent,
    NextQuery,
};
use crate::message::{Command, Event, Query};
use crate::wiring::Registration;
use backon::{ExponentialBuilder, Retryable};
use std::time::Duration;

/// A layer that calls an asynchronous handler again after an error that [`is_retryable`](BusError::is_retryable).
///
/// A query or command must be `Clone`. Between two attempts it waits: 100 ms at first, twice as long each time, 10 s at most, each
/// up to twice as long at random. The last error is returned. Feature `tokio`.
///
/// The handler may run several times for one message, so it must tolerate repetition. A worker has retries of its own, which survive a
/// crash; this layer is for calls in one process, and for calls of a broker.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use static_bus::{asynchronous::BusError, layer::Retry, prelude::*};
/// #[derive(Clone)]
/// struct GetRate;
/// query!(GetRate -> u32);
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let calls = &AtomicU32::new(0);
/// let bus = BusBuilder::new()
///     .register_query_async_fn(|_: GetRate| async move {
///         match calls.fetch_add(1, Relaxed) {
///             0 => Err(BusError::rejected::<GetRate>("the server is busy")),
///             _ => Ok(7),
///         }
///     })
///     .layer(Retry::times(3))
///     .build();
/// assert_eq!(bus.send_async(GetRate).await.unwrap(), 7);
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Retry(ExponentialBuilder);

impl Retry {
    /// Up to this number of attempts after the first one.
    pub fn times(retries: usize) -> Self {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(10))
            .with_jitter();
        Retry(backoff.with_max_times(retries))
    }
    /// Sets the first delay, and the longest. Default: 100 ms and 10 s. A first delay that is longer is the longest.
    pub fn delays(self, first: Duration, longest: Duration) -> Self {
        let first = first.min(longest);
        Retry(self.0.with_min_delay(first).with_max_delay(longest))
    }

    async fn run<R, F: Future<Output = Result<R, BusError>>>(
        &self,
        call: impl FnMut() -> F,
    ) -> Result<R, BusError> {
        call.retry(self.0)
            .sleep(tokio::time::sleep)
            .when(BusError::is_retryable)
            .await
    }
}
impl Layer for Retry {
    type Around = Retry;
    fn around(&self, _: Registration) -> Retry {
        *self
    }
}
impl<Q, B> AsyncAroundQuery<Q, B> for Retry
where
    Q: Query<Response: Send> + Clone + Send + Sync,
    B: ?Sized,
{
    async fn query(
        &self,
        query: Q,
        _bus: &B,
        next: impl NextQuery<Q>,
    ) -> Result<Q::Response, BusError> {
        self.run(|| next.run(query.clone())).await
    }
}
impl<C: Command + Clone + Send + Sync, B: ?Sized> AsyncAroundCommand<C, B> for Retry {
    async fn command(
        &self,
        command: C,
        _bus: &B,
        next: impl NextCommand<C>,
    ) -> Result<(), BusError> {
        self.run(|| next.run(command.clone())).await
    }
}
impl<E: Event + Sync, B: ?Sized> AsyncAroundEvent<E, B> for Retry {
    async fn event(&self, event: &E, _bus: &B, next: impl NextEvent<E>) -> Result<(), BusError> {
        self.run(|| next.run(event)).await
    }
}
