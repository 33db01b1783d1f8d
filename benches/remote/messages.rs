//! The messages.

use serde::{Deserialize, Serialize};
use static_bus::prelude::*;

#[derive(Serialize, Deserialize)]
pub struct Put {
    pub number: u64,
    pub text: String,
}
command!(Put, name = "bench.put");

/// A command without a handler.
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

    /// A body with the number of bytes that static-bus sends.
    pub fn bytes() -> Vec<u8> {
        serde_json::to_vec(&Put::new(100_000)).expect("it can be written")
    }
}

/// Attributes with the number of bytes of those that static-bus sends.
pub fn attributes() -> Vec<u8> {
    vec![b'a'; 240]
}
