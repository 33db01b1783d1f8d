//! How long to wait before the next attempt.

use std::time::Duration;

/// How a message is tried again when its handler fails.
///
/// Before each further attempt the worker waits for a random time between zero and a bound that
/// doubles: [exponential backoff with full jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
/// When all attempts have failed, the message becomes a dead letter.
///
/// An attempt that failed because the broker did not take what the handler sent, a
/// [`BusError::Transport`](static_bus::asynchronous::BusError::Transport), is repeated with the same waits and does not
/// count: an outage makes no dead letters. Failures that this worker remembers are forgotten when it gives the
/// message back.
///
/// ```
/// use std::time::Duration;
/// use static_bus_remote::Retries;
///
/// let retries = Retries { attempts: 8, first: Duration::from_millis(50), ..Retries::default() };
/// assert!(retries.delay(1) <= Duration::from_millis(50));
/// assert!(retries.delay(3) <= Duration::from_millis(200));
/// assert!(retries.delay(30) <= retries.longest);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How often a handler is called for one message; 5 by default, at least 1.
    pub attempts: u32,
    /// The bound before the second attempt; 100 ms by default.
    pub first: Duration,
    /// The greatest bound; 30 s by default.
    pub longest: Duration,
}
impl Default for Retries {
    fn default() -> Self {
        Retries {
            attempts: 5,
            first: Duration::from_millis(100),
            longest: Duration::from_secs(30),
        }
    }
}
impl Retries {
    /// How long to wait when so many attempts have failed.
    pub fn delay(&self, failed: u32) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        let bound = self.first.saturating_mul(1 << doublings).min(self.longest);
        bound.mul_f64(fastrand::f64())
    }
}

/// Waiting times for a broker that is gone.
pub fn reconnect() -> Backoff {
    Backoff {
        retries: Retries {
            attempts: u32::MAX,
            first: Duration::from_millis(50),
            longest: Duration::from_secs(1),
        },
        failed: 0,
    }
}

pub struct Backoff {
    retries: Retries,
    failed: u32,
}
impl Backoff {
    pub fn next(&mut self) -> Duration {
        self.failed = self.failed.saturating_add(1);
        // Never at once: a broker that refuses at once would be asked without an end.
        self.retries.delay(self.failed) + Duration::from_millis(5)
    }

    pub fn reset(&mut self) {
        self.failed = 0;
    }
}
