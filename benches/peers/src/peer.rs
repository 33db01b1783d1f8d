//! The interface of a peer.

use std::hint::black_box;

use crate::jobs::{Job, State};

pub trait Peer {
    fn name(&self) -> &'static str;

    /// True if the peer has this kind of message.
    fn offers(&self, job: Job) -> bool;

    /// Sends the numbers below `n` and returns the sum of the answers, 0 when there are none.
    ///
    /// Each send is a function that is not inlined, that of the plain call too. Otherwise the plain
    /// call would be inlined into the loop, and a ratio to it would have no meaning.
    fn run(&mut self, job: Job, n: u64) -> u64;

    /// The state that the handlers change.
    fn state(&self) -> &State;

    /// Sends a message without a handler, and returns the result.
    fn missing(&mut self) -> Missing;
}

/// The result of a missing handler.
pub enum Missing {
    /// The compile error. Such a program cannot be built, so the text is not checked.
    CompileTime(&'static str),
    /// The result at run time of sending such a message.
    RunTime(String),
}

/// Sends the numbers below `n`, each opaque to the optimiser.
#[inline]
pub fn ask(n: u64, mut send: impl FnMut(u64) -> u64) -> u64 {
    (0..n).fold(0, |sum: u64, i| sum.wrapping_add(send(black_box(i))))
}

/// The same for messages without an answer.
#[inline]
pub fn tell(n: u64, mut send: impl FnMut(u64)) -> u64 {
    (0..n).for_each(|i| send(black_box(i)));
    0
}
