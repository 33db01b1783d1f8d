//! Limits on the calls at once, and on the calls per second.

use crate::asynchronous::BusError;
use crate::layer::{Layer, around_future};
use crate::wiring::Registration;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

/// A layer in which at most a number of asynchronous handlers run at once. Others wait, first in, first out.
///
/// The limit is that of all handlers within the layer together; for a limit of each, put one around each entry. A handler keeps
/// its place while it sends messages: a chain of handlers within the layer that is longer than the limit waits forever. Feature `tokio`.
///
/// ```
/// use static_bus::{layer::ConcurrencyLimit, prelude::*};
/// struct Render(u32);
/// query!(Render -> u32);
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let bus = BusBuilder::new()
///     .register_query_async_fn(|page: Render| async move { Ok(page.0) })
///     .layer(ConcurrencyLimit::new(4))
///     .build();
/// assert_eq!(bus.send_async(Render(1)).await.unwrap(), 1);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit(Arc<Semaphore>);

impl ConcurrencyLimit {
    /// A limit of `handlers` at once.
    ///
    /// # Panics
    /// If it is zero, or larger than `usize::MAX >> 3`.
    #[track_caller]
    pub fn new(handlers: usize) -> Self {
        assert!(
            handlers > 0,
            "a limit of no handler at once: none would ever run"
        );
        ConcurrencyLimit(Arc::new(Semaphore::new(handlers)))
    }
    async fn turn(&self) -> impl Drop {
        match self.0.acquire().await {
            Ok(permit) => permit,
            Err(_) => unreachable!("the semaphore is never closed"),
        }
    }
}

/// A layer in which at most a number of calls of asynchronous handlers begin per second. Others wait, first in, first out.
///
/// The limit is that of all handlers within the layer together. As many calls as the limit may begin at once after a pause;
/// [`burst`](RateLimit::burst) changes that. Feature `tokio`.
///
/// ```
/// use static_bus::{layer::RateLimit, prelude::*};
/// struct Quote;
/// query!(Quote -> u32);
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let bus = BusBuilder::new()
///     .register_query_async_fn(|_: Quote| async { Ok(1) })
///     .layer(RateLimit::per_second(10).burst(1))
///     .build();
/// let begin = tokio::time::Instant::now();
/// for _ in 0..5 {
///     bus.send_async(Quote).await.unwrap();
/// }
/// assert!(begin.elapsed().as_millis() >= 400);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RateLimit {
    quota: Quota,
    limiter: Arc<RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>>,
    /// Held by the first of those that wait.
    first: Arc<Mutex<()>>,
}
impl RateLimit {
    /// A limit of `calls` per second.
    ///
    /// # Panics
    /// If it is zero.
    #[track_caller]
    pub fn per_second(calls: u32) -> Self {
        Self::of(Quota::per_second(at_least_one(calls)))
    }
    /// Sets the number of calls that may begin at once after a pause.
    ///
    /// # Panics
    /// If it is zero.
    #[track_caller]
    pub fn burst(self, calls: u32) -> Self {
        Self::of(self.quota.allow_burst(at_least_one(calls)))
    }
    fn of(quota: Quota) -> Self {
        let clock = TokioClock(Instant::now());
        RateLimit {
            quota,
            limiter: Arc::new(RateLimiter::direct_with_clock(quota, clock)),
            first: Arc::default(),
        }
    }
    async fn turn(&self) {
        let _first = self.first.lock().await;
        while let Err(not_until) = self.limiter.check() {
            tokio::time::sleep(not_until.wait_time_from(self.limiter.clock().now())).await;
        }
    }
}
#[track_caller]
fn at_least_one(calls: u32) -> NonZeroU32 {
    NonZeroU32::new(calls).expect("a limit of no call: none would ever begin")
}

/// The clock of tokio, which a test can pause.
#[derive(Debug, Clone)]
struct TokioClock(Instant);
impl Clock for TokioClock {
    type Instant = Duration;
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

macro_rules! limits {
    ($($Limit:ident),*) => { $(
        impl Layer for $Limit {
            type Around = $Limit;
            fn around(&self, _: Registration) -> $Limit {
                self.clone()
            }
        }
        impl $Limit {
            async fn run<R>(
                &self,
                _message: &'static str,
                call: impl Future<Output = Result<R, BusError>>,
            ) -> Result<R, BusError> {
                let _turn = self.turn().await;
                call.await
            }
        }
        around_future!($Limit);
    )* };
}
limits!(ConcurrencyLimit, RateLimit);
