//! What is sent.

use serde::{Deserialize, Serialize};
use static_bus::prelude::*;

#[derive(Serialize, Deserialize)]
pub struct Put {
    pub number: u64,
    pub text: String,
}
command!(Put, name = "bench.put");

/// A command that nobody handles.
#[derive(Serialize, Deserialize)]
pub struct Keep(pub Put);
command!(Keep, name = "bench.keep");

#[derive(Serialize, Deserialize)]
pub struct Get {
    pub number: u64,
}
query!(Get -> u64, name = "bench.get");

impl Put {
    pub fn new(number: usize) -> Self {
        Put {
            number: number as u64,
            text: "twelve lamps".to_owned(),
        }
    }

    /// As many bytes as ours sends, without a need to write them.
    pub fn bytes() -> Vec<u8> {
        serde_json::to_vec(&Put::new(100_000)).expect("it can be written")
    }
}
