//! A received record whose attributes are parsed once.

use std::{borrow::Cow, sync::Arc};

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
        let mut index = Index::of(&record.headers);
        // The time that the engine says is left does not depend on the clock of the caller. After this, the system
        // clock may be changed.
        let by_clock = |deadline: Timestamp| {
            let left = deadline.duration_since(Timestamp::now());
            left.try_into().unwrap_or_default()
        };
        let mut left = record.expires;
        if let (None, Ok(known)) = (left, &index) {
            match known.deadline(&record.headers) {
                Ok(deadline) => left = deadline.map(by_clock),
                Err(error) => index = Err(error),
            }
        }
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

    /// The value of the attribute with this number of [`attribute`](crate::envelope::attribute); `None` if it is missing, or
    /// the headers cannot be parsed.
    pub(crate) fn value(&self, attribute: usize) -> Option<Cow<'_, str>> {
        let index = self.index.as_ref().ok()?;
        index.value(&self.record.headers, attribute)
    }

    /// # Errors
    /// When the headers cannot be parsed.
    pub(crate) fn check(&self) -> Result<(), EnvelopeError> {
        self.index.as_ref().map(drop).map_err(Clone::clone)
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
