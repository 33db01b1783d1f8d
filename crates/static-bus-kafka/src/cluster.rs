//! The connection of a transport to its cluster.

use std::{sync::Arc, thread};

use rdkafka::error::KafkaError;

use super::{
    dead_letters, errors, inspection,
    receivers::{ClusterGroups, Receivers},
    settings::Settings,
    topics::Topics,
    writer::Writer,
};
use static_bus_remote::transport::{Topic, TransportError, TransportErrorKind};

/// The settings of a transport, and the clients that all of its parts share.
pub(super) struct Cluster {
    settings: Arc<Settings>,
    topics: Topics,
    receivers: Receivers,
    writer: Writer,
    inspectors: inspection::Clients,
    listing: dead_letters::LastListing,
}

impl Cluster {
    pub fn new(settings: Settings) -> Arc<Self> {
        let settings = Arc::new(settings);
        Arc::new(Cluster {
            topics: Topics::new(settings.clone()),
            receivers: Receivers::new(settings.receiver_grace()),
            writer: Writer::new(settings.clone()),
            inspectors: inspection::Clients::default(),
            listing: dead_letters::LastListing::default(),
            settings,
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The topics, which are created when they are first needed.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Returns `false` if a query has no receiver.
    pub async fn has_receiver(&self, topic: &Topic) -> bool {
        match self.query_groups().await {
            Ok(groups) => self.receivers.accept(groups, topic).await,
            Err(_) => true,
        }
    }

    /// The groups of queries.
    pub async fn query_groups(&self) -> Result<ClusterGroups, TransportError> {
        let (settings, admin) = (self.settings.clone(), self.topics.admin().await?);
        Ok(ClusterGroups { settings, admin })
    }

    /// The producer of claims and of removals of dead letters.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The clients that read the positions of groups.
    pub fn inspectors(&self) -> &inspection::Clients {
        &self.inspectors
    }

    /// The listing of dead letters that the next page may continue.
    pub fn listing(&self) -> &dead_letters::LastListing {
        &self.listing
    }

    /// Starts a thread for as long as a part of the transport lives.
    pub fn start_thread(
        &self,
        name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), TransportError> {
        let thread = thread::Builder::new().name(name.to_owned());
        match thread.spawn(run) {
            Ok(_) => Ok(()),
            Err(e) => {
                let reason = format!("no thread can be started: {e}");
                Err(self.failure(TransportErrorKind::Unreachable, reason))
            }
        }
    }

    /// An error of a client. `doing` names the operation.
    pub fn error(&self, doing: &str, error: &KafkaError) -> TransportError {
        errors::error(self.settings.address(), doing, error)
    }

    /// The error of an operation without an answer in time.
    pub fn unanswered(&self, doing: &str) -> TransportError {
        errors::unanswered(self.settings.address(), doing)
    }

    /// An error of this engine.
    pub fn failure(&self, kind: TransportErrorKind, reason: impl Into<String>) -> TransportError {
        TransportError::new(kind, self.settings.address().clone(), reason.into())
    }
}
