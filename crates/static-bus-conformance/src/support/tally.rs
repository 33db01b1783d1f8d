//! The records that came, and the records that are missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use super::{DEADLINE, ids, list, reader::HasRecord};
use static_bus_remote::lock::lock;
use tokio::time::Instant;

/// The expected records, and the number of times that each record came. Its clock runs: it is made when all readers are
/// open, which takes long on some brokers.
pub struct Tally(Mutex<Seen>);

struct Seen {
    expected: BTreeSet<usize>,
    missing: BTreeSet<usize>,
    times: BTreeMap<usize, usize>,
    /// The time of the last record; before the first one, the earliest time at which it comes.
    last: Instant,
}

impl Tally {
    pub fn new(expected: impl IntoIterator<Item = usize>) -> Self {
        Tally::starting_in(Duration::ZERO, expected)
    }

    /// A tally of records of which the first comes after `delay` at the earliest.
    pub fn starting_in(delay: Duration, expected: impl IntoIterator<Item = usize>) -> Self {
        let expected: BTreeSet<_> = expected.into_iter().collect();
        Tally(Mutex::new(Seen {
            missing: expected.clone(),
            expected,
            times: BTreeMap::new(),
            last: Instant::now() + delay,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        lock(&self.0)
    }

    pub fn saw(&self, received: &[impl HasRecord]) {
        let mut seen = self.lock();
        for id in ids(received) {
            *seen.times.entry(id).or_default() += 1;
            seen.missing.remove(&id);
            seen.last = Instant::now();
        }
    }

    /// Returns `true` when every expected record has come.
    ///
    /// # Panics
    /// If no record has come for [`DEADLINE`].
    pub fn complete(&self) -> bool {
        let stuck = self.lock().last.elapsed() > DEADLINE;
        if stuck {
            self.none_lost();
        }
        self.lock().missing.is_empty()
    }

    pub fn count(&self) -> usize {
        self.lock().times.len()
    }

    pub fn none_lost(&self) {
        let seen = self.lock();
        assert!(
            seen.missing.is_empty(),
            "lost {} of {} records: {}",
            seen.missing.len(),
            seen.expected.len(),
            list(seen.missing.iter().copied())
        );
    }

    pub fn none_twice(&self) {
        let seen = self.lock();
        let twice: Vec<_> = seen.times.iter().filter(|(_, n)| **n > 1).collect();
        assert!(
            twice.is_empty(),
            "delivered more than once: {} of {} records: {}",
            twice.len(),
            seen.expected.len(),
            list(twice.iter().map(|(id, _)| **id))
        );
    }

    pub fn none_foreign(&self) {
        let seen = self.lock();
        let foreign = seen.times.keys().filter(|id| !seen.expected.contains(id));
        let foreign = list(foreign.copied());
        assert!(
            foreign.is_empty(),
            "got records of another topic: {foreign}"
        );
    }

    pub fn exactly_once(&self) {
        self.none_lost();
        self.none_twice();
        self.none_foreign();
    }
}
