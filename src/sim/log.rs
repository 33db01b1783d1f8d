//! A log of inputs, from which a run can be repeated. With features `sim` and `serde`.
//!
//! The log is JSON Lines: one input per line, as an array of its time and the input. Inputs are enums
//! declared with [`mailbox!`](crate::mailbox!) and serde's derives. Messages of the timeline are not in
//! the log: the handlers schedule them again when the inputs are replayed.
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
//! use static_bus::{prelude::*, sim::{Replay, Stream, Timeline, log, merge}};
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
//! let deposits = deposits.map(|(time, deposit)| (time, Input::from(deposit)));
//! let inputs = merge([Stream::new("deposits", deposits)]);
//! let mut file = Vec::new();
//! Replay::new(&bus, &Timeline::<Input>::new(), log::record(inputs, &mut file)).run().unwrap();
//! assert_eq!(balance.take(), 75);
//! assert_eq!(file, b"[1,{\"Deposit\":{\"amount\":70}}]\n[2,{\"Deposit\":{\"amount\":5}}]\n");
//!
//! Replay::new(&bus, &Timeline::<Input>::new(), log::read::<Input, _>(&file[..])).run().unwrap();
//! assert_eq!(balance.get(), 75);
//! ```

mod check;
mod read;
mod record;

pub use read::{LogError, Read, read};
pub use record::{Record, RecordError, record};
