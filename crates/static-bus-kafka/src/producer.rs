//! Appends records.
//!
//! The client gathers them for each partition, in order, and sends each gathering once: a server that
//! gets it twice, because its answer was lost, keeps it once. When the client can no longer promise
//! that, another one takes its place.

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
use super::{errors, settings::Settings, wire};
use static_bus_remote::{
    lock::lock,
    transport::{Record, Topic, TransportError},
};

mod client;

/// How much later than its deadline the client may tell that it has passed.
const GRACE: Duration = Duration::from_secs(3);
/// How long to wait when the client has no room for another record.
const FULL: Duration = Duration::from_millis(2);

/// What appends records, for all clones of a transport.
pub(super) struct Producer {
    settings: Arc<Settings>,
    client: Mutex<Arc<Client>>,
}

/// The records of one call, as far as the client has taken them.
#[derive(Default)]
struct Batch {
    /// How many have no result yet, and one more while there are more to come.
    waiting: AtomicUsize,
    results: Mutex<Vec<Option<Result<(), KafkaError>>>>,
    all_told: Notify,
}

/// A record of a batch.
struct Place {
    batch: Arc<Batch>,
    number: usize,
}

impl Producer {
    /// Starts a client and waits until it has reached the cluster.
    pub async fn connect(settings: &Arc<Settings>) -> Result<Self, TransportError> {
        let client = Client::start(settings)?;
        client.reach(settings).await?;
        Ok(Producer {
            settings: settings.clone(),
            client: Mutex::new(client),
        })
    }

    /// Asks the cluster for what it tells of itself.
    pub async fn check(&self) -> Result<(), TransportError> {
        let client = lock(&self.client).clone();
        client.reach(&self.settings).await
    }

    pub async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        let client = lock(&self.client).clone();
        let end = Instant::now() + self.settings.deadline + GRACE;
        let batch = Arc::new(Batch {
            waiting: AtomicUsize::new(1),
            results: Mutex::new(vec![None; records.len()]),
            all_told: Notify::new(),
        });
        // Few: it is quicker to look through them than to hash a name for each record.
        let mut topics: Vec<(&Topic, Result<_, TransportError>)> = Vec::new();
        let mut numbers = Vec::with_capacity(records.len());
        let now = wire::now_millis();
        let mut encoded = Vec::with_capacity(records.len());
        for (topic, record) in &records {
            let known = topics.iter().rposition(|(known, _)| *known == topic);
            numbers.push(known.unwrap_or(topics.len()));
            if known.is_none() {
                topics.push((topic, self.settings.topic(topic).await));
            }
            encoded.push(wire::encode(topic, record, now));
        }
        // The client begins to send with the first record: what it is given quickly goes in one request.
        for (number, ((_, record), encoded)) in records.iter().zip(encoded).enumerate() {
            if let Ok((name, _)) = &topics[numbers[number]].1 {
                let place = Place::new(&batch, number);
                self.send(&client, name, place, &record.body, encoded, end)
                    .await;
            }
        }
        batch.told();
        let _ = tokio::time::timeout_at(end, batch.all_told.notified()).await;
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
            let address = &self.settings.address;
            match result {
                Some(Ok(())) => Ok(()),
                Some(Err(e)) => {
                    if may_be_gone(&e) {
                        self.settings.forget(topic);
                    }
                    Err(errors::error(address, &doing(), &e))
                }
                None => Err(errors::unanswered(address, &doing())),
            }
        };
        numbers.into_iter().zip(results).map(result).collect()
    }

    /// Gives a record to the client, which tells its place what became of it.
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
                back.delivery_opaque.tell(Err(e));
                return;
            }
            message = back;
            tokio::time::sleep(FULL).await;
        }
    }

    /// Starts another client in the place of a broken one.
    fn replace(&self, broken: &Arc<Client>) {
        let mut client = lock(&self.client);
        if Arc::ptr_eq(&client, broken)
            && let Ok(fresh) = Client::start(&self.settings)
        {
            *client = fresh;
        }
    }
}

/// Whether a topic, or a partition of it, may be there no more. The client waits for one that it does
/// not find, because one that was just created may be unknown to some servers.
fn may_be_gone(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        MessageTimedOut, UnknownPartition, UnknownTopic, UnknownTopicOrPartition,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(MessageTimedOut | UnknownPartition | UnknownTopic | UnknownTopicOrPartition)
    )
}

impl Batch {
    fn told(&self) {
        if self.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all_told.notify_one();
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

    fn delivered(self, result: &DeliveryResult<'_>) {
        self.tell(match result {
            Ok(_) => Ok(()),
            Err((e, _)) => Err(e.clone()),
        });
    }

    fn tell(self, result: Result<(), KafkaError>) {
        // Nobody is there any more if the call was given up.
        if let Some(place) = lock(&self.batch.results).get_mut(self.number) {
            *place = Some(result);
        }
        self.batch.told();
    }
}
