//! A log of inputs with their times, from which a run is repeated. With feature `log`; needs `std`.
//!
//! - [`Options`] creates a log or appends to one, and [`Writer`] records inputs in it. A thread of its own
//!   writes the files.
//! - [`Reader`] reads the inputs for a [`Replay`](crate::sim::Replay).
//! - [`Snapshot`] is a state with its position in the log; a restart reads it and the rest of the log.
//! - [`json`] writes and reads the same inputs as JSON Lines.
//!
//! Inputs are enums declared with [`mailbox!`](crate::mailbox!) and serde's derives. Messages of the
//! timeline are not in a log: the handlers schedule them again when the inputs are replayed. So each input
//! is recorded before it is delivered, and the end of the run with [`Writer::end`].
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use static_bus::{log::{Options, Reader}, prelude::*, sim::Replay, time::{Time, Timeline}};
//! use std::cell::Cell;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Deposit { amount: u32 }
//! event!(Deposit);
//! mailbox! {
//!     #[derive(Serialize, Deserialize)]
//!     enum Input { event Deposit }
//! }
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("deposits");
//! let mut writer = Options::new().create(&path)?;
//! for (second, amount) in [(1, 70), (2, 5)] {
//!     writer.record(Time::from_secs(second), &Input::from(Deposit { amount }))?;
//! }
//! writer.end(Time::from_secs(3))?;
//!
//! let balance = Cell::new(0);
//! let bus = BusBuilder::new()
//!     .subscribe_fn(|deposit: &Deposit| balance.set(balance.get() + deposit.amount))
//!     .build();
//! let timeline = Timeline::<Input>::new();
//! let reader = Reader::<Input>::open(&path)?;
//! let end = reader.tail()?.end.expect("the run has ended");
//! Replay::new(&bus, &timeline, reader).until(end).run()?;
//! assert_eq!(balance.get(), 75);
//! assert_eq!(timeline.now(), Time::from_secs(3));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Files
//!
//! The log `run` has the files `run.000001.log`, `run.000002.log`, …, its *segments*. A segment has a head
//! with the version of the format and the names of the messages, and then frames of inputs. Heads and
//! frames have checksums (CRC-32C), so a changed bit is an error with its place. A frame that is cut at
//! the end of the last segment is not read, and [`Tail`] tells of it; anywhere else it is an error.
//! Segments before the last snapshot may be deleted, oldest first.
//!
//! # Values
//!
//! Inputs are encoded by [postcard](https://docs.rs/postcard), and are read to the last bit, NaN and
//! `Some(None)` too. The names of messages are compared when a log is opened; their fields are not, and
//! must not change while a log is to be read. What postcard would read as another value is refused when it
//! is recorded ([`WriteError::Value`]): a field that `skip_serializing_if` leaves out, or a list without a
//! length, as `flatten` makes. An input that cannot be read back, such as one with `untagged` or `tag`, ends
//! the recording ([`WriteError::Unreadable`]).

mod check;
mod error;
mod files;
mod format;
mod frames;
pub mod json;
mod options;
mod reader;
mod snapshot;
mod writer;

pub use error::LogError;
pub use frames::{Tail, Torn};
pub use options::{Durability, OnError, Options};
pub use reader::Reader;
pub use snapshot::{Snapshot, SnapshotError};
pub use writer::{WriteError, Writer};
