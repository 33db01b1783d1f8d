//! Simulated time, with feature `sim`: many timed streams as one, and the loop that feeds them, and a
//! [`Timeline`](crate::time::Timeline), to a bus.
//!
//! - [`merge`] combines many sorted streams into one.
//! - [`Replay`] drives a bus from a stream of inputs and a timeline, and reports.
//!
//! This module does not depend on the order of a hash
//! map, and reads the machine's clock only to report the duration of a run. So the same input gives the
//! same run in any process, provided that the handlers are deterministic too.

mod merge;
mod replay;
mod report;

pub use merge::{Merge, Stream, Unsorted, merge};
pub use replay::{Progress, Replay, ReplayError};
#[cfg(feature = "live")]
pub(crate) use report::Tally;
pub use report::{Count, Report};
