//! Points in time, and messages that are due at one. With feature `sim`.
//!
//! - [`Time`] is a point in time: a count of nanoseconds since the Unix epoch.
//! - [`Timeline`] holds messages until they are due.
//!
//! A module that asks a timeline for the time, and schedules on it, does not depend on what drives the
//! bus: [`sim::Replay`](crate::sim::Replay) in simulated time, or `live::Live` in real time.
//!
//! # Order of delivery
//!
//! Each loop over a bus, in simulated time or in real time, delivers messages by the same rules:
//!
//! 1. An input has a time, and the times of inputs never decrease.
//! 2. Before an input, everything on the timeline that is due at or before its time is delivered. So at equal
//!    times, the timeline precedes the inputs: a timer is never affected by an input of the same time.
//! 3. On the timeline, the earlier time is first; at equal times the smaller priority; at equal priorities the message
//!    that was scheduled first, or the order of [`shuffle_ties`](Timeline::shuffle_ties).
//! 4. While a scheduled message is delivered, [`now`](Timeline::now) is the time at which it was due, and while an input is
//!    delivered, the time of the input. What is scheduled for the past is due now.
//! 5. The bus is settled after every message, so the mailbox is empty at the next one.

mod point;
mod queue;
mod settle;
mod timeline;

pub use point::{OutOfRange, Time};
pub use queue::Handle;
pub use settle::Settle;
pub use timeline::{Schedule, Timeline};
