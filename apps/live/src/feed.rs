//! The feed: the bars of the S&P 500 as a stream of ticks over TCP, from a process of its own.
//!
//! A line is a [`Frame`] as JSON: the opening, then the ticks, then the end. A connection that is closed
//! before the end is a failure of the feed.

mod client;
mod process;
mod server;
mod stop;

pub use client::Feed;
pub use server::serve;
#[cfg(test)]
pub use server::ticks;
pub use stop::Stop;

use serde::{Deserialize, Serialize};

use crate::messages::Tick;

#[derive(Serialize, Deserialize)]
enum Frame {
    Opening(Opening),
    Tick(Tick),
    End,
}

/// The version of the protocol.
const VERSION: u32 = 1;

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Opening {
    version: u32,
    /// Market time per real time.
    pub speed_up: f64,
    /// The number of ticks that follow.
    pub ticks: u64,
}
