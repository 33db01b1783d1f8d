//! The producer of claims and of removals of dead letters.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use rdkafka::{
    client::DefaultClientContext,
    error::KafkaError,
    producer::{FutureProducer, Producer as _, PurgeConfig},
    types::RDKafkaErrorCode,
};

use super::{clients, settings::Settings};
use static_bus_remote::{lock::lock, transport::TransportError};

/// The largest size of a batch of claims, or of removals.
pub(super) const BATCH_BYTES: usize = 256 * 1024;

/// A producer that all clones of a transport share, and that is started when it is first needed.
pub(super) struct Writer {
    settings: Arc<Settings>,
    current: Mutex<Option<Current>>,
}

struct Current {
    producer: FutureProducer,
    started: Instant,
}

impl Writer {
    pub fn new(settings: Arc<Settings>) -> Self {
        Writer {
            settings,
            current: Mutex::default(),
        }
    }

    /// The producer. One with a fatal error is replaced, and one that has [failed](Self::failed) to deliver in time.
    pub fn producer(&self) -> Result<FutureProducer, TransportError> {
        let mut current = lock(&self.current);
        if let Some(Current { producer, .. }) = &*current
            && producer.client().fatal_error().is_none()
        {
            return Ok(producer.clone());
        }
        let config = self.settings.producer(BATCH_BYTES);
        let producer: FutureProducer =
            clients::start(&self.settings, &config, DefaultClientContext)?;
        let fresh = Current {
            producer: producer.clone(),
            started: Instant::now(),
        };
        clients::end(current.replace(fresh));
        Ok(producer)
    }

    /// Notes the failure of a record. After a timeout the next record has a new producer: this one may have lost the
    /// leader of the partition for good. Records that wait are refused, so that none is appended after later ones.
    pub fn failed(&self, error: &KafkaError) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::MessageTimedOut) {
            return;
        }
        // No record of a younger producer has timed out: it was one of the producer before.
        let is_old = |current: &mut Current| current.started.elapsed() >= self.settings.deadline();
        if let Some(old) = lock(&self.current).take_if(is_old) {
            old.producer.purge(PurgeConfig::default().queue());
            clients::end(old);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        clients::end(lock(&self.current).take());
    }
}
