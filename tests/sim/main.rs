//! The guarantees of simulated time, one test for each.

mod determinism;
#[cfg(feature = "serde")]
mod log;
#[cfg(feature = "serde")]
mod log_faults;
#[cfg(feature = "serde")]
mod log_values;
mod market;
mod merge;
mod panics;
mod replay;
mod timeline;
