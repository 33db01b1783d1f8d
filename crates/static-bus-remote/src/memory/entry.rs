//! A record in the broker.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{time::later, transport::Record};

/// A record, shared by the groups that have not settled it.
#[derive(Clone)]
pub(super) struct Entry {
    pub record: Arc<Record>,
    pub appended: Instant,
    pub expires: Option<Instant>,
}

/// The number of entries of a topic that exist: the number of clones but one.
#[derive(Clone, Default)]
pub(super) struct Stored(Arc<()>);

/// An entry of a topic of commands or events.
pub(super) struct StoredEntry {
    entry: Entry,
    _stored: Stored,
}

impl Stored {
    pub fn entry(&self, entry: Entry) -> Arc<StoredEntry> {
        let _stored = self.clone();
        Arc::new(StoredEntry { entry, _stored })
    }

    pub fn number(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

impl std::ops::Deref for StoredEntry {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl Entry {
    pub fn new(record: Record, now: Instant) -> Self {
        Entry {
            expires: record.expires.map(|after| later(now, after)),
            appended: now,
            record: Arc::new(record),
        }
    }

    /// The record with the time that is left; `None` if it has expired.
    pub fn into_received(self, now: Instant) -> Option<Arc<Record>> {
        let Entry {
            mut record,
            expires,
            ..
        } = self;
        if let Some(expires) = expires {
            let left = expires.saturating_duration_since(now);
            if left.is_zero() {
                return None;
            }
            Arc::make_mut(&mut record).expires = Some(left);
        }
        Some(record)
    }

    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}
