//! The messages of a lane that wait for a time.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::item::Item;

/// The next step of a message that waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Its handler runs again.
    Attempt,
    /// Its deduplication key is claimed again.
    Claim,
}

/// Messages in the order of their times, and those of one time in the order in which they were added.
pub(super) struct Schedule<R> {
    steps: BTreeMap<(Instant, u64), (Step, Item<R>)>,
    added: u64,
}

impl<R> Schedule<R> {
    pub fn new() -> Self {
        Schedule {
            steps: BTreeMap::new(),
            added: 0,
        }
    }

    pub fn add(&mut self, time: Instant, step: Step, item: Item<R>) {
        self.added += 1;
        self.steps.insert((time, self.added), (step, item));
    }

    /// The time of the first step.
    pub fn next_time(&self) -> Option<Instant> {
        let ((time, _), _) = self.steps.first_key_value()?;
        Some(*time)
    }

    /// Removes the first step if it is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Step, Item<R>)> {
        let first = self.steps.first_entry()?;
        let (time, _) = first.key();
        (*time <= now).then(|| first.remove())
    }

    /// Removes all messages.
    pub fn drain(&mut self) -> impl Iterator<Item = Item<R>> {
        let steps = std::mem::take(&mut self.steps);
        steps.into_values().map(|(_, item)| item)
    }
}
