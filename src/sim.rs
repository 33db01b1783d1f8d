//! Simulated time, with feature `sim`: messages that are due later, many timed streams as one, and
//! the loop that feeds both to a bus.
//!
//! - [`Timeline`] holds messages until they are due.
//! - [`merge`] combines many sorted streams into one.
//! - [`Replay`] drives a bus from a stream of inputs and a timeline, and reports.
//! - `log`, with feature `serde` as well, records inputs in a file from which they can be replayed.
//!
//! [`Time`] is a count in the unit of the input. This module does not depend on the order of a hash
//! map, and reads the machine's clock only to report the duration of a run. So the same input gives the
//! same run in any process, provided that the handlers are deterministic too.

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

/// Simulated time: a count in the unit of the input (nanoseconds, days), which is the same throughout a
/// run.
pub type Time = u64;
