//! Exactly once, from Kafka to Kafka.
//!
//! What a handler sends is kept here until its message is acknowledged. Then one transaction appends it,
//! confirms the message's deduplication key, and commits the message's offset: all of it or nothing.
//!
//! ```text
//!   received ── handler ── sends ── acknowledged
//!                            │           │
//!                          kept ─────────┴─ one transaction: what was kept, the key, the offset
//!                            └─ dropped, if the handler fails or the message is given back
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
use rdkafka::{message::OwnedHeaders, types::RDKafkaErrorCode};

use super::{consumer::KafkaReceipt, errors, settings::Settings, wire};
use static_bus_remote::{
    lock::lock,
    transport::{
        Delivery, Kind, Lease, Record, Subscription, Topic, TransportError, TransportErrorKind,
    },
};

pub(super) use self::committer::Committer;

mod committer;

/// What the handlers of a transport's members have sent, for all of its clones.
#[derive(Default)]
pub(super) struct Transactions {
    /// By the ids of the messages that are being handled.
    kept: Mutex<HashMap<Arc<str>, Kept>>,
    /// The one group that consumes each topic through this transport.
    groups: Mutex<HashMap<Topic, Cow<'static, str>>>,
    members: AtomicU64,
}

/// Of one message, of which there may be copies. One of them at most is being handled: it has the claim.
#[derive(Default)]
struct Kept {
    by: Vec<Holder>,
    outputs: Vec<Output>,
}

/// A member's number, and a message that it has.
type Holder = (u64, KafkaReceipt);

/// A record that is to be appended.
pub(super) struct Output {
    pub topic: Arc<str>,
    pub key: Option<String>,
    pub headers: OwnedHeaders,
    pub body: Bytes,
}

/// What room attributes may take beside a body, as brokers count it.
const HEADERS: usize = 4096;

impl Transactions {
    /// Keeps a record that a handler has sent; gives back any other.
    pub async fn keep(
        &self,
        settings: &Settings,
        (topic, record): (Topic, Record),
    ) -> Result<Result<(), TransportError>, (Topic, Record)> {
        let cause = match topic.kind {
            Kind::Command | Kind::Event => record.headers.get("causationid"),
            _ => None,
        };
        let is_in_hand = |cause: &str| lock(&self.kept).contains_key(cause);
        let Some(cause) = cause.filter(|cause| is_in_hand(cause)) else {
            return Err((topic, record));
        };
        let name = match settings.topic(&topic).await {
            Ok((name, _)) => name,
            Err(e) => return Ok(Err(e)),
        };
        // It would break every transaction that it is in.
        if record.body.len() + record.headers.as_str().len() + HEADERS > settings.largest {
            let doing = format!("appending to {name}");
            let code = RDKafkaErrorCode::MessageSizeTooLarge;
            return Ok(Err(errors::code(&settings.address, &doing, code)));
        }
        let (key, headers) = wire::encode(&topic, &record, wire::now_millis());
        let output = Output {
            topic: name,
            key,
            headers,
            body: record.body.clone(),
        };
        if let Some(kept) = lock(&self.kept).get_mut(&*cause) {
            kept.outputs.push(output);
            return Ok(Ok(()));
        }
        // Its handler has ended without waiting for it.
        drop(cause);
        Err((topic, record))
    }
}

/// The messages that one member has.
pub(super) struct Handling {
    transactions: Arc<Transactions>,
    member: u64,
    ids: Mutex<HashMap<KafkaReceipt, Arc<str>>>,
}

impl Handling {
    /// A member that consumes what it acknowledges in transactions; queries are not.
    pub fn begin(
        settings: &Settings,
        subscription: &Subscription,
    ) -> Result<Option<Self>, TransportError> {
        let (Some(transactions), Kind::Command | Kind::Event) =
            (&settings.transactions, subscription.topic.kind)
        else {
            return Ok(None);
        };
        let refuse = |reason: String| {
            let address = settings.address.clone();
            Err(TransportError::new(
                TransportErrorKind::Refused,
                address,
                reason,
            ))
        };
        if subscription.deduplication.is_none() {
            return refuse(
                "exactly once needs deduplication: give the worker a time for it".to_owned(),
            );
        }
        let mut groups = lock(&transactions.groups);
        let group = groups.entry(subscription.topic.clone());
        let group = group.or_insert_with(|| subscription.group.clone());
        if *group != subscription.group {
            return refuse(format!(
                "with exactly once, {group:?} is the one subscriber of {} on this connection: \
                 {:?} needs another one",
                subscription.topic, subscription.group
            ));
        }
        Ok(Some(Handling {
            transactions: transactions.clone(),
            member: transactions.members.fetch_add(1, Ordering::Relaxed),
            ids: Mutex::default(),
        }))
    }

    /// From now on, what the handlers of these send is kept.
    pub fn received(&self, deliveries: &[Delivery<KafkaReceipt>]) {
        let (mut ids, mut kept) = (lock(&self.ids), lock(&self.transactions.kept));
        for Delivery {
            receipt, record, ..
        } in deliveries
        {
            let Some(id) = record.headers.get("id") else {
                continue;
            };
            let id: Arc<str> = id.into();
            ids.insert(*receipt, id.clone());
            let kept = kept.entry(id).or_default();
            // Whoever had it before has lost it, and what is sent there is not wanted.
            let count = kept.by.len();
            kept.by
                .retain(|(_, earlier)| !earlier.is_same_record(receipt));
            if kept.by.len() < count {
                kept.outputs.clear();
            }
            kept.by.push((self.member, *receipt));
        }
    }

    /// What was sent is not wanted: its handler has failed.
    pub fn failed(&self, receipt: &KafkaReceipt) {
        if let Some(id) = lock(&self.ids).get(receipt)
            && let Some(kept) = lock(&self.transactions.kept).get_mut(id)
            && kept.by.contains(&(self.member, *receipt))
        {
            kept.outputs.clear();
        }
    }

    /// The message is settled: gives what its handler has sent. If it was not handled, that is nothing.
    pub fn settled(&self, lease: &Lease<KafkaReceipt>) -> Vec<Output> {
        let Some(id) = lock(&self.ids).remove(&lease.receipt) else {
            return Vec::new();
        };
        let mut all = lock(&self.transactions.kept);
        let by = (self.member, lease.receipt);
        let kept = all.get_mut(&id).filter(|kept| kept.by.contains(&by));
        let Some(kept) = kept else { return Vec::new() };
        kept.by.retain(|holder| *holder != by);
        let outputs = match lease.claim.is_some() {
            true => std::mem::take(&mut kept.outputs),
            false => Vec::new(),
        };
        if kept.by.is_empty() {
            all.remove(&id);
        }
        outputs
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let mut kept = lock(&self.transactions.kept);
        for id in lock(&self.ids).values() {
            if let Some(of) = kept.get_mut(id) {
                of.by.retain(|(member, _)| *member != self.member);
                if of.by.is_empty() {
                    kept.remove(id);
                }
            }
        }
    }
}
