//! Records, and access to topics without the engine.

use std::{
    collections::BTreeSet,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::OwnedMessage,
    types::RDKafkaErrorCode,
};
use static_bus_kafka::{KafkaConsumer, KafkaTransport, KafkaTransportBuilder};
use static_bus_remote::transport::{Consumer as _, Kind, Lease, Record, Topic, TransportError};
use test_brokers::kafka::Kafka;

/// A time that no healthy run comes near.
pub const LONG: Duration = Duration::from_secs(180);

/// A connection whose deadline no call of a healthy cluster comes near, however busy the machine is.
pub fn kafka_at(servers: impl Into<String>) -> KafkaTransportBuilder {
    KafkaTransport::builder(servers).deadline(Duration::from_secs(60))
}

/// Repeats a call until it succeeds: its deadline is short, or its first answers are refusals.
pub async fn succeeds<T>(mut call: impl AsyncFnMut() -> Result<T, TransportError>) -> T {
    let end = Instant::now() + LONG;
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    }
}

/// Connects with a deadline that calls of a busy cluster may pass.
pub async fn impatient(servers: &str, seconds: u64) -> KafkaTransport {
    let deadline = Duration::from_secs(seconds);
    succeeds(async || kafka_at(servers).deadline(deadline).connect().await).await
}

pub fn command(name: &str) -> Topic {
    Topic {
        kind: Kind::Command,
        name: name.to_owned().into(),
    }
}

pub fn record(body: impl Into<String>, key: Option<&str>) -> Record {
    Record {
        body: body.into().into(),
        key: key.map(Arc::from),
        ..Record::default()
    }
}

/// The text of the refusal of a connection. Checks that the error and its sources contain no secret.
pub async fn refusal(builder: KafkaTransportBuilder, secret: &str) -> String {
    assert!(!format!("{builder:?}").contains(secret), "{builder:?}");
    let error: TransportError = builder.connect().await.expect_err("a refusal");
    let mut texts = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(e) = cause {
        texts += &format!(" {e} {e:?}");
        cause = e.source();
    }
    assert!(!texts.contains(secret), "{texts}");
    error.to_string()
}

/// A client of the common server for administrative requests.
pub fn admin() -> AdminClient<DefaultClientContext> {
    admin_at(Kafka::common().servers())
}

fn admin_at(servers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", servers)
        .create()
        .unwrap()
}

/// Creates a topic that accepts records of that many bytes.
pub async fn create(name: &str, limit: usize) {
    let settings = [("max.message.bytes", &*limit.to_string())];
    create_at(Kafka::common().servers(), name, 2, &settings).await;
}

/// Creates a topic on a server.
pub async fn create_at(servers: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let mut new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (setting, value) in settings {
        new = new.set(setting, value);
    }
    let admin = admin_at(servers);
    let created = admin.create_topics([&new], &AdminOptions::new()).await;
    created.unwrap().remove(0).unwrap();
}

/// Deletes a topic, and waits until the server has: it accepts records for a moment, which are deleted, too.
pub async fn delete(topic: &str) {
    let admin = admin();
    let deleted = admin.delete_topics(&[topic], &AdminOptions::new()).await;
    deleted.unwrap().remove(0).unwrap();
    let topic = topic.to_owned();
    let wait = move || {
        let end = Instant::now() + LONG;
        let exists = || {
            let found = admin.inner().fetch_metadata(Some(&topic), LONG).unwrap();
            !found.topics()[0].partitions().is_empty()
        };
        while exists() {
            assert!(Instant::now() < end, "{topic} exists");
        }
    };
    tokio::task::spawn_blocking(wait).await.unwrap();
}

/// All messages of a Kafka topic, in the order of each partition.
pub async fn contents(servers: &str, topic: &str) -> Vec<OwnedMessage> {
    let (servers, topic) = (servers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || read(&servers, &topic))
        .await
        .unwrap()
}

/// The bodies of messages.
pub fn bodies(messages: &[OwnedMessage]) -> Vec<&str> {
    let body = |message| str::from_utf8(OwnedMessage::payload(message).unwrap_or_default());
    messages.iter().map(|m| body(m).unwrap()).collect()
}

fn read(servers: &str, topic: &str) -> Vec<OwnedMessage> {
    let limit = Duration::from_secs(120);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "tests")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), limit).unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        let place = (topic, partition.id(), Offset::Beginning);
        partitions
            .add_partition_offset(place.0, place.1, place.2)
            .unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let mut messages = Vec::new();
    let mut ended = 0;
    while ended < partitions.count() {
        match consumer.poll(limit) {
            Some(Ok(message)) => messages.push(message.detach()),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            // A server that is down: the client uses another, or connects again.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => {}
            Some(Err(e)) => panic!("{topic}: {e}"),
            None => panic!("{topic} cannot be read"),
        }
    }
    messages
}

/// The number that a record has as its body.
pub fn number(body: &[u8]) -> u32 {
    str::from_utf8(body).unwrap().parse().unwrap()
}

/// Receives and acknowledges records until this count of different numbers has come.
pub async fn take(member: &KafkaConsumer, count: usize) -> BTreeSet<u32> {
    let (mut taken, end) = (BTreeSet::new(), Instant::now() + LONG);
    while taken.len() < count {
        let some = member.receive(100, Duration::from_secs(1)).await.unwrap();
        taken.extend(some.iter().map(|one| number(&one.record.body)));
        let leases = some.iter().map(|one| Lease {
            receipt: one.receipt,
            claim: None,
        });
        let leases: Vec<_> = leases.collect();
        member.acknowledge(&leases).await.unwrap();
        assert!(
            Instant::now() < end,
            "{} of {count}: {taken:?}",
            taken.len()
        );
    }
    taken
}
