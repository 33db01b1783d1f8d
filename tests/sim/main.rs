//! What simulated time promises, one test for each promise.

mod determinism;
#[cfg(feature = "serde")]
mod log;
mod market;
mod merge;
mod replay;
mod timeline;
