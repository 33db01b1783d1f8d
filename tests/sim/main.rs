//! The guarantees of simulated time, one test for each.

mod determinism;
mod drive;
#[cfg(feature = "live")]
mod live;
mod market;
mod merge;
mod order;
mod panics;
mod replay;
mod time;
mod timeline;

use static_bus::time::Time;

/// The time this number of nanoseconds after the epoch.
const fn at(nanos: i64) -> Time {
    Time::from_nanos(nanos)
}
