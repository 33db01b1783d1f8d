//! A member's commits, each a transaction of the member's own producer.

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

use crate::{
    assignment::{Client, Settled},
    claims,
    settings::Settings,
    topics::claims_name,
};
use static_bus_remote::{lock::lock, transport::Subscription};

/// How long to wait between two looks at what became of a transaction.
const PAUSE: Duration = Duration::from_millis(200);
/// How long to wait when the client has no room for another record.
const FULL: Duration = Duration::from_millis(2);

pub struct Committer {
    settings: Arc<Settings>,
    /// The transactions' id, this member's alone.
    id: String,
    claims: String,
    kept: Duration,
    /// None before the first transaction, and after one that went wrong.
    producer: Mutex<Option<Transactional>>,
}

type Transactional = ThreadedProducer<DefaultProducerContext>;

enum Failure {
    /// Nothing is committed.
    Aborted(KafkaError),
    /// Everything is committed, or nothing.
    Unknown(KafkaError),
}

impl Committer {
    pub fn new(settings: &Arc<Settings>, subscription: &Subscription) -> Self {
        let Subscription { topic, group, .. } = subscription;
        Committer {
            settings: settings.clone(),
            id: format!("{}.{}", settings.namespace, Uuid::now_v7()),
            claims: claims_name(&settings.namespace, topic, group),
            kept: subscription.deduplication.unwrap_or_default(),
            producer: Mutex::default(),
        }
    }

    /// Commits offsets, and with them what goes with the records that are done. Waits for the cluster, and
    /// until it is known what became of it, or `is_over` says that nobody wants to know any more.
    pub fn commit(
        &self,
        client: &Client,
        offsets: &TopicPartitionList,
        group: Option<&ConsumerGroupMetadata>,
        mailbox: &[Settled],
        is_over: impl Fn() -> bool,
    ) -> KafkaResult<()> {
        let mut place = lock(&self.producer);
        let producer = match place.take() {
            Some(producer) => producer,
            None => self.start()?,
        };
        match self.transact(&producer, offsets, group, mailbox) {
            Ok(()) => {
                *place = Some(producer);
                Ok(())
            }
            Err(Failure::Aborted(error)) => {
                // If this fails, the next producer with this id ends it.
                if producer.abort_transaction(self.settings.deadline).is_ok() {
                    *place = Some(producer);
                }
                Err(error)
            }
            Err(Failure::Unknown(error)) => {
                drop(producer);
                while !is_over() {
                    if let Ok((producer, is_committed)) = self.find_out(client, offsets) {
                        *place = Some(producer);
                        return match is_committed {
                            true => Ok(()),
                            false => Err(error),
                        };
                    }
                    thread::sleep(PAUSE);
                }
                Err(error)
            }
        }
    }

    fn transact(
        &self,
        producer: &Transactional,
        offsets: &TopicPartitionList,
        group: Option<&ConsumerGroupMetadata>,
        mailbox: &[Settled],
    ) -> Result<(), Failure> {
        let deadline = self.settings.deadline;
        let group = group.ok_or(KafkaError::Canceled);
        let prepared = producer.begin_transaction().and_then(|()| {
            for output in mailbox.iter().flat_map(|one| &one.outputs) {
                let mut record = BaseRecord::to(&output.topic)
                    .headers(output.headers.clone())
                    .payload(&output.body[..]);
                if let Some(key) = &output.key {
                    record = record.key(&**key);
                }
                self.send(producer, record)?;
            }
            let keys: Vec<_> = mailbox.iter().filter_map(|one| one.key.clone()).collect();
            for entry in claims::confirmations(self.kept, &keys) {
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

    fn send(
        &self,
        producer: &Transactional,
        mut record: BaseRecord<'_, str, [u8]>,
    ) -> KafkaResult<()> {
        let end = Instant::now() + self.settings.deadline;
        while let Err((error, back)) = producer.send(record) {
            let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !is_full || Instant::now() >= end {
                return Err(error);
            }
            record = back;
            thread::sleep(FULL);
        }
        Ok(())
    }

    /// A producer; what an earlier one with this id has left open is ended by that.
    fn start(&self) -> KafkaResult<Transactional> {
        let producer: Transactional = self.settings.transactions(&self.id).create()?;
        producer.init_transactions(self.settings.deadline)?;
        Ok(producer)
    }

    /// Whether a transaction was committed: then so are its offsets, and they differ from those before.
    fn find_out(
        &self,
        client: &Client,
        offsets: &TopicPartitionList,
    ) -> KafkaResult<(Transactional, bool)> {
        let producer = self.start()?;
        let mut places = TopicPartitionList::new();
        for place in offsets.elements() {
            places.add_partition(place.topic(), place.partition());
        }
        let committed = client.committed_offsets(places, self.settings.deadline)?;
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
}
