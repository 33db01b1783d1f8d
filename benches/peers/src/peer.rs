//! What is asked of each contestant.

use std::hint::black_box;

use crate::jobs::{Job, State};

pub trait Peer {
    fn name(&self) -> &'static str;

    /// Whether the peer has this kind of message at all.
    fn offers(&self, job: Job) -> bool;

    /// Sends the numbers below `n` and returns the sum of the answers, 0 when there are none.
    ///
    /// Each send is a function that is not inlined, the plain call's too: without that, the plain
    /// call would vanish into the loop and a ratio to it would mean nothing.
    fn run(&mut self, job: Job, n: u64) -> u64;

    /// What the handlers change.
    fn state(&self) -> &State;

    /// Sends a message that has no handler, and tells what came of it.
    fn missing(&mut self) -> Missing;
}

/// How a missing handler shows.
pub enum Missing {
    /// Such a program cannot be built, so this is told and not seen.
    CompileTime(&'static str),
    /// Seen just now, when such a message was sent.
    RunTime(String),
}

/// Sends the numbers below `n`, each unknown to the optimiser.
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
