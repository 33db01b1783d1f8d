//! Bare calls of the `rdkafka` crate.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    consumer::{CommitMode, Consumer as _, StreamConsumer},
    message::{BorrowedMessage, Header, Headers as _, OwnedHeaders},
    producer::{DeliveryFuture, FutureProducer, FutureRecord},
};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::messages::Put;

/// The number of partitions, equal to that of static-bus's topics.
const PARTITIONS: i32 = 12;

/// The interval of commits.
const COMMIT: Duration = Duration::from_millis(100);

fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    config
}

/// A producer with the same durability as static-bus's.
fn producer(servers: &str) -> FutureProducer {
    let mut config = config(servers);
    config.set("enable.idempotence", "true");
    config.set("linger.ms", "0");
    config.set("sticky.partitioning.linger.ms", "10");
    config.create().expect("the settings are right")
}

fn consumer(servers: &str, group: &str) -> StreamConsumer {
    let mut config = config(servers);
    config.set("group.id", group);
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("auto.offset.reset", "earliest");
    config.set("fetch.wait.max.ms", "10");
    config.create().expect("the settings are right")
}

async fn create(servers: &str, partitions: i32) -> String {
    let name = format!("bare-{}", Uuid::now_v7());
    let admin: AdminClient<_> = config(servers).create().expect("the settings are right");
    let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    let created = admin.create_topics([&topic], &AdminOptions::new()).await;
    created.expect("the server answers")[0]
        .as_ref()
        .expect("the topic is new");
    name
}

/// The work of the bare calls beside moving bodies.
#[derive(Clone, Copy, PartialEq)]
pub enum Work {
    /// None.
    Bodies,
    /// The records have attributes, which are written, sent and read.
    Attributes,
    /// The same, and the ids of the records are remembered to recognise duplicates.
    Ids,
}

/// The attribute by which duplicates are recognised.
const ID: &str = "ce_id";

/// Attributes with the names and sizes of those that static-bus sends, and an id of their own.
fn attributes() -> OwnedHeaders {
    let id = Uuid::now_v7().hyphenated().to_string();
    let attributes = [
        ("ce_specversion", "1.0"),
        (ID, &id),
        ("ce_source", "remote-0123456789abcdef"),
        ("ce_type", "bench.put"),
        ("ce_time", "2026-11-30T12:00:00.123456789Z"),
        ("content-type", "application/json"),
    ];
    let none = OwnedHeaders::new_with_capacity(attributes.len());
    let header = |(key, value)| Header {
        key,
        value: Some(value),
    };
    attributes
        .into_iter()
        .fold(none, |headers, one| headers.insert(header(one)))
}

async fn send_batch(producer: &FutureProducer, topic: &str, count: usize, work: Work) {
    let body = Put::bytes();
    let attributes = |_| (work != Work::Bodies).then(attributes);
    // Before the first record is sent: records that follow each other quickly share a request.
    let attributes: Vec<_> = (0..count).map(attributes).collect();
    let sends = attributes.into_iter().map(|attributes| {
        let mut record = FutureRecord::<(), _>::to(topic).payload(&body);
        record.headers = attributes;
        let sent = producer.send_result(record).map_err(|(e, _)| e);
        sent.expect("there is room")
    });
    for sent in sends.collect::<Vec<_>>() {
        confirmed(sent).await;
    }
}

async fn confirmed(sent: DeliveryFuture) {
    let sent = sent.await.expect("it is told");
    sent.map_err(|(e, _)| e).expect("it is accepted");
}

/// Batches of 100, each confirmed before the next.
pub async fn produce(servers: &str, count: usize, work: Work) -> Duration {
    let topic = create(servers, PARTITIONS).await;
    let producer = producer(servers);
    send_batch(&producer, &topic, 1, work).await;
    let started = Instant::now();
    for _ in 0..count / 100 {
        send_batch(&producer, &topic, 100, work).await;
    }
    started.elapsed()
}

/// The same, read by a member of a group. It commits every 100 ms, because a commit takes some milliseconds. Returns the
/// time until the last record is handled: a member takes a while to leave its group, however many it has handled.
pub async fn commands(servers: &str, count: usize, work: Work) -> Duration {
    let topic = create(servers, PARTITIONS).await;
    let producer = producer(servers);
    let log = match work {
        Work::Ids => Some(Log::new(servers, &producer).await),
        _ => None,
    };
    let mut member = Member {
        consumer: consumer(servers, &topic),
        work,
        committed: Instant::now(),
        log,
    };
    let subscribed = member.consumer.subscribe(&[&topic]);
    subscribed.expect("it is a topic");
    send_batch(&producer, &topic, 1, work).await;
    member.handle(1).await;
    let started = Instant::now();
    let consuming = tokio::spawn(async move {
        member.handle(count).await;
        let handled = started.elapsed();
        let ended = tokio::task::spawn_blocking(move || {
            let committed = member.consumer.commit_consumer_state(CommitMode::Sync);
            // An error if the last commit has arrived meanwhile, and nothing is left to commit.
            _ = committed;
            // The consumer leaves its group.
            drop(member);
        });
        ended.await.expect("it does not panic");
        handled
    });
    for _ in 0..count / 100 {
        send_batch(&producer, &topic, 100, work).await;
    }
    consuming.await.expect("it does not panic")
}

/// A member of a group.
struct Member {
    consumer: StreamConsumer,
    work: Work,
    committed: Instant,
    /// With [`Work::Ids`].
    log: Option<Log>,
}

/// The ids of the records that were handled, in a topic of one partition that all members of a group would read.
struct Log {
    topic: String,
    producer: FutureProducer,
    reader: StreamConsumer,
    ids: HashSet<Uuid>,
}

/// The largest number of records whose ids are one entry of the log.
const CLAIMED: usize = 512;

impl Log {
    async fn new(servers: &str, producer: &FutureProducer) -> Self {
        let topic = create(servers, 1).await;
        Log {
            reader: reader(servers, &topic),
            topic,
            producer: producer.clone(),
            ids: HashSet::new(),
        }
    }
}

impl Member {
    async fn handle(&mut self, count: usize) {
        if let Some(log) = &mut self.log {
            return handle_new(&self.consumer, log, &mut self.committed, count).await;
        }
        for _ in 0..count {
            let record = self.consumer.recv().await.expect("a record");
            handle(&record, self.work);
            let stored = self.consumer.store_offset_from_message(&record);
            stored.expect("it is ours");
            if self.committed.elapsed() >= COMMIT {
                self.committed = commit(&self.consumer);
            }
        }
    }
}

/// Handles the records whose ids are new. The ids of each batch are appended to the log, and read from it before the
/// batch is handled; the next batches are received meanwhile. A second entry, before each commit, tells that all
/// records before it are handled.
async fn handle_new(
    consumer: &StreamConsumer,
    log: &mut Log,
    committed: &mut Instant,
    count: usize,
) {
    let (claim, mut claimed) = mpsc::channel(4);
    let (topic, producer) = (&log.topic, &log.producer);
    let append = |entry: &str| {
        let record = FutureRecord::<(), _>::to(topic).payload(entry);
        let sent = producer.send_result(record).map_err(|(e, _)| e);
        sent.expect("there is room")
    };
    let claiming = async {
        let mut left = count;
        while left > 0 {
            let mut batch = vec![consumer.recv().await.expect("a record")];
            while batch.len() < left.min(CLAIMED) {
                tokio::select! {
                    biased;
                    record = consumer.recv() => batch.push(record.expect("a record")),
                    () = std::future::ready(()) => break,
                }
            }
            left -= batch.len();
            let ids: Vec<_> = batch.iter().map(id).collect();
            let sent = append(&ids.join("\n"));
            claim.send((batch, sent)).await.expect("it is awaited");
        }
    };
    let handling = async {
        let mut left = count;
        while left > 0 {
            let (batch, sent) = claimed.recv().await.expect("a batch");
            confirmed(sent).await;
            let entry = loop {
                let entry = log.reader.recv().await.expect("an entry");
                // Not one that tells of handled records.
                if entry.payload_len() > 0 {
                    break entry;
                }
            };
            let ids = entry.payload_view::<str>().expect("ids").expect("text");
            for (record, id) in batch.iter().zip(ids.split('\n')) {
                if log.ids.insert(id.parse().expect("an id")) {
                    handle(record, Work::Ids);
                }
                let stored = consumer.store_offset_from_message(record);
                stored.expect("it is ours");
            }
            left -= batch.len();
            if committed.elapsed() >= COMMIT {
                confirmed(append("")).await;
                *committed = commit(consumer);
            }
        }
    };
    tokio::join!(claiming, handling);
}

fn commit(consumer: &StreamConsumer) -> Instant {
    let committed = consumer.commit_consumer_state(CommitMode::Async);
    committed.expect("it is accepted");
    Instant::now()
}

fn handle(record: &BorrowedMessage<'_>, work: Work) {
    std::hint::black_box(record.payload());
    if work != Work::Bodies {
        let headers = record.headers().expect("attributes");
        for header in headers.iter() {
            std::hint::black_box(header);
        }
    }
}

fn id<'r>(record: &'r BorrowedMessage<'_>) -> &'r str {
    let headers = record.headers().expect("attributes");
    let id = headers.iter().find(|header| header.key == ID);
    let id = id.and_then(|id| id.value).expect("an id");
    str::from_utf8(id).expect("text")
}

/// A reader of a topic of one partition, from its beginning, without a group.
fn reader(servers: &str, topic: &str) -> StreamConsumer {
    let consumer = consumer(servers, topic);
    let mut assignment = TopicPartitionList::new();
    let added = assignment.add_partition_offset(topic, 0, Offset::Beginning);
    added.expect("it is an offset");
    consumer.assign(&assignment).expect("it is a partition");
    consumer
}

/// Requests and their answers in sequence, each in a topic of one partition.
pub async fn round_trips(servers: &str, count: usize) -> Vec<Duration> {
    let (there, back) = (create(servers, 1).await, create(servers, 1).await);
    let (requests, answers) = (reader(servers, &there), reader(servers, &back));
    let producer = producer(servers);
    let answering = producer.clone();
    let serving = tokio::spawn(async move {
        let mut waiting = Vec::new();
        for _ in 0..count {
            let request = requests.recv().await.expect("a request");
            let body = request.payload().unwrap_or_default().to_vec();
            let record = FutureRecord::<(), _>::to(&back).payload(&body);
            let sent = answering.send_result(record);
            waiting.push(sent.map_err(|(e, _)| e).expect("there is room"));
        }
        for sent in waiting {
            _ = sent.await;
        }
    });
    let body = Put::bytes();
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        let record = FutureRecord::<(), _>::to(&there).payload(&body);
        let sent = producer.send_result(record).map_err(|(e, _)| e);
        let _sent = sent.expect("there is room");
        std::hint::black_box(answers.recv().await.expect("an answer").payload());
        times.push(started.elapsed());
    }
    serving.await.expect("it does not panic");
    times
}
