//! A record in the broker.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{time::later, transport::Record};

/// A record, shared by the groups that have not settled it.
#[derive(Clone)]
pub(super) struct Entry {
    pub record: Arc<Record>,
    pub appended: Instant,
    expires: Option<Instant>,
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
