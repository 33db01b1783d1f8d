//! The idempotent producer of records.
//!
//! The client collects records in batches for each partition, in order. A broker that receives a batch twice,
//! because its response was lost, keeps it once. A client that can no longer guarantee this, after a fatal error,
//! is replaced.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    error::KafkaError,
    message::{DeliveryResult, OwnedHeaders},
    producer::BaseRecord,
    types::RDKafkaErrorCode,
};
use tokio::{sync::Notify, time::Instant};

use self::client::Client;
use super::{cluster::Cluster, wire};
use static_bus_remote::{
    lock::lock,
    time::now_millis,
    transport::{Record, Topic, TransportError},
};

mod client;

/// The time by which the client may exceed the deadline before it reports a timeout.
const GRACE: Duration = Duration::from_secs(3);
/// The delay before a record is passed to the client again whose queue was full.
const QUEUE_FULL_DELAY: Duration = Duration::from_millis(2);

/// The producer of all clones of a transport.
pub(super) struct Producer {
    cluster: Arc<Cluster>,
    client: Mutex<Arc<Client>>,
}

/// The results of the records of one call.
#[derive(Default)]
struct Batch {
    /// The number of records that the client has and that have no result, plus one until all records are sent.
    waiting: AtomicUsize,
    results: Mutex<Vec<Option<Result<(), KafkaError>>>>,
    completed: Notify,
}

/// The place of the result of one record in a batch.
pub(super) struct Place {
    batch: Arc<Batch>,
    number: usize,
}

impl Producer {
    /// Starts a client, and waits until it has reached the cluster.
    pub async fn connect(cluster: &Arc<Cluster>) -> Result<Self, TransportError> {
        let client = Client::start(cluster)?;
        client.reach(cluster).await?;
        Ok(Producer {
            cluster: cluster.clone(),
            client: Mutex::new(client),
        })
    }

    /// Checks that the cluster answers requests.
    pub async fn check(&self) -> Result<(), TransportError> {
        let client = lock(&self.client).clone();
        client.reach(&self.cluster).await
    }

    /// Appends records, and returns one result for each.
    pub async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        let client = lock(&self.client).clone();
        let end = Instant::now() + self.cluster.settings().deadline() + GRACE;
        let batch = Arc::new(Batch {
            waiting: AtomicUsize::new(1),
            results: Mutex::new(vec![None; records.len()]),
            completed: Notify::new(),
        });
        // A call has few topics: a linear search is faster than hashing a name for each record.
        let mut topics: Vec<(&Topic, Result<_, TransportError>)> = Vec::new();
        let mut numbers = Vec::with_capacity(records.len());
        let now = now_millis();
        let mut encoded = Vec::with_capacity(records.len());
        for (topic, record) in &records {
            let known = topics.iter().rposition(|(known, _)| *known == topic);
            numbers.push(known.unwrap_or(topics.len()));
            if known.is_none() {
                topics.push((topic, self.cluster.topics().get(topic).await));
            }
            encoded.push(wire::encode(topic, record, now));
        }
        // The client sends as soon as it has a record. Records that follow quickly share a request.
        for (number, ((_, record), encoded)) in records.iter().zip(encoded).enumerate() {
            if let Ok((name, _)) = &topics[numbers[number]].1 {
                let place = Place::new(&batch, number);
                self.send(&client, name, place, &record.body, encoded, end)
                    .await;
            }
        }
        batch.count_down();
        let _ = tokio::time::timeout_at(end, batch.completed.notified()).await;
        let results = std::mem::take(&mut *lock(&batch.results));
        if client.is_broken() {
            self.replace(&client);
        }
        let result = |(number, result): (usize, Option<_>)| {
            let (topic, name) = match &topics[number] {
                (topic, Ok((name, _))) => (topic, name),
                (_, Err(e)) => return Err(e.clone()),
            };
            let doing = || format!("appending to {name}");
            match result {
                Some(Ok(())) => Ok(()),
                Some(Err(e)) => {
                    if may_be_deleted(&e) {
                        self.cluster.topics().forget(topic);
                    }
                    Err(self.cluster.error(&doing(), &e))
                }
                None => Err(self.cluster.unanswered(&doing())),
            }
        };
        numbers.into_iter().zip(results).map(result).collect()
    }

    /// Passes a record to the client, which reports the result to its place.
    async fn send(
        &self,
        client: &Client,
        name: &str,
        place: Box<Place>,
        body: &[u8],
        (key, headers): (Option<String>, OwnedHeaders),
        end: Instant,
    ) {
        let mut message = BaseRecord::with_opaque_to(name, place)
            .headers(headers)
            .payload(body);
        if let Some(key) = &key {
            message = message.key(&**key);
        }
        while let Err((e, back)) = client.send(message) {
            let is_full = e.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !is_full || Instant::now() >= end - GRACE {
                back.delivery_opaque.complete(Err(e));
                return;
            }
            message = back;
            tokio::time::sleep(QUEUE_FULL_DELAY).await;
        }
    }

    /// Replaces a broken client.
    fn replace(&self, broken: &Arc<Client>) {
        let mut client = lock(&self.client);
        if Arc::ptr_eq(&client, broken)
            && let Ok(fresh) = Client::start(&self.cluster)
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

impl Batch {
    /// Counts a result, or the end of sending.
    fn count_down(&self) {
        if self.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.completed.notify_one();
        }
    }
}

impl Place {
    fn new(batch: &Arc<Batch>, number: usize) -> Box<Self> {
        batch.waiting.fetch_add(1, Ordering::AcqRel);
        Box::new(Place {
            batch: batch.clone(),
            number,
        })
    }

    /// Stores the result that the client reports.
    fn delivered(self, result: &DeliveryResult<'_>) {
        self.complete(match result {
            Ok(_) => Ok(()),
            Err((e, _)) => Err(e.clone()),
        });
    }

    fn complete(self, result: Result<(), KafkaError>) {
        // The results are gone if the call has ended by its deadline.
        if let Some(place) = lock(&self.batch.results).get_mut(self.number) {
            *place = Some(result);
        }
        self.batch.count_down();
    }
}
