//! Delays between attempts.

use std::time::Duration;

/// The attempts to handle a message whose handler fails.
///
/// Before each further attempt the worker waits for a random time between zero and a bound that
/// doubles: [exponential backoff with full jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
/// When all attempts have failed, the message becomes a dead letter.
///
/// An attempt that failed because of a [transient](crate::TransportErrorKind::is_transient) error of the broker when
/// the handler sent something, a [`BusError::Transport`](static_bus::asynchronous::BusError::Transport), is repeated
/// with the same delays and does not count: an outage makes no dead letters. It may be the
/// [source](std::error::Error::source) of an error of another type. Nor does an attempt count whose transaction in a
/// database was rolled back for another one. Other errors of the broker count, and a record that is
/// [too large](crate::TransportErrorKind::TooLarge) makes a dead letter at once.
///
/// A worker forgets the attempts of a message when it releases the message.
///
/// ```
/// use std::time::Duration;
/// use static_bus_remote::RetryPolicy;
///
/// let retries = RetryPolicy { max_attempts: 8, initial_delay: Duration::from_millis(50), ..RetryPolicy::default() };
/// assert!(retries.delay(1) <= Duration::from_millis(50));
/// assert!(retries.delay(3) <= Duration::from_millis(200));
/// assert!(retries.delay(30) <= retries.max_delay);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The number of attempts for one message, at least 1. Default: 5. Deliveries to workers that were killed count as
    /// attempts; a message that failed in no handler becomes a dead letter after three of them at the earliest.
    pub max_attempts: u32,
    /// The upper bound of the delay before the second attempt. Default: 100 ms.
    pub initial_delay: Duration,
    /// The greatest upper bound of a delay. Default: 30 s.
    pub max_delay: Duration,
}
impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            max_attempts: 5,
            initial_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(30),
        }
    }
}
impl RetryPolicy {
    /// The policy with one attempt at least.
    pub(crate) fn at_least_one(self) -> Self {
        RetryPolicy {
            max_attempts: self.max_attempts.max(1),
            ..self
        }
    }

    /// The number of deliveries without a result after which a message is handled alone: it may have ended its workers.
    pub(crate) fn isolate_after(&self) -> u32 {
        self.max_attempts.saturating_sub(2).clamp(1, 2)
    }

    /// The number of deliveries without a result after which a message becomes a dead letter. In two of them at least
    /// it was alone, so its handler began as soon as it was delivered; in the others it may have waited behind the
    /// message that ended its workers.
    pub(crate) fn give_up_after(&self) -> u32 {
        self.max_attempts.max(self.isolate_after() + 2)
    }

    /// A random delay after this number of failed attempts.
    pub fn delay(&self, failed: u32) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        let bound = self
            .initial_delay
            .saturating_mul(1 << doublings)
            .min(self.max_delay);
        bound.mul_f64(fastrand::f64())
    }
}

/// The delays between attempts to reach a broker.
pub fn reconnect() -> Backoff {
    Backoff {
        retries: RetryPolicy {
            max_attempts: u32::MAX,
            initial_delay: Duration::from_millis(50),
            max_delay: Duration::from_secs(1),
        },
        failed: 0,
    }
}

pub struct Backoff {
    retries: RetryPolicy,
    failed: u32,
}
impl Backoff {
    pub fn next_delay(&mut self) -> Duration {
        self.failed = self.failed.saturating_add(1);
        // Never zero: a broker that refuses immediately would be asked in a tight loop.
        self.retries.delay(self.failed) + Duration::from_millis(5)
    }

    pub fn reset(&mut self) {
        self.failed = 0;
    }
}
