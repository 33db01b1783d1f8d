//! The guarantees of the channel into a bus from other threads.

mod buses;
mod closing;
mod deadlock;
mod posting;
mod stress;
mod waiting;

use static_bus::live::Receiver;
use static_bus::prelude::*;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq)]
pub struct Tick(pub u64);
event!(Tick, name = "clock.tick");

#[derive(Debug, PartialEq)]
pub struct Cancel(pub u64);
command!(Cancel, name = "orders.cancel");

mailbox! {
    pub enum Input {
        event Tick,
        command Cancel,
    }
}

/// Longer than any healthy run takes, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The numbers of all waiting messages.
pub fn take_all(receiver: &Receiver<Input>) -> Vec<u64> {
    let waiting = std::iter::from_fn(|| receiver.try_next());
    waiting.map(number).collect()
}

pub fn number(input: Input) -> u64 {
    match input {
        Input::Tick(Tick(n)) | Input::Cancel(Cancel(n)) => n,
    }
}
