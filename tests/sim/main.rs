//! The guarantees of simulated time, one test for each.

mod determinism;
#[cfg(feature = "serde")]
mod log;
mod market;
mod merge;
mod panics;
mod replay;
mod timeline;
