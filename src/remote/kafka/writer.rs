//! Writes what goes beside records: what members claim, and which dead letters are removed.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use rdkafka::producer::{FutureProducer, Producer as _};

use super::{errors, settings::Settings, topics::lock};
use crate::remote::transport::TransportError;

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
        let fresh: Result<FutureProducer, _> = settings.producer().create();
        let fresh = fresh.map_err(|e| errors::error(&settings.address, "starting a client", &e))?;
        end(client.replace(fresh.clone()));
        Ok(fresh)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let client = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        end(client.take());
    }
}

/// To end a client takes a while, and this may be an async thread.
fn end(client: Option<FutureProducer>) {
    if let Some(client) = client {
        let ended = thread::Builder::new().spawn(move || drop(client));
        drop(ended);
    }
}
