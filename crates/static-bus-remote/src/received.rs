//! A received record whose attributes are parsed once.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{Envelope, EnvelopeError, envelope::Index, time::later, transport::Record};

/// A received record and the result of parsing its headers.
pub(crate) struct Received {
    record: Arc<Record>,
    index: Result<Index, EnvelopeError>,
    /// The time at which the caller stops waiting.
    deadline: Option<Instant>,
}

impl Received {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        let index = Index::of(&record.headers);
        // The time that the engine says is left does not depend on the clock of the caller. After this, the system
        // clock may be changed.
        let by_clock = |deadline: Timestamp| {
            let left = deadline.duration_since(Timestamp::now());
            left.try_into().unwrap_or_default()
        };
        let left = record.expires.or_else(|| {
            let deadline = index.as_ref().ok()?.deadline();
            deadline.map(by_clock)
        });
        Received {
            deadline: left.map(|left| later(Instant::now(), left)),
            index,
            record,
        }
    }

    /// The time at which the caller of a query stops waiting.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// # Errors
    /// When the headers cannot be parsed.
    pub(crate) fn envelope(&self) -> Result<Envelope<'_>, EnvelopeError> {
        match &self.index {
            Ok(index) => Ok(index.envelope(&self.record.headers)),
            Err(error) => Err(error.clone()),
        }
    }
}
