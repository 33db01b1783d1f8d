//! Commits as transactions: offsets together with the output of handlers and the confirmed keys.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    TopicPartitionList,
    consumer::{Consumer as _, ConsumerGroupMetadata},
    error::{KafkaError, KafkaResult},
    producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer},
    types::RDKafkaErrorCode,
};
use uuid::Uuid;

use super::{
    claims, cluster::Cluster, events::Client, names::claims_name, outputs::Acknowledgement,
};
use static_bus_remote::{lock::lock, transport::Subscription};

/// The delay between attempts to read the outcome of a transaction.
const OUTCOME_RETRY_DELAY: Duration = Duration::from_millis(200);
/// The delay before a record is passed to the client again whose queue was full.
const QUEUE_FULL_DELAY: Duration = Duration::from_millis(2);

/// The transactional producer of a member.
pub(super) struct Committer {
    cluster: Arc<Cluster>,
    /// The transactional id, unique to this member.
    id: String,
    /// The topic of the claims of the group.
    claims: String,
    /// The time for which confirmed keys are remembered.
    deduplication: Duration,
    /// `None` before the first transaction, and after one that failed.
    producer: Mutex<Option<Transactional>>,
}

type Transactional = ThreadedProducer<DefaultProducerContext>;

/// The failure of a transaction.
enum Failure {
    /// Nothing is committed.
    Aborted(KafkaError),
    /// Either all or nothing is committed.
    Unknown(KafkaError),
}

impl Committer {
    pub fn new(cluster: &Arc<Cluster>, subscription: &Subscription) -> Self {
        let Subscription { topic, group, .. } = subscription;
        let namespace = cluster.settings().namespace();
        Committer {
            cluster: cluster.clone(),
            id: format!("{namespace}.{}", Uuid::now_v7()),
            claims: claims_name(namespace, topic, group),
            deduplication: subscription.deduplication.unwrap_or_default(),
            producer: Mutex::default(),
        }
    }

    /// Commits offsets with the output and the keys of the acknowledged records. Blocks until the outcome is known,
    /// or `is_over` returns `true`.
    pub fn commit(
        &self,
        client: &Client,
        offsets: &TopicPartitionList,
        group: Option<&ConsumerGroupMetadata>,
        acknowledgements: &[Acknowledgement],
        is_over: impl Fn() -> bool,
    ) -> KafkaResult<()> {
        let mut place = lock(&self.producer);
        let producer = match place.take() {
            Some(producer) => producer,
            None => self.start()?,
        };
        match self.transact(&producer, offsets, group, acknowledgements) {
            Ok(()) => {
                *place = Some(producer);
                Ok(())
            }
            Err(Failure::Aborted(error)) => {
                // If this fails, the next producer with this id aborts the transaction.
                if producer.abort_transaction(self.deadline()).is_ok() {
                    *place = Some(producer);
                }
                Err(error)
            }
            Err(Failure::Unknown(error)) => {
                drop(producer);
                while !is_over() {
                    if let Ok((producer, is_committed)) = self.outcome(client, offsets) {
                        *place = Some(producer);
                        return match is_committed {
                            true => Ok(()),
                            false => Err(error),
                        };
                    }
                    thread::sleep(OUTCOME_RETRY_DELAY);
                }
                Err(error)
            }
        }
    }

    /// Runs one transaction.
    fn transact(
        &self,
        producer: &Transactional,
        offsets: &TopicPartitionList,
        group: Option<&ConsumerGroupMetadata>,
        acknowledgements: &[Acknowledgement],
    ) -> Result<(), Failure> {
        let deadline = self.deadline();
        let group = group.ok_or(KafkaError::Canceled);
        let prepared = producer.begin_transaction().and_then(|()| {
            for output in acknowledgements.iter().flat_map(|one| &one.outputs) {
                self.send(producer, output.record())?;
            }
            let keys: Vec<_> = acknowledgements
                .iter()
                .filter_map(|one| one.key.clone())
                .collect();
            for entry in claims::confirmations(self.deduplication, &keys) {
                let entry = entry.write();
                let record = BaseRecord::<str, _>::to(&self.claims)
                    .payload(&entry[..])
                    .partition(0);
                self.send(producer, record)?;
            }
            producer.flush(deadline)?;
            producer.send_offsets_to_transaction(offsets, group?, deadline)
        });
        prepared.map_err(Failure::Aborted)?;
        let end = Instant::now() + deadline;
        loop {
            let Err(error) = producer.commit_transaction(deadline) else {
                return Ok(());
            };
            match &error {
                KafkaError::Transaction(e) if e.txn_requires_abort() => {
                    return Err(Failure::Aborted(error));
                }
                KafkaError::Transaction(e) if e.is_retriable() && Instant::now() < end => {}
                _ => return Err(Failure::Unknown(error)),
            }
        }
    }

    /// Passes a record to the client, and waits while its queue is full.
    fn send(
        &self,
        producer: &Transactional,
        mut record: BaseRecord<'_, str, [u8]>,
    ) -> KafkaResult<()> {
        let end = Instant::now() + self.deadline();
        while let Err((error, back)) = producer.send(record) {
            let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !is_full || Instant::now() >= end {
                return Err(error);
            }
            record = back;
            thread::sleep(QUEUE_FULL_DELAY);
        }
        Ok(())
    }

    /// Starts a producer. This aborts an open transaction of an earlier producer with the same id.
    fn start(&self) -> KafkaResult<Transactional> {
        let producer: Transactional = self
            .cluster
            .settings()
            .transactional_producer(&self.id)
            .create()?;
        producer.init_transactions(self.deadline())?;
        Ok(producer)
    }

    /// Starts a new producer, and reads whether the last transaction was committed: its offsets or their metadata
    /// differ from those before it.
    fn outcome(
        &self,
        client: &Client,
        offsets: &TopicPartitionList,
    ) -> KafkaResult<(Transactional, bool)> {
        let producer = self.start()?;
        let mut places = TopicPartitionList::new();
        for place in offsets.elements() {
            places.add_partition(place.topic(), place.partition());
        }
        let committed = client.committed_offsets(places, self.deadline())?;
        for place in committed.elements() {
            place.error()?;
        }
        let is_committed = offsets.elements().iter().all(|wanted| {
            let found = committed.find_partition(wanted.topic(), wanted.partition());
            found.is_some_and(|found| {
                found.offset() == wanted.offset() && found.metadata() == wanted.metadata()
            })
        });
        Ok((producer, is_committed))
    }

    fn deadline(&self) -> Duration {
        self.cluster.settings().deadline()
    }
}
