//! A run repeated from its log, without the feed and the exchange.

use std::path::Path;

use static_bus::{prelude::*, sim::Replay, time::Timeline};
use trading::messages::{CancelOrders, Cascade, PlaceOrder};

use crate::{
    desk::{MAILBOX, Outcome, State},
    recording,
};

/// The outcome, and what the replay took.
pub fn replay(log: &Path) -> Result<(Outcome, String), String> {
    let inputs = recording::open(log)?;
    let tail = inputs.tail().map_err(|error| error.to_string())?;
    let timeline = Timeline::new();
    let state = State::new(&timeline);
    // The orders were placed, and their fills are in the log.
    let bus = BusBuilder::new()
        .mount(state.desk())
        .register_command_fn(|_: PlaceOrder| ())
        .register_command_fn(|_: CancelOrders| ())
        .mailbox::<Cascade>(MAILBOX)
        .build();

    let mut replay = Replay::new(&bus, &timeline, inputs);
    if let Some(end) = tail.end {
        replay.until(end);
    }
    let report = replay.run().map_err(|error| error.to_string())?;
    drop(bus);
    let mut measured = report.to_string();
    if tail.end.is_none() {
        measured += "\nthe log has no end: the run was killed, or its log could not be written";
    }
    if let Some(torn) = tail.torn {
        measured += &format!("\n{torn}");
    }
    Ok((state.into_outcome(), measured))
}
