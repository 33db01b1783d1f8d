//! Simulated time, with feature `sim`: many timed streams as one.
//!
//! Time here is a plain count of whatever unit the input uses. Nothing in this module looks at the
//! clock of the machine or at the order of a hash map, so the same input gives the same run.

mod merge;

pub use merge::{Merge, Stream, Unsorted, merge};

/// Simulated time: a count of whatever unit the input uses (nanoseconds, days), the same throughout
/// one run.
pub type Time = u64;
