//! The messages that arrive later.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use crate::transport::{Record, Topic};

/// Messages whose senders have an `Ok`, by the times at which they arrive.
#[derive(Default)]
pub(super) struct Held {
    records: BTreeMap<(Instant, u64), (Topic, Record)>,
    added: u64,
}

impl Held {
    /// The time of the last message with this ordering key: no other with the key arrives before it.
    pub fn last_of(&self, topic: &Topic, key: Option<&Arc<str>>) -> Option<Instant> {
        let key = key?;
        let mut records = self.records.iter().rev();
        let last =
            records.find(|(_, (of, record))| of == topic && record.key.as_ref() == Some(key));
        last.map(|((due, _), _)| *due)
    }

    pub fn add(&mut self, due: Instant, topic: Topic, record: Record) {
        self.added += 1;
        self.records.insert((due, self.added), (topic, record));
    }

    /// Removes the first message that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Topic, Record)> {
        let first = self.records.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub fn iter(&self) -> impl Iterator<Item = (Instant, &Topic)> {
        self.records
            .iter()
            .map(|((due, _), (topic, _))| (*due, topic))
    }
}
