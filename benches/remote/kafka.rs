//! Bare calls of the `rdkafka` crate.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    consumer::{CommitMode, Consumer as _, StreamConsumer},
    producer::{FutureProducer, FutureRecord},
};
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

async fn send_batch(producer: &FutureProducer, topic: &str, count: usize) {
    let body = Put::bytes();
    let sends = (0..count).map(|_| {
        let record = FutureRecord::<(), _>::to(topic).payload(&body);
        let sent = producer.send_result(record).map_err(|(e, _)| e);
        sent.expect("there is room")
    });
    for sent in sends.collect::<Vec<_>>() {
        let sent = sent.await.expect("it is told");
        sent.map_err(|(e, _)| e).expect("it is accepted");
    }
}

/// Batches of 100, each confirmed before the next.
pub async fn produce(servers: &str, count: usize) -> Duration {
    let topic = create(servers, PARTITIONS).await;
    let producer = producer(servers);
    send_batch(&producer, &topic, 1).await;
    let started = Instant::now();
    for _ in 0..count / 100 {
        send_batch(&producer, &topic, 100).await;
    }
    started.elapsed()
}

/// The same, read by a member of a group. It commits every 100 ms, because a commit takes some milliseconds.
pub async fn commands(servers: &str, count: usize) -> Duration {
    let topic = create(servers, PARTITIONS).await;
    let consumer = consumer(servers, &topic);
    consumer.subscribe(&[&topic]).expect("it is a topic");
    let producer = producer(servers);
    send_batch(&producer, &topic, 1).await;
    handle_next(&consumer).await;
    let started = Instant::now();
    let consuming = tokio::spawn(async move {
        let mut committed_at = Instant::now();
        for _ in 0..count {
            handle_next(&consumer).await;
            if committed_at.elapsed() >= COMMIT {
                committed_at = Instant::now();
                let committed = consumer.commit_consumer_state(CommitMode::Async);
                committed.expect("it is accepted");
            }
        }
        tokio::task::spawn_blocking(move || {
            let committed = consumer.commit_consumer_state(CommitMode::Sync);
            // An error if the last commit has arrived meanwhile, and nothing is left to commit.
            _ = committed;
            // The consumer leaves its group.
            drop(consumer);
        })
        .await
    });
    for _ in 0..count / 100 {
        send_batch(&producer, &topic, 100).await;
    }
    consuming
        .await
        .expect("it does not panic")
        .expect("it does not panic");
    started.elapsed()
}

async fn handle_next(consumer: &StreamConsumer) {
    let record = consumer.recv().await.expect("a record");
    std::hint::black_box(record.payload());
    let stored = consumer.store_offset_from_message(&record);
    stored.expect("it is ours");
}

/// Requests and their answers in sequence, each in a topic of one partition.
pub async fn round_trips(servers: &str, count: usize) -> Vec<Duration> {
    let (there, back) = (create(servers, 1).await, create(servers, 1).await);
    let (requests, answers) = (consumer(servers, &there), consumer(servers, &back));
    for (consumer, topic) in [(&requests, &there), (&answers, &back)] {
        let mut assignment = TopicPartitionList::new();
        let added = assignment.add_partition_offset(topic, 0, Offset::Beginning);
        added.expect("it is an offset");
        consumer.assign(&assignment).expect("it is a partition");
    }
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
