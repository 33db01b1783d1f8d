//! Tests through the bus: a record of what was sent, stand-ins for handlers, and a check of what a module needs.
//!
//! - [`Recorder`]: a layer that keeps each message, who sent it, and to whom; as typed values, a tree, or diagrams.
//! - [`Stub`] and [`Spy`]: a handler with a prepared answer, and a subscriber that keeps its events. Both can be named
//!   in [`BusOf`](crate::builder::BusOf).
//! - [`assert_needs!`](crate::assert_needs!): the messages that a module sends, and no others.
//!
//! The feature `testing` belongs in the dev-dependencies: with it, each declared message can be copied for a [`Recorder`].

mod diagrams;
mod keep;
mod needs;
mod record;
mod recorder;
mod stand_ins;

pub use diagrams::Graph;
pub use recorder::{Recorder, Recording};
pub use stand_ins::{Spy, Stub};

#[doc(hidden)]
pub use keep::{Copied, Kept, NotCopied, NotPrinted, Printed, Probe};
#[doc(hidden)]
pub use needs::{Needed, Posted, needs};
