//! The pace of calls that cost the cluster as much for one record as for hundreds.

use std::{sync::Mutex, time::Duration};

use tokio::time::{Instant, sleep_until};

use static_bus_remote::lock::lock;

/// The time from which the next call may begin. Records gather until then.
pub(super) struct Pace(Mutex<Instant>);

impl Pace {
    pub fn new() -> Self {
        Pace(Mutex::new(Instant::now()))
    }

    /// Waits until the next call may begin. Calls that wait go on together.
    pub async fn wait(&self) {
        let from = *lock(&self.0);
        sleep_until(from).await;
    }

    /// Lets the next call begin when this interval is over.
    pub fn begin(&self, interval: Duration) {
        *lock(&self.0) = Instant::now() + interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_until_the_interval_is_over() {
        const INTERVAL: Duration = Duration::from_millis(50);
        let (pace, begun) = (Pace::new(), Instant::now());
        pace.wait().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        pace.begin(INTERVAL);
        tokio::join!(pace.wait(), pace.wait());
        assert_eq!(begun.elapsed(), INTERVAL);
        tokio::time::advance(2 * INTERVAL).await;
        pace.wait().await;
        assert_eq!(begun.elapsed(), 3 * INTERVAL);
    }
}
