//! A connection to the broker of a case.

use std::time::Duration;

use crate::{Capabilities, Harness, Outcome, Sharing, Skipped};
use static_bus_remote::transport::{
    DeadLetterRecord, Inspect, Record, Subscription, Topic, TopicState, Transport, TransportError,
};

/// The engine under test, and its capabilities.
#[derive(Clone)]
pub struct Connection<T> {
    engine: T,
    capabilities: Capabilities,
}

pub async fn connect<H: Harness>(harness: &H) -> Connection<H::Transport> {
    Connection {
        engine: harness.connect().await,
        capabilities: harness.capabilities(),
    }
}

impl<T: Transport> Connection<T> {
    pub fn sharing(&self) -> Sharing {
        self.capabilities.sharing
    }

    pub fn needs_key_order(&self) -> Outcome {
        needs(
            self.capabilities.key_order,
            "the engine does not keep the order of keys",
        )
    }

    /// The grace time after which queries without a receiver are refused; `None` if they are accepted.
    pub fn receiver_grace(&self) -> Option<Duration> {
        self.capabilities.receiver_grace
    }

    /// The limit of the size of a record.
    pub fn max_record(&self) -> Option<usize> {
        self.capabilities.max_record
    }

    pub fn needs_other_processes(&self) -> Outcome {
        needs(
            self.capabilities.other_processes,
            "the records of the engine do not outlive the process that appended them",
        )
    }

    pub fn needs_restart(&self, harness: &impl Harness) -> Outcome {
        needs(
            self.capabilities.persistence,
            "the records of the engine do not outlive a restart of the broker",
        )?;
        needs(harness.restarts(), "the harness cannot restart the broker")
    }
}

fn needs(met: bool, reason: &'static str) -> Outcome {
    if met { Ok(()) } else { Err(Skipped(reason)) }
}

impl<T: Transport> Transport for Connection<T> {
    type Consumer = T::Consumer;
    type Receiver = T::Receiver;

    fn address(&self) -> &str {
        self.engine.address()
    }

    async fn check(&self) -> Result<(), TransportError> {
        self.engine.check().await
    }

    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        self.engine.append(records).await
    }

    async fn consume(&self, subscription: Subscription) -> Result<T::Consumer, TransportError> {
        self.engine.consume(subscription).await
    }

    async fn listen(&self, topic: Topic) -> Result<T::Receiver, TransportError> {
        self.engine.listen(topic).await
    }

    async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterRecord>, TransportError> {
        self.engine.dead_letters(after, limit).await
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        self.engine.remove_dead_letters(positions).await
    }

    fn check_scheduling(&self) -> Result<(), TransportError> {
        self.engine.check_scheduling()
    }

    async fn cancel(&self, topic: &Topic, key: &str) -> Result<bool, TransportError> {
        self.engine.cancel(topic, key).await
    }
}

impl<T: Inspect> Inspect for Connection<T> {
    async fn topics(&self) -> Result<Vec<Topic>, TransportError> {
        self.engine.topics().await
    }

    async fn inspect(&self, topics: &[Topic]) -> Result<Vec<TopicState>, TransportError> {
        self.engine.inspect(topics).await
    }
}
