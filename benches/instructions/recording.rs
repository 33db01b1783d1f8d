//! An input that a log records, on the thread of the bus.

use serde::{Deserialize, Serialize};
use static_bus::log::{Options, Writer};
use static_bus::prelude::*;
use static_bus::time::Time;

#[derive(Serialize, Deserialize)]
pub struct Trade {
    symbol: u32,
    price: f64,
    size: u32,
}
event!(Trade);

mailbox! {
    #[derive(Serialize, Deserialize)]
    pub enum Input { event Trade }
}

pub fn input() -> Input {
    let trade = Trade {
        symbol: 499,
        price: 1_000.0 / 3.0,
        size: 310,
    };
    trade.into()
}

/// A writer that has written before, so that its buffer's memory is in use.
pub fn writer() -> Writer<Input> {
    let folder = tempfile::tempdir().expect("a folder for the log").keep();
    let mut writer = Options::new().create(folder.join("log")).expect("a log");
    for _ in 0..10_000 {
        writer.record(Time::MIN, &input()).expect("recorded");
    }
    writer.flush().expect("written");
    writer
}

/// Returns the writer, whose end is not counted.
#[inline(never)]
pub fn record(mut writer: Writer<Input>, input: &Input) -> Writer<Input> {
    writer.record(Time::MIN, input).expect("recorded");
    writer
}
