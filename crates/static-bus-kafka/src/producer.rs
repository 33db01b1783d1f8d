//! The idempotent producer of records.
//!
//! A client collects records in batches for each partition, in order. The size of a batch is bounded by the limit of its
//! topic: topics with a smaller limit have a client of their own. A broker that receives a batch twice,
//! because its response was lost, keeps it once. A client that can no longer guarantee this, after a fatal error,
//! is replaced, and one whose records have timed out.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex},
    time::Duration,
};

use rdkafka::{error::KafkaError, producer::BaseRecord, types::RDKafkaErrorCode};
use tokio::time::Instant;

use self::{
    batch::{Batch, Failure, Place},
    client::Client,
    window::Window,
};
use super::{
    cluster::Cluster,
    errors,
    topics::KafkaTopic,
    wire::{self, Encoded},
};
use static_bus_remote::{
    lock::lock,
    time::now_millis,
    transport::{Kind, Record, Topic, TransportError, TransportErrorKind},
};

mod batch;
mod client;
mod window;

/// The time by which the client may exceed the deadline before it reports a timeout.
const GRACE: Duration = Duration::from_secs(3);
/// The delay before a record is passed to the client again whose queue was full.
const QUEUE_FULL_DELAY: Duration = Duration::from_millis(2);

/// The producer of all clones of a transport.
pub(super) struct Producer {
    cluster: Arc<Cluster>,
    /// A client for each largest size of a batch. Most topics accept the default size, and share one.
    clients: Mutex<HashMap<usize, Arc<Client>>>,
    window: Arc<Window>,
}

/// A topic of the records of one call, with the client for its records.
type Target = Result<(KafkaTopic, Arc<Client>), TransportError>;

impl Producer {
    /// Starts a client, and waits until it has reached the cluster.
    pub async fn connect(cluster: &Arc<Cluster>) -> Result<Self, TransportError> {
        let producer = Producer {
            cluster: cluster.clone(),
            clients: Mutex::default(),
            window: Window::new(),
        };
        producer.check().await?;
        Ok(producer)
    }

    /// Checks that the cluster answers requests.
    pub async fn check(&self) -> Result<(), TransportError> {
        let client = self.client(usize::MAX)?;
        client.reach(&self.cluster).await
    }

    /// The client for topics that accept batches of this size. It is started when it is first needed.
    fn client(&self, max_bytes: usize) -> Result<Arc<Client>, TransportError> {
        let bytes = max_bytes.min(self.cluster.settings().batch_bytes());
        match lock(&self.clients).entry(bytes) {
            Entry::Occupied(known) => Ok(known.get().clone()),
            Entry::Vacant(place) => {
                let client = Client::start(&self.cluster, bytes)?;
                Ok(place.insert(client).clone())
            }
        }
    }

    /// Appends records, and returns one result for each.
    pub async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        let batch = Batch::new(records.len());
        // A call has few topics: a linear search is faster than hashing a name for each record.
        let mut topics: Vec<(&Topic, Target)> = Vec::new();
        let mut numbers = Vec::with_capacity(records.len());
        let now = now_millis();
        let mut encoded = Vec::with_capacity(records.len());
        for (topic, record) in &records {
            let known = topics.iter().rposition(|(known, _)| *known == topic);
            numbers.push(known.unwrap_or(topics.len()));
            if known.is_none() {
                topics.push((topic, self.target(topic).await));
            }
            encoded.push(wire::encode(topic, record, now));
        }
        let sizes: Vec<_> = encoded.iter().map(|one| one.size).collect();
        // The client sends as soon as it has a record. Records that follow quickly share a request.
        for (number, ((topic, record), encoded)) in records.iter().zip(encoded).enumerate() {
            if let Ok((found, client)) = &topics[numbers[number]].1 {
                let settings = self.cluster.settings();
                if sizes[number] > settings.max_bytes(topic.kind) {
                    batch.fail(number, Failure::TooLarge);
                    continue;
                }
                let deadline = settings.deadline();
                let Some(room) = self.window.enter(sizes[number], deadline).await else {
                    batch.fail_from(number);
                    break;
                };
                let place = Place::new(&batch, number, room);
                let partition = (topic.kind == Kind::DeadLetter).then_some(0);
                let to = (&*found.name, partition);
                self.send(client, to, place, &record.body, encoded).await;
            }
        }
        let end = Instant::now() + self.cluster.settings().deadline() + GRACE;
        let results = batch.results(end).await;
        for (_, target) in &topics {
            if let Ok((_, client)) = target
                && client.is_broken()
            {
                self.replace(client);
            }
        }
        let limits = self.learn_limits(&topics, &numbers, &results).await;
        let result = |((number, result), size): ((usize, Option<_>), usize)| {
            let (topic, name) = match &topics[number] {
                (topic, Ok((found, _))) => (topic, &found.name),
                (_, Err(e)) => return Err(e.clone()),
            };
            let doing = || format!("appending to {name}");
            match result {
                Some(Ok(())) => Ok(()),
                Some(Err(Failure::TooLarge)) => {
                    Err(self.too_large(topic, name, size, limits[number]))
                }
                Some(Err(Failure::Client(e))) if errors::is_too_large(&e) => {
                    Err(self.too_large(topic, name, size, limits[number]))
                }
                Some(Err(Failure::Client(e))) => {
                    if may_be_deleted(&e) {
                        self.cluster.topics().forget(topic);
                    }
                    Err(self.cluster.error(&doing(), &e))
                }
                Some(Err(Failure::NotSent)) => {
                    let reason = format!(
                        "{}: not sent, because the cluster has not confirmed any record for {:?}: it is overloaded or \
                         cannot be reached",
                        doing(),
                        self.cluster.settings().deadline()
                    );
                    Err(self
                        .cluster
                        .failure(TransportErrorKind::Unreachable, reason))
                }
                None => Err(self.cluster.unanswered(&doing())),
            }
        };
        numbers
            .into_iter()
            .zip(results)
            .zip(sizes)
            .map(result)
            .collect()
    }

    async fn target(&self, topic: &Topic) -> Target {
        if topic.kind == Kind::Query && !self.cluster.has_receiver(topic).await {
            let address = self.cluster.settings().address();
            return Err(TransportError::no_receiver(address.clone(), topic));
        }
        let found = self.cluster.topics().get(topic).await?;
        let client = self.client(found.max_bytes)?;
        Ok((found, client))
    }

    /// Reads the limits of topics again that have refused a batch for its size. Returns the limit of each topic.
    async fn learn_limits(
        &self,
        topics: &[(&Topic, Target)],
        numbers: &[usize],
        results: &[Option<Result<(), Failure>>],
    ) -> Vec<usize> {
        let mut limits = Vec::with_capacity(topics.len());
        for (number, (topic, target)) in topics.iter().enumerate() {
            let mut limit = target.as_ref().map_or(0, |(found, _)| found.max_bytes);
            let mut of = numbers.iter().zip(results).filter(|(of, _)| **of == number);
            if of.any(
                |(_, result)| matches!(result, Some(Err(Failure::Client(e))) if errors::is_too_large(e)),
            ) {
                self.cluster.topics().forget(topic);
                if let Ok(found) = self.cluster.topics().get(topic).await {
                    limit = found.max_bytes;
                }
            }
            limits.push(limit);
        }
        limits
    }

    /// The error of a record that was refused for its size, or for that of its batch.
    fn too_large(&self, of: &Topic, name: &str, size: usize, topic: usize) -> TransportError {
        let client = self.cluster.settings().max_bytes(of.kind);
        if wire::batch_size(size) > client.min(topic) {
            let address = self.cluster.settings().address();
            return errors::too_large(address, name, size, (client, topic));
        }
        let reason = format!(
            "appending to {name}: a batch of records was too large, because `max.message.bytes` of the topic was lowered \
             to {topic}: send again, which keeps the limit"
        );
        self.cluster
            .failure(TransportErrorKind::Unreachable, reason)
    }

    /// Passes a record to the client, which reports the result to its place.
    async fn send(
        &self,
        client: &Client,
        (name, partition): (&str, Option<i32>),
        place: Box<Place>,
        body: &[u8],
        Encoded { key, headers, .. }: Encoded,
    ) {
        let mut message = BaseRecord::with_opaque_to(name, place)
            .headers(headers)
            .payload(body);
        if let Some(key) = &key {
            message = message.key(&**key);
        }
        message.partition = partition;
        let mut end = None;
        while let Err((e, back)) = client.send(message) {
            let is_full = e.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            let deadline = self.cluster.settings().deadline();
            let end = *end.get_or_insert_with(|| Instant::now() + deadline);
            if !is_full || Instant::now() >= end {
                back.delivery_opaque.refused(e);
                return;
            }
            message = back;
            tokio::time::sleep(QUEUE_FULL_DELAY).await;
        }
    }

    /// Replaces a broken client.
    fn replace(&self, broken: &Arc<Client>) {
        let mut clients = lock(&self.clients);
        let mut clients = clients.iter_mut();
        if let Some((bytes, client)) = clients.find(|(_, client)| Arc::ptr_eq(client, broken))
            && let Ok(fresh) = Client::start(&self.cluster, *bytes)
        {
            *client = fresh;
        }
    }
}

/// Returns `true` if a topic or one of its partitions may have been deleted. The client reports a timeout for an
/// unknown topic, because a new topic may be unknown to some servers.
fn may_be_deleted(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        MessageTimedOut, UnknownPartition, UnknownTopic, UnknownTopicOrPartition,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(MessageTimedOut | UnknownPartition | UnknownTopic | UnknownTopicOrPartition)
    )
}

#[cfg(test)]
mod tests;
