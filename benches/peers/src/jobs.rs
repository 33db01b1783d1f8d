//! The jobs, the same for every peer: a query, a command that changes a counter, an event with 1 and with 3
//! subscribers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

#[derive(Clone, Copy)]
pub struct Ask(pub u64);
#[derive(Clone, Copy)]
pub struct Add(pub u64);
/// An event with one subscriber.
#[derive(Clone, Copy)]
pub struct ToOne(pub u64);
/// An event with three subscribers.
#[derive(Clone, Copy)]
pub struct ToThree(pub u64);
/// A message without a handler.
#[derive(Clone, Copy)]
pub struct Nobody;

/// The work of the query: two instructions that the compiler cannot remove.
#[inline]
pub fn answer(question: u64) -> u64 {
    (question ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The state that a command or an event changes.
///
/// Some peers require `Send` handlers. So all have the same atomic, written by one thread
/// without a locked instruction: its cost is that of a plain integer in memory.
#[derive(Clone, Default)]
pub struct Counter(Arc<AtomicU64>);
impl Counter {
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0
            .store(self.value().wrapping_add(amount), Ordering::Relaxed);
    }
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The state of a peer's handlers, for the check of each batch.
#[derive(Clone, Default)]
pub struct State {
    pub command: Counter,
    pub one: Counter,
    pub three: [Counter; 3],
}
impl State {
    pub fn values(&self) -> [u64; 5] {
        let [a, b, c] = &self.three;
        [&self.command, &self.one, a, b, c].map(Counter::value)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Job {
    Query,
    Command,
    EventToOne,
    EventToThree,
}
impl Job {
    pub const ALL: [Job; 4] = [Job::Query, Job::Command, Job::EventToOne, Job::EventToThree];

    pub fn title(self) -> &'static str {
        match self {
            Job::Query => "query",
            Job::Command => "command",
            Job::EventToOne => "event, 1 subscriber",
            Job::EventToThree => "event, 3 subscribers",
        }
    }

    /// The expected result of a batch over the numbers below `n`: the sum of the answers, and the
    /// increase of each counter of [`State`].
    pub fn expected(self, n: u64) -> (u64, [u64; 5]) {
        let sum = (0..n).fold(0u64, u64::wrapping_add);
        match self {
            Job::Query => {
                let answers = (0..n).fold(0u64, |total, i| total.wrapping_add(answer(i)));
                (answers, [0; 5])
            }
            Job::Command => (0, [sum, 0, 0, 0, 0]),
            Job::EventToOne => (0, [0, sum, 0, 0, 0]),
            Job::EventToThree => (0, [0, 0, sum, sum, sum]),
        }
    }
}
