//! The output of handlers, for delivery exactly once from Kafka to Kafka.
//!
//! Commands and events that a handler sends are held back until its message is acknowledged. Then one transaction
//! appends them, confirms the deduplication key of the message and commits its offset.
//!
//! ```text
//!   received ── attempt ── sends ── acknowledged
//!                            │           │
//!                      held back ────────┴─ one transaction: the output, the key, the offset
//!                            └─ dropped, if the attempt fails, the message is released, or its lease is lost
//! ```
//!
//! Output that the cluster refuses fails the whole transaction. All of its messages are handled again then, and attempts with
//! output for the same topics are tried out one by one, in transactions that are aborted.
//!
//! The output belongs to the attempt, not to the message: a message whose lease was lost is delivered again while
//! its handler still runs, possibly to the same member.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use rdkafka::{message::OwnedHeaders, producer::BaseRecord};

use super::{
    cluster::Cluster,
    errors,
    receipt::KafkaReceipt,
    topics::KafkaTopic,
    wire::{self, Encoded},
};
use static_bus_remote::{
    lock::lock,
    time::now_millis,
    transport::{
        Kind, Lease, Record, Scope, Subscription, Topic, TransportError, TransportErrorKind,
    },
};

/// The output of one attempt to handle a message: the scope of the records that it sends.
#[derive(Clone)]
pub(super) struct Attempt(Arc<Held>);

struct Held {
    /// The connection of the consumer.
    cluster: Arc<Cluster>,
    /// `None` when the attempt has ended.
    outputs: Mutex<Option<Vec<Output>>>,
}

/// An encoded record that is held back.
#[derive(Clone)]
pub(super) struct Output {
    pub topic: Topic,
    /// The Kafka topic.
    name: Arc<str>,
    key: Option<Vec<u8>>,
    headers: OwnedHeaders,
    body: Bytes,
    /// The size of the record in bytes.
    pub size: usize,
    /// The largest size of a batch of records that the topic accepts.
    pub max_batch_bytes: usize,
}

impl Output {
    /// The Kafka topic.
    pub fn name(&self) -> &str {
        &self.name
    }

    #[cfg(test)]
    pub fn empty(topic: Topic) -> Self {
        Output {
            topic,
            name: "".into(),
            key: None,
            headers: OwnedHeaders::new(),
            body: Bytes::new(),
            size: 0,
            max_batch_bytes: 0,
        }
    }

    /// The record for a producer.
    pub fn record(&self) -> BaseRecord<'_, [u8], [u8]> {
        let record = BaseRecord::to(&self.name)
            .headers(self.headers.clone())
            .payload(&self.body[..]);
        match &self.key {
            Some(key) => record.key(&**key),
            None => record,
        }
    }
}

/// An acknowledged record, with the changes that are committed in the same transaction.
pub(super) struct Acknowledgement {
    pub receipt: KafkaReceipt,
    /// The output of the handler.
    pub outputs: Vec<Output>,
    /// The deduplication key.
    pub key: Option<Arc<str>>,
}

impl Attempt {
    fn begin(cluster: &Arc<Cluster>) -> Self {
        Attempt(Arc::new(Held {
            cluster: cluster.clone(),
            outputs: Mutex::new(Some(Vec::new())),
        }))
    }

    /// The attempt that sends a record, if its output is held back on this connection.
    pub fn of<'r>(cluster: &Arc<Cluster>, topic: &Topic, record: &'r Record) -> Option<&'r Self> {
        if !matches!(topic.kind, Kind::Command | Kind::Event) {
            return None;
        }
        let attempt: &Attempt = record.scope.as_ref()?.get()?;
        Arc::ptr_eq(&attempt.0.cluster, cluster).then_some(attempt)
    }

    /// Holds a record back.
    ///
    /// # Errors
    /// If the topic cannot be created, the record is too large, or the attempt has ended.
    pub async fn hold_back(&self, topic: &Topic, record: &Record) -> Result<(), TransportError> {
        let Held { cluster, outputs } = &*self.0;
        let KafkaTopic {
            name, max_bytes, ..
        } = cluster.topics().get(topic).await?;
        let Encoded { key, headers, size } = wire::encode(topic, record, now_millis());
        // A record that is too large would fail each transaction that contains it.
        let limits = (cluster.settings().max_bytes(topic.kind), max_bytes);
        if wire::batch_size(size) > limits.0.min(limits.1) {
            return Err(errors::too_large(
                cluster.settings().address(),
                &name,
                size,
                limits,
            ));
        }
        let output = Output {
            topic: topic.clone(),
            name,
            key,
            headers,
            body: record.body.clone(),
            size,
            max_batch_bytes: max_bytes,
        };
        match &mut *lock(outputs) {
            Some(outputs) => outputs.push(output),
            None => {
                let reason = "the attempt of the handler that sends this has ended: await each send \
                              in the handler";
                return Err(cluster.failure(TransportErrorKind::Closed, reason));
            }
        }
        Ok(())
    }

    /// The output so far that fulfils a condition as a whole; none if it does not.
    pub fn outputs_if(scope: &Scope, condition: impl FnOnce(&[Output]) -> bool) -> Vec<Output> {
        let attempt: Option<&Attempt> = scope.get();
        let outputs = attempt.map(|attempt| lock(&attempt.0.outputs));
        let outputs = outputs.as_ref().and_then(|outputs| outputs.as_deref());
        let outputs = outputs.filter(|outputs| condition(outputs));
        outputs.unwrap_or_default().to_vec()
    }

    /// Ends the attempt, and returns its output.
    fn end(&self) -> Vec<Output> {
        lock(&self.0.outputs).take().unwrap_or_default()
    }
}

/// The attempts of one member that have not ended.
pub(super) struct Handling {
    cluster: Arc<Cluster>,
    attempts: Mutex<HashMap<KafkaReceipt, Attempt>>,
}

impl Handling {
    /// # Errors
    /// If the subscription has no deduplication.
    pub fn new(
        cluster: &Arc<Cluster>,
        subscription: &Subscription,
    ) -> Result<Self, TransportError> {
        if subscription.deduplication.is_none() {
            let reason = "exactly once needs deduplication: set `Worker::deduplication`";
            return Err(cluster.failure(TransportErrorKind::Refused, reason));
        }
        Ok(Handling {
            cluster: cluster.clone(),
            attempts: Mutex::default(),
        })
    }

    /// Begins an attempt. This ends the one before, and drops its output.
    pub fn begin(&self, receipt: &KafkaReceipt) -> Scope {
        let attempt = Attempt::begin(&self.cluster);
        let before = lock(&self.attempts).insert(*receipt, attempt.clone());
        if let Some(before) = before {
            before.end();
        }
        Scope::new(attempt)
    }

    /// Ends the last attempt of a delivery, and returns its output: none if the record has no claim and so was not
    /// handled.
    pub fn settled(&self, lease: &Lease<KafkaReceipt>) -> Vec<Output> {
        let attempt = lock(&self.attempts).remove(&lease.receipt);
        let outputs = attempt.map(|attempt| attempt.end()).unwrap_or_default();
        match lease.claim.is_some() {
            true => outputs,
            false => Vec::new(),
        }
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        for attempt in lock(&self.attempts).values() {
            attempt.end();
        }
    }
}
