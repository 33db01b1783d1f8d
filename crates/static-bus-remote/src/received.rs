//! A received record whose attributes are parsed once.

use std::sync::Arc;

use crate::{Envelope, EnvelopeError, envelope::Index, transport::Record};

/// A received record and the result of parsing its headers.
pub(crate) struct Received {
    record: Arc<Record>,
    index: Result<Index, EnvelopeError>,
}

impl Received {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Received {
            index: Index::of(&record.headers),
            record,
        }
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
