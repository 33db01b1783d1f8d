//! Simulated time, with feature `sim`: messages that are due later, many timed streams as one, and
//! the loop that feeds both to a bus.
//!
//! - [`Timeline`] holds messages until their time has come.
//! - [`merge`] makes one stream of many sorted ones.
//! - [`Replay`] drives a bus from a stream of inputs and a timeline, and reports.
//! - `log`, with feature `serde` as well, keeps inputs in a file from which they can be replayed.
//!
//! [`Time`] is a plain count of whatever unit the input uses. Nothing in this module looks at the
//! clock of the machine, except to report how long a run took, or at the order of a hash map. So the
//! same input gives the same run, in any process, as long as the handlers keep to that too.

#[cfg(feature = "serde")]
pub mod log;
mod merge;
mod queue;
mod replay;
mod report;
mod settle;
mod timeline;

pub use merge::{Merge, Stream, Unsorted, merge};
pub use queue::Handle;
pub use replay::{Progress, Replay, ReplayError};
pub use report::{Count, Report};
pub use settle::Settle;
pub use timeline::{Schedule, Timeline};

/// Simulated time: a count of whatever unit the input uses (nanoseconds, days), the same throughout
/// one run.
pub type Time = u64;
