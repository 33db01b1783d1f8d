//! Logs as JSON Lines, to read and to edit.
//!
//! A line is one input, as an array of its time, in nanoseconds since the Unix epoch, and the input.
//! [`export`] writes the inputs of a [`Reader`](super::Reader) so. [`record`] writes inputs as they pass to
//! a replay, and [`read`] reads them. Such a log has no end and no checksum.
//!
//! What is read is what was recorded, to the last bit of a number. A value that JSON would change or
//! cannot hold is refused when it is recorded, with [`RecordError::Value`]:
//!
//! - NaN and the infinities, which JSON does not have;
//! - `Some(None)` and `Some(())`, which JSON writes as `null`, like `None`;
//! - a map whose keys are not strings, characters, numbers, booleans or variants without content;
//! - a value that is nested more than 126 deep.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use static_bus::{log::json, prelude::*, sim::{Replay, Stream, merge}, time::{Time, Timeline}};
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
//! let balance = Cell::new(0);
//! let bus = BusBuilder::new()
//!     .subscribe_fn(|deposit: &Deposit| balance.set(balance.get() + deposit.amount))
//!     .build();
//!
//! let deposits = [(1, Deposit { amount: 70 }), (2, Deposit { amount: 5 })];
//! let deposits = deposits.map(|(time, deposit)| (Time::from_nanos(time), Input::from(deposit)));
//! let inputs = merge([Stream::new("deposits", deposits)]);
//! let mut file = Vec::new();
//! Replay::new(&bus, &Timeline::<Input>::new(), json::record(inputs, &mut file)).run().unwrap();
//! assert_eq!(balance.take(), 75);
//! assert_eq!(file, b"[1,{\"Deposit\":{\"amount\":70}}]\n[2,{\"Deposit\":{\"amount\":5}}]\n");
//!
//! Replay::new(&bus, &Timeline::<Input>::new(), json::read::<Input, _>(&file[..])).run().unwrap();
//! assert_eq!(balance.get(), 75);
//! ```

mod export;
mod read;
mod record;

pub use export::export;
pub use read::{Read, ReadError, read};
pub use record::{Record, RecordError, record};
