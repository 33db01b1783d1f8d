//! The report of a loop.

use crate::sim::Report;
use crate::time::Time;
use alloc::vec::Vec;
use core::{fmt, time::Duration};

/// The messages that a [`Live`](super::Live) loop delivered, and its delays. `Display` prints a table.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LiveReport {
    /// The delivered messages, as in a replay.
    pub delivered: Report,
    /// The time of the timeline. Everything due by then is delivered, and nothing else: a replay of the inputs
    /// [until](crate::sim::Replay::until) this time repeats the run.
    pub end: Time,
    /// The lateness of scheduled messages.
    pub lateness: Lateness,
    /// Messages that took longer than the [budget](super::Live::budget): inputs, then scheduled ones, in the order
    /// in which they are declared.
    pub slow: Vec<Slow>,
}

/// The time from when a scheduled message was due to its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Lateness {
    /// The number of messages.
    pub count: u64,
    /// The longest lateness.
    pub max: Duration,
    total: Duration,
}

impl Lateness {
    pub(super) fn add(&mut self, late: Duration) {
        self.count += 1;
        self.max = self.max.max(late);
        self.total = self.total.saturating_add(late);
    }

    /// The mean of all; zero if there were none.
    pub fn mean(&self) -> Duration {
        let nanos = self.total.as_nanos().checked_div(self.count.into());
        Duration::from_nanos(nanos.unwrap_or_default().try_into().unwrap_or(u64::MAX))
    }
}

/// A message that took longer than the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slow {
    /// The message's [`NAME`](crate::message::Message::NAME).
    pub name: &'static str,
    /// The number of times.
    pub count: u64,
    /// The longest time, until the bus was settled.
    pub max: Duration,
}

impl Slow {
    pub(super) fn new(name: &'static str) -> Self {
        Slow {
            name,
            count: 0,
            max: Duration::ZERO,
        }
    }

    pub(super) fn add(&mut self, took: Duration) {
        self.count += 1;
        self.max = self.max.max(took);
    }
}

impl fmt::Display for LiveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LiveReport {
            delivered,
            lateness,
            slow,
            ..
        } = self;
        write!(f, "{delivered}")?;
        if lateness.count > 0 {
            let (mean, max) = (lateness.mean(), lateness.max);
            write!(
                f,
                "\nscheduled messages were late by {mean:.3?} on average, {max:.3?} at most"
            )?;
        }
        for Slow { name, count, max } in slow {
            write!(f, "\nslow: {name}, {count} times, up to {max:.3?}")?;
        }
        Ok(())
    }
}
