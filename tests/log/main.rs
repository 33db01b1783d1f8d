//! The guarantees of a log, one test for each.

mod damage;
mod full_disk;
mod json;
mod json_faults;
mod json_values;
mod killed;
#[cfg(feature = "live")]
mod live;
#[path = "../sim/market.rs"]
mod market;
mod recording;
mod snapshots;
mod support;
mod values;

use static_bus::time::Time;

/// The time this number of nanoseconds after the epoch.
const fn at(nanos: i64) -> Time {
    Time::from_nanos(nanos)
}
