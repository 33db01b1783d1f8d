//! A time limit for handlers.

use crate::asynchronous::BusError;
use crate::layer::{Layer, around_future};
use crate::wiring::Registration;
use std::time::Duration;

/// A layer that cancels an asynchronous handler after a time, with [`BusError::Timeout`].
///
/// A handler is cancelled at an `.await`; one that blocks its thread is not. Feature `tokio`.
///
/// ```
/// use std::time::Duration;
/// use static_bus::{asynchronous::BusError, layer::Timeout, prelude::*};
/// struct GetRate;
/// query!(GetRate -> u32, name = "rates.get");
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let bus = BusBuilder::new()
///     .register_query_async_fn(|_: GetRate| async {
///         tokio::time::sleep(Duration::from_secs(60)).await;
///         Ok(1)
///     })
///     .layer(Timeout::after(Duration::from_secs(2)))
///     .build();
/// let error = bus.send_async(GetRate).await.unwrap_err();
/// assert_eq!(error.to_string(), "rates.get: no answer within 2s");
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Timeout(Duration);

impl Timeout {
    /// A limit for each call of a handler.
    ///
    /// # Panics
    /// If `limit` is zero: no handler would ever answer.
    #[track_caller]
    pub fn after(limit: Duration) -> Self {
        assert!(
            !limit.is_zero(),
            "a timeout of zero: no handler would ever answer; leave the layer out for no limit"
        );
        Timeout(limit)
    }

    async fn run<R>(
        &self,
        message: &'static str,
        call: impl Future<Output = Result<R, BusError>>,
    ) -> Result<R, BusError> {
        let elapsed = |_| BusError::Timeout {
            message,
            after: self.0,
        };
        tokio::time::timeout(self.0, call).await.map_err(elapsed)?
    }
}
impl Layer for Timeout {
    type Around = Timeout;
    fn around(&self, _: Registration) -> Timeout {
        *self
    }
}
around_future!(Timeout);
