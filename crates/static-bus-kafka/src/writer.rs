//! Writes what goes beside records: what members claim, and which dead letters are removed.

use std::sync::Mutex;

use rdkafka::{
    client::DefaultClientContext,
    producer::{FutureProducer, Producer as _},
};

use super::{clients, settings::Settings};
use static_bus_remote::{lock::lock, transport::TransportError};

/// What writes, for all clones of a transport. It is started when it is needed first.
#[derive(Default)]
pub(super) struct Writer(Mutex<Option<FutureProducer>>);

impl Writer {
    /// The client; another one if it refuses everything from now on.
    pub fn client(&self, settings: &Settings) -> Result<FutureProducer, TransportError> {
        let mut client = lock(&self.0);
        if let Some(client) = &*client
            && client.client().fatal_error().is_none()
        {
            return Ok(client.clone());
        }
        let config = settings.producer();
        let fresh: FutureProducer = clients::start(settings, &config, DefaultClientContext)?;
        clients::end(client.replace(fresh.clone()));
        Ok(fresh)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        clients::end(lock(&self.0).take());
    }
}
