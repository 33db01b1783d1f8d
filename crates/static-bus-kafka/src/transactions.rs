//! Commits as transactions: offsets together with the output of handlers and the confirmed keys.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    TopicPartitionList,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, KafkaResult},
    producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer},
    types::RDKafkaErrorCode,
};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{
    claims::{self, Log},
    cluster::Cluster,
    errors,
    outputs::{Acknowledgement, Output},
    receipt::KafkaReceipt,
    writer::BATCH_BYTES,
};
use static_bus_remote::{
    lock::lock,
    transport::{Subscription, Topic},
};

/// The delay before a record is passed to the client again whose queue was full.
const QUEUE_FULL_DELAY: Duration = Duration::from_millis(2);
/// The delay between two looks whether the records of a transaction are delivered. `flush` of the client takes 100 ms at
/// least.
const DELIVERY_DELAY: Duration = Duration::from_millis(1);
/// The largest number of suspect records. Those that other members have settled stay among them.
const MAX_SUSPECTS: usize = 100_000;
/// The time for which output for a topic is tried out after the cluster has refused such output.
const SUSPICION: Duration = Duration::from_secs(60);

/// The transactional producer of a member.
pub(super) struct Committer {
    cluster: Arc<Cluster>,
    /// The transactional id, unique to this member.
    id: String,
    /// The claims of the group.
    claims: Arc<Log>,
    /// The time for which confirmed keys are remembered.
    deduplication: Duration,
    runtime: Handle,
    producer: Mutex<Place>,
    suspects: Mutex<Suspects>,
}

/// What was part of a transaction that the cluster has refused.
#[derive(Default)]
struct Suspects {
    /// The topics of its output, and the time of the last refusal.
    topics: HashMap<Topic, Instant>,
    /// The partitions and offsets of the records whose handlers made the output, until they are settled: a handler may run
    /// for long, and its next attempt may be far away.
    records: HashSet<(i32, i64)>,
}

/// The place of the producer.
struct Place {
    /// `None` before the first transaction, and after one that failed.
    producer: Option<Transactional>,
    /// The largest size of the producer's batches, which all topics so far accept.
    batch_bytes: usize,
}

type Transactional = ThreadedProducer<DefaultProducerContext>;

/// The failure of a commit.
pub(super) struct Failure {
    pub error: KafkaError,
    /// `true` if the member is to give its records up: the commit may have succeeded, or the cluster refuses output.
    pub ends_leases: bool,
}

impl Failure {
    /// The failure of a commit that had no effect, or that may be repeated.
    pub fn repeatable(error: KafkaError) -> Self {
        Failure {
            error,
            ends_leases: false,
        }
    }
}

impl Committer {
    pub fn new(cluster: &Arc<Cluster>, subscription: &Subscription) -> Self {
        let namespace = cluster.settings().namespace();
        Committer {
            cluster: cluster.clone(),
            id: format!("{namespace}.{}", Uuid::now_v7()),
            claims: Log::new(cluster, subscription),
            deduplication: subscription.deduplication.unwrap_or_default(),
            runtime: Handle::current(),
            producer: Mutex::new(Place {
                producer: None,
                batch_bytes: BATCH_BYTES,
            }),
            suspects: Mutex::default(),
        }
    }

    /// Commits offsets with the output and the keys of the acknowledged records.
    pub fn commit(
        &self,
        offsets: &TopicPartitionList,
        group: Option<&ConsumerGroupMetadata>,
        acknowledgements: &[Acknowledgement],
    ) -> Result<(), Failure> {
        let group = group.ok_or_else(|| Failure::repeatable(KafkaError::Canceled))?;
        let mut place = lock(&self.producer);
        let producer = self.producer(&mut place, acknowledgements);
        let producer = producer.map_err(Failure::repeatable)?;
        let prepared = self.prepare(&producer, offsets, group, acknowledgements);
        let is_prepared = prepared.is_ok();
        let committed = prepared.and_then(|()| self.end(&producer));
        let Err(error) = committed else {
            place.producer = Some(producer);
            lock(&self.suspects).settled(acknowledgements);
            return Ok(());
        };
        let ends_leases = self.note_failure(&mut place, &error, acknowledgements);
        // The cluster refuses this if the transaction is committed.
        let is_aborted = producer.abort_transaction(self.deadline()).is_ok();
        // The next producer with this id ends the transaction, as the cluster has decided. This one is not used again
        // in any case: it may have lost the leader of a partition for good.
        drop(producer);
        if is_aborted || !is_prepared {
            return Err(Failure { error, ends_leases });
        }
        place.producer = self.start(place.batch_bytes).ok();
        Err(Failure {
            error,
            ends_leases: true,
        })
    }

    /// Makes a commit as a transaction that is aborted: has the cluster anything against its output?
    pub fn try_out(
        &self,
        offsets: &TopicPartitionList,
        group: Option<&ConsumerGroupMetadata>,
        acknowledgements: &[Acknowledgement],
    ) -> KafkaResult<()> {
        let group = group.ok_or(KafkaError::Canceled)?;
        let mut place = lock(&self.producer);
        loop {
            let producer = self.producer(&mut place, acknowledgements)?;
            let prepared = self.prepare(&producer, offsets, group, acknowledgements);
            let aborted = producer.abort_transaction(self.deadline());
            let Err(error) = prepared else {
                place.producer = aborted.ok().map(|()| producer);
                return Ok(());
            };
            let is_refused = self.note_failure(&mut place, &error, acknowledgements);
            if is_refused {
                place.producer = aborted.ok().map(|()| producer);
            }
            if is_refused || !errors::is_too_large(&error) {
                return Err(error);
            }
        }
    }

    /// Returns `true` if output of this record was refused, or one of these is for a topic whose output was a while ago.
    pub fn suspects(&self, receipt: &KafkaReceipt, outputs: &[Output]) -> bool {
        lock(&self.suspects).include(receipt, outputs)
    }

    /// The producer, whose batches the topics of these accept.
    fn producer(
        &self,
        place: &mut Place,
        acknowledgements: &[Acknowledgement],
    ) -> KafkaResult<Transactional> {
        let limits = outputs(acknowledgements).map(|output| output.max_batch_bytes);
        if let Some(bytes) = limits.min()
            && bytes < place.batch_bytes
        {
            place.batch_bytes = bytes;
            place.producer = None;
        }
        match place.producer.take() {
            Some(producer) => Ok(producer),
            None => self.start(place.batch_bytes),
        }
    }

    /// Notes what the failure of a transaction says of its topics and of the size of batches. Returns `true` if the cluster
    /// refuses output for good: a repetition of the transaction fails as well.
    fn note_failure(
        &self,
        place: &mut Place,
        error: &KafkaError,
        acknowledgements: &[Acknowledgement],
    ) -> bool {
        self.look_up_topics(acknowledgements);
        let largest = outputs(acknowledgements).map(|output| output.size).max();
        let is_too_large = errors::is_too_large(error);
        if is_too_large && place.batch_bytes > largest.unwrap_or(1) {
            // The limit of a topic was lowered. The next producer has smaller batches.
            place.batch_bytes /= 2;
            return false;
        }
        if largest.is_none() || !is_too_large && !errors::is_refused_record(error) {
            return false;
        }
        lock(&self.suspects).refused(acknowledgements);
        true
    }

    /// Looks up the topics of a failed commit in the background: one of them may have been deleted, or its limit lowered.
    fn look_up_topics(&self, acknowledgements: &[Acknowledgement]) {
        self.claims.restore();
        let topics = outputs(acknowledgements).map(|output| output.topic.clone());
        let topics: HashSet<Topic> = topics.collect();
        let cluster = self.cluster.clone();
        self.runtime.spawn(async move {
            for topic in topics {
                cluster.topics().forget(&topic);
                // A failure is met again by the next commit.
                _ = cluster.topics().get(&topic).await;
            }
        });
    }

    /// Begins a transaction, and adds all of its records and offsets.
    fn prepare(
        &self,
        producer: &Transactional,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        acknowledgements: &[Acknowledgement],
    ) -> KafkaResult<()> {
        let deadline = self.deadline();
        producer.begin_transaction()?;
        let sent = self.send_all(producer, acknowledgements);
        if sent.is_ok() {
            self.deliver(producer)?;
        }
        // This returns the error of a record that was refused, because of which no more could be sent.
        let added = producer.send_offsets_to_transaction(offsets, group, deadline);
        added.and(sent)
    }

    /// Passes all records of a transaction to the client.
    fn send_all(
        &self,
        producer: &Transactional,
        acknowledgements: &[Acknowledgement],
    ) -> KafkaResult<()> {
        for output in outputs(acknowledgements) {
            self.send(producer, output.record())?;
        }
        let keys: Vec<_> = acknowledgements
            .iter()
            .filter_map(|one| one.key.clone())
            .collect();
        for entry in claims::confirmations(self.deduplication, &keys) {
            let entry = entry.write();
            let record = BaseRecord::<[u8], _>::to(self.claims.name())
                .payload(&entry[..])
                .partition(0);
            self.send(producer, record)?;
        }
        Ok(())
    }

    /// Commits a transaction.
    fn end(&self, producer: &Transactional) -> KafkaResult<()> {
        let deadline = self.deadline();
        let end = Instant::now() + deadline;
        loop {
            match producer.commit_transaction(deadline) {
                Err(KafkaError::Transaction(e)) if e.is_retriable() && Instant::now() < end => {}
                result => return result,
            }
        }
    }

    /// Passes a record to the client, and waits while its queue is full.
    fn send(
        &self,
        producer: &Transactional,
        mut record: BaseRecord<'_, [u8], [u8]>,
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

    /// Waits until the result of each record is known.
    fn deliver(&self, producer: &Transactional) -> KafkaResult<()> {
        let end = Instant::now() + self.deadline();
        while producer.in_flight_count() > 0 {
            if Instant::now() >= end {
                return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
            }
            thread::sleep(DELIVERY_DELAY);
        }
        Ok(())
    }

    /// Starts a producer. This aborts an open transaction of an earlier producer with the same id.
    fn start(&self, batch_bytes: usize) -> KafkaResult<Transactional> {
        let producer: Transactional = self
            .cluster
            .settings()
            .transactional_producer(&self.id, batch_bytes)
            .create()?;
        producer.init_transactions(self.deadline())?;
        Ok(producer)
    }

    fn deadline(&self) -> Duration {
        self.cluster.settings().deadline()
    }
}

impl Suspects {
    fn refused(&mut self, acknowledgements: &[Acknowledgement]) {
        let now = Instant::now();
        let topics = outputs(acknowledgements).map(|output| output.topic.clone());
        self.topics.extend(topics.map(|topic| (topic, now)));
        if self.records.len() > MAX_SUSPECTS {
            self.records.clear();
        }
        let makers = acknowledgements
            .iter()
            .filter(|one| !one.outputs.is_empty());
        self.records
            .extend(makers.map(|one| place_of(&one.receipt)));
    }

    fn include(&self, receipt: &KafkaReceipt, outputs: &[Output]) -> bool {
        let is_suspect = |output: &Output| {
            let refused = self.topics.get(&output.topic);
            refused.is_some_and(|time| time.elapsed() < SUSPICION)
        };
        self.records.contains(&place_of(receipt)) || outputs.iter().any(is_suspect)
    }

    fn settled(&mut self, acknowledgements: &[Acknowledgement]) {
        if !self.records.is_empty() {
            for one in acknowledgements {
                self.records.remove(&place_of(&one.receipt));
            }
        }
    }
}

fn place_of(receipt: &KafkaReceipt) -> (i32, i64) {
    (receipt.partition(), receipt.offset())
}

/// The output of all handlers.
fn outputs(acknowledgements: &[Acknowledgement]) -> impl Iterator<Item = &Output> {
    acknowledgements.iter().flat_map(|one| &one.outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use static_bus_remote::transport::Kind;

    #[test]
    fn a_record_whose_output_was_refused_is_suspect_until_it_is_settled() {
        let [refused, other] = ["billing.receipt", "billing.paid"].map(|name| Topic {
            kind: Kind::Command,
            name: name.into(),
        });
        let output = |topic: &Topic| [Output::empty(topic.clone())];
        let acknowledgement = |receipt, outputs| Acknowledgement {
            receipt,
            outputs,
            key: None,
        };
        let [maker, silent] = [7, 8].map(|offset| KafkaReceipt::new(1, 1, offset));
        let mut suspects = Suspects::default();
        suspects.refused(&[
            acknowledgement(maker, output(&refused).into()),
            acknowledgement(silent, Vec::new()),
        ]);
        assert!(suspects.include(&silent, &output(&refused)));
        assert!(!suspects.include(&silent, &output(&other)));
        // A while later, when the record was delivered again.
        suspects.topics.clear();
        let again = KafkaReceipt::new(1, 2, 7);
        assert!(!suspects.include(&silent, &output(&refused)));
        assert!(suspects.include(&again, &output(&refused)));
        suspects.settled(&[acknowledgement(again, Vec::new())]);
        assert!(!suspects.include(&again, &output(&refused)));
    }
}
