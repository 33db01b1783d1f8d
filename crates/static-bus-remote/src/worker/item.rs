//! A message on its way through a lane.

use std::{cmp::Ordering, sync::Arc};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    Codec,
    envelope::now,
    transport::{Lease, Record},
};

/// A message that the worker holds.
pub(crate) struct Item<R> {
    pub(crate) lease: Lease<R>,
    pub(crate) record: Arc<Record>,
    /// How often it was handed out before.
    pub(crate) before: u32,
    /// How often its handler was begun here, but for the times that the broker failed it.
    pub(crate) begun: u32,
    /// How often in a row the broker has failed its handler.
    pub(crate) failed_by_broker: u32,
    pub(crate) codec: Codec,
    /// What its duplicates share; empty where nobody asks.
    pub(crate) key: Arc<str>,
    /// When the caller stops waiting, if it is a query.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) failures: Option<Failures>,
}

/// What went wrong with a message so far.
pub(crate) struct Failures {
    pub(crate) error: String,
    pub(crate) first: String,
    pub(crate) last: String,
}

impl<R> Item<R> {
    pub(crate) fn fail(&mut self, error: String) {
        let now = now();
        let failures = self.failures.get_or_insert_with(|| Failures {
            error: String::new(),
            first: now.clone(),
            last: String::new(),
        });
        failures.error = error;
        failures.last = now;
    }

    /// What there is to say of one that failed nowhere: the worker that had it was gone each time.
    pub(crate) fn crashed(&self) -> String {
        let times = self.before;
        format!("it was handed out {times} times, and no worker came to its end: it may kill them")
    }

    /// How often its handler was begun, here and elsewhere.
    pub(crate) fn attempts(&self) -> u32 {
        self.before.saturating_add(self.begun)
    }
}

/// An item that waits until a time; the earliest is the greatest, as a heap has it.
pub(crate) struct Later<R> {
    pub(crate) at: Instant,
    /// Keeps the order of those with the same time.
    pub(crate) turn: u64,
    pub(crate) what: Due,
    pub(crate) item: Item<R>,
}
/// What is due then.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Its handler runs again.
    Attempt,
    /// Its key is claimed again.
    Claim,
}

impl<R> Later<R> {
    fn order(&self) -> (Instant, u64) {
        (self.at, self.turn)
    }
}
impl<R> Ord for Later<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.order().cmp(&self.order())
    }
}
impl<R> PartialOrd for Later<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<R> PartialEq for Later<R> {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}
impl<R> Eq for Later<R> {}
