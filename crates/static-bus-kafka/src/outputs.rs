//! The output of handlers, for delivery exactly once from Kafka to Kafka.
//!
//! Commands and events that a handler sends are held back until its message is acknowledged. Then one transaction
//! appends them, confirms the deduplication key of the message and commits its offset.
//!
//! ```text
//!   received ── handler ── sends ── acknowledged
//!                            │           │
//!                      held back ────────┴─ one transaction: the output, the key, the offset
//!                            └─ dropped, if the handler fails or the message is released
//! ```

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use rdkafka::{message::OwnedHeaders, producer::BaseRecord, types::RDKafkaErrorCode};

use super::{cluster::Cluster, errors, receipt::KafkaReceipt, wire};
use static_bus_remote::{
    lock::lock,
    time::now_millis,
    transport::{
        Delivery, Kind, Lease, Record, Subscription, Topic, TransportError, TransportErrorKind,
    },
};

/// The size that is reserved for the headers that the engine adds to a record, as brokers count it.
const RESERVED_HEADER_BYTES: usize = 4096;

/// The output of all handlers of a transport and its clones.
#[derive(Default)]
pub(super) struct Outputs {
    /// The output by the id of the message that is being handled.
    pending: Mutex<HashMap<Arc<str>, Pending>>,
    /// The only group of each topic that consumes through this transport.
    groups: Mutex<HashMap<Topic, Cow<'static, str>>>,
    members: AtomicU64,
}

/// The output of the handler of a message. A message may have several deliveries; at most one of them, with the
/// claim of its key, is being handled.
#[derive(Default)]
struct Pending {
    deliveries: Vec<(u64, KafkaReceipt)>,
    outputs: Vec<Output>,
}

/// An encoded record that is held back.
pub(super) struct Output {
    topic: Arc<str>,
    key: Option<String>,
    headers: OwnedHeaders,
    body: Bytes,
}

impl Output {
    /// The record for a producer.
    pub fn record(&self) -> BaseRecord<'_, str, [u8]> {
        let record = BaseRecord::to(&self.topic)
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

impl Outputs {
    /// Holds a record back that is the output of a handler. Returns any other record as the error.
    pub async fn hold_back(
        &self,
        cluster: &Cluster,
        (topic, record): (Topic, Record),
    ) -> Result<Result<(), TransportError>, (Topic, Record)> {
        let cause = match topic.kind {
            Kind::Command | Kind::Event => record.headers.get("causationid"),
            _ => None,
        };
        let is_handled = |cause: &str| lock(&self.pending).contains_key(cause);
        let Some(cause) = cause.filter(|cause| is_handled(cause)) else {
            return Err((topic, record));
        };
        let name = match cluster.topics().get(&topic).await {
            Ok((name, _)) => name,
            Err(e) => return Ok(Err(e)),
        };
        // A record that is too large would fail each transaction that contains it.
        let size = record.body.len() + record.headers.as_str().len() + RESERVED_HEADER_BYTES;
        if size > cluster.settings().max_record_bytes() {
            let doing = format!("appending to {name}");
            let code = RDKafkaErrorCode::MessageSizeTooLarge;
            let address = cluster.settings().address();
            return Ok(Err(errors::code(address, &doing, code)));
        }
        let (key, headers) = wire::encode(&topic, &record, now_millis());
        let output = Output {
            topic: name,
            key,
            headers,
            body: record.body.clone(),
        };
        if let Some(pending) = lock(&self.pending).get_mut(&*cause) {
            pending.outputs.push(output);
            return Ok(Ok(()));
        }
        // The handler has ended without waiting for this call.
        drop(cause);
        Err((topic, record))
    }
}

/// The messages that one member is handling, and their output.
pub(super) struct Handling {
    outputs: Arc<Outputs>,
    member: u64,
    ids: Mutex<HashMap<KafkaReceipt, Arc<str>>>,
}

impl Handling {
    /// Adds a member.
    ///
    /// # Errors
    /// If the subscription has no deduplication, or another group consumes the topic through this transport.
    pub fn begin(
        cluster: &Cluster,
        outputs: &Arc<Outputs>,
        subscription: &Subscription,
    ) -> Result<Self, TransportError> {
        let refuse = |reason: String| Err(cluster.failure(TransportErrorKind::Refused, reason));
        if subscription.deduplication.is_none() {
            return refuse(
                "exactly once needs deduplication: set `Worker::deduplication`".to_owned(),
            );
        }
        let mut groups = lock(&outputs.groups);
        let group = groups.entry(subscription.topic.clone());
        let group = group.or_insert_with(|| subscription.group.clone());
        if *group != subscription.group {
            return refuse(format!(
                "with exactly once, a connection has one subscriber of {}, which is {group:?}: \
                 open another connection for {:?}",
                subscription.topic, subscription.group
            ));
        }
        Ok(Handling {
            outputs: outputs.clone(),
            member: outputs.members.fetch_add(1, Ordering::Relaxed),
            ids: Mutex::default(),
        })
    }

    /// Begins to hold back the output of the handlers of these records.
    pub fn received(&self, deliveries: &[Delivery<KafkaReceipt>]) {
        let (mut ids, mut all) = (lock(&self.ids), lock(&self.outputs.pending));
        for Delivery {
            receipt, record, ..
        } in deliveries
        {
            let Some(id) = record.headers.get("id") else {
                continue;
            };
            let id: Arc<str> = id.into();
            ids.insert(*receipt, id.clone());
            let pending = all.entry(id).or_default();
            // An earlier delivery of the record is lost, and the output of its handler is dropped.
            let count = pending.deliveries.len();
            pending
                .deliveries
                .retain(|(_, earlier)| !earlier.is_same_record(receipt));
            if pending.deliveries.len() < count {
                pending.outputs.clear();
            }
            pending.deliveries.push((self.member, *receipt));
        }
    }

    /// Drops the output of a handler that has failed.
    pub fn failed(&self, receipt: &KafkaReceipt) {
        if let Some(id) = lock(&self.ids).get(receipt)
            && let Some(pending) = lock(&self.outputs.pending).get_mut(id)
            && pending.deliveries.contains(&(self.member, *receipt))
        {
            pending.outputs.clear();
        }
    }

    /// Ends a delivery, and returns the output of its handler: none if the record has no claim and so was not
    /// handled.
    pub fn settled(&self, lease: &Lease<KafkaReceipt>) -> Vec<Output> {
        let Some(id) = lock(&self.ids).remove(&lease.receipt) else {
            return Vec::new();
        };
        let mut all = lock(&self.outputs.pending);
        let delivery = (self.member, lease.receipt);
        let pending = all.get_mut(&id);
        let pending = pending.filter(|pending| pending.deliveries.contains(&delivery));
        let Some(pending) = pending else {
            return Vec::new();
        };
        pending.deliveries.retain(|one| *one != delivery);
        let outputs = match lease.claim.is_some() {
            true => std::mem::take(&mut pending.outputs),
            false => Vec::new(),
        };
        if pending.deliveries.is_empty() {
            all.remove(&id);
        }
        outputs
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let mut all = lock(&self.outputs.pending);
        for id in lock(&self.ids).values() {
            if let Some(pending) = all.get_mut(id) {
                pending
                    .deliveries
                    .retain(|(member, _)| *member != self.member);
                if pending.deliveries.is_empty() {
                    all.remove(id);
                }
            }
        }
    }
}
