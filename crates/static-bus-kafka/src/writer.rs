//! The producer of claims and of removals of dead letters.

use std::sync::{Arc, Mutex};

use rdkafka::{
    client::DefaultClientContext,
    producer::{FutureProducer, Producer as _},
};

use super::{clients, settings::Settings};
use static_bus_remote::{lock::lock, transport::TransportError};

/// The largest size of a batch of claims, or of removals.
pub(super) const BATCH_BYTES: usize = 256 * 1024;

/// A producer that all clones of a transport share, and that is started when it is first needed.
pub(super) struct Writer {
    settings: Arc<Settings>,
    producer: Mutex<Option<FutureProducer>>,
}

impl Writer {
    pub fn new(settings: Arc<Settings>) -> Self {
        Writer {
            settings,
            producer: Mutex::default(),
        }
    }

    /// The producer. One with a fatal error is replaced.
    pub fn producer(&self) -> Result<FutureProducer, TransportError> {
        let mut place = lock(&self.producer);
        if let Some(producer) = &*place
            && producer.client().fatal_error().is_none()
        {
            return Ok(producer.clone());
        }
        let config = self.settings.producer(BATCH_BYTES);
        let fresh: FutureProducer = clients::start(&self.settings, &config, DefaultClientContext)?;
        clients::end(place.replace(fresh.clone()));
        Ok(fresh)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        clients::end(lock(&self.producer).take());
    }
}
