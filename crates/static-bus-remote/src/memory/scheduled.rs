//! The records of a topic that are due later.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::{
    time::later,
    transport::{Due, DueTime, Record},
};

/// The difference from which a clock is read again.
const DRIFT: Duration = Duration::from_millis(10);

/// Records by the times at which they are due, and then in the order in which they were added.
#[derive(Default)]
pub(super) struct Scheduled {
    records: BTreeMap<Place, Record>,
    /// The places of those with a cancellation key.
    keys: HashMap<Arc<str>, Place>,
    added: u64,
    clock: Option<Clock>,
}

type Place = (Instant, u64);

/// The time of the system at an instant. It is kept as long as it holds, so that equal times become equal instants.
#[derive(Clone, Copy)]
struct Clock(SystemTime, Instant);

impl Scheduled {
    /// Adds a record. It replaces one with the same cancellation key.
    pub fn add(&mut self, due: &Due, record: Record) {
        self.added += 1;
        let place = (self.instant(due.time), self.added);
        if let Some(key) = &due.key
            && let Some(old) = self.keys.insert(key.clone(), place)
        {
            self.records.remove(&old);
        }
        self.records.insert(place, record);
    }

    fn instant(&mut self, time: DueTime) -> Instant {
        let time = match time {
            DueTime::At(time) => time,
            DueTime::After(delay) => return later(Instant::now(), delay),
        };
        // In this order a pause between the two makes records late, and not early.
        let now = Clock(SystemTime::now(), Instant::now());
        let known = self.clock.filter(|clock| clock.agrees_with(now));
        let Clock(system, instant) = *self.clock.insert(known.unwrap_or(now));
        later(instant, time.duration_since(system).unwrap_or_default())
    }

    /// Removes the record with this key. Returns whether there was one.
    pub fn cancel(&mut self, key: &str) -> bool {
        let place = self.keys.remove(key);
        place.is_some_and(|place| self.records.remove(&place).is_some())
    }

    /// Removes the first record, if it is due.
    pub fn pop(&mut self, now: Instant) -> Option<Record> {
        let first = self.records.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let mut record = first.remove();
        if let Some(key) = record.due.take().and_then(|due| due.key) {
            self.keys.remove(&key);
        }
        Some(record)
    }

    /// The time at which the next record is due.
    pub fn next(&self) -> Option<Instant> {
        let (place, _) = self.records.first_key_value()?;
        Some(place.0)
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }
}

impl Clock {
    fn agrees_with(self, now: Clock) -> bool {
        let expected = self.0 + now.1.saturating_duration_since(self.1);
        let difference = now.0.duration_since(expected);
        difference.unwrap_or_else(|e| e.duration()) < DRIFT
    }
}
