//! Connections, and access to topics without the engine.

use std::{
    collections::BTreeSet,
    error::Error,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use static_bus_kafka::{KafkaConsumer, KafkaTransport, KafkaTransportBuilder};
use static_bus_remote::transport::{Consumer as _, Lease, TransportError};
use test_brokers::kafka::Kafka;

pub use crate::common::*;

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
