//! Durations and points in time that cannot overflow.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The longest time with which engines calculate: 30 years. What is longer never passes.
pub const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The longest deadline of a call, which is a limit of Kafka's client.
pub const LONGEST_DEADLINE: Duration = Duration::from_secs(60 * 60);

/// `now + after`, or a time 30 years away if that is earlier: the sum of `Instant` and `Duration` may overflow.
pub fn later(now: Instant, after: Duration) -> Instant {
    now + after.min(LONGEST)
}

/// A duration in milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The time since the Unix epoch in milliseconds.
pub fn now_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, millis)
}
