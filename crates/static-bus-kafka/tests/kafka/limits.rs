//! The limits of topics and of links: batches are bounded in bytes, and a call has time for its bytes.

use std::{collections::HashMap, sync::Arc, time::Instant};

use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use static_bus_kafka::KafkaTransportBuilder;
use static_bus_remote::{
    Transport as _,
    transport::{
        Claim, Consumer as _, Lease, Record, Subscription, Topic, TransportError,
        TransportErrorKind,
    },
};
use tokio::task::JoinSet;

use crate::support::*;
use test_brokers::kafka::{Kafka, KafkaOptions};

/// The limit of small topics, in bytes.
const LIMIT: usize = 20_000;

fn builder() -> KafkaTransportBuilder {
    kafka_at(Kafka::common().servers()).namespace("limits")
}

/// Records of 1 kB, every second with a key.
fn many(topic: &Topic, count: usize) -> Vec<(Topic, Record)> {
    let records = (0..count).map(|n| {
        let key = (n % 2 == 0).then_some("key");
        (topic.clone(), record("x".repeat(1000), key))
    });
    records.collect()
}

fn failures(results: Vec<Result<(), TransportError>>) -> Vec<TransportError> {
    results.into_iter().filter_map(Result::err).collect()
}

#[tokio::test]
async fn batches_keep_the_limit_of_their_topic() {
    create("limits.command.small", LIMIT).await;
    let kafka = builder().connect().await.unwrap();
    let (small, other) = (command("small"), command("other"));
    let mut records = many(&small, 2000);
    records.extend(many(&other, 2000));
    let failures = failures(kafka.append(records).await);
    assert!(failures.is_empty(), "{}: {}", failures.len(), failures[0]);
    for name in ["limits.command.small", "limits.command.other"] {
        let messages = contents(Kafka::common().servers(), name).await;
        assert_eq!(messages.len(), 2000, "{name}");
    }
}

#[tokio::test]
async fn a_record_above_the_limit_of_its_topic_is_refused_alone() {
    create("limits.command.alone", LIMIT).await;
    let kafka = builder().connect().await.unwrap();
    let topic = command("alone");
    let mut records = many(&topic, 20);
    let large = record("x".repeat(30_000), Some("key"));
    records.insert(10, (topic, large));
    let mut results = kafka.append(records).await;
    let refused = results.remove(10).unwrap_err();
    assert_eq!(refused.kind(), TransportErrorKind::TooLarge);
    assert_eq!(
        refused.to_string(),
        format!(
            "kafka://{}: appending to limits.command.alone: a record of 30003 bytes, and the topic accepts 20000: \
             raise `max.message.bytes` of the topic, or send a smaller message",
            Kafka::common().servers()
        )
    );
    let failures = failures(results);
    assert!(failures.is_empty(), "{}: {}", failures.len(), failures[0]);
}

#[tokio::test]
async fn a_limit_that_is_lowered_is_learnt() {
    let kafka = builder().connect().await.unwrap();
    let topic = command("lowered");
    let append = async || failures(kafka.append(many(&topic, 500)).await);
    assert_eq!(append().await.len(), 0);
    let name = "limits.command.lowered";
    let limit = LIMIT.to_string();
    let change = AlterConfig::new(ResourceSpecifier::Topic(name)).set("max.message.bytes", &limit);
    let changed = admin().alter_configs([&change], &AdminOptions::new()).await;
    changed.unwrap().remove(0).unwrap();
    // The first refused batch teaches the limit.
    let (end, mut refused) = (Instant::now() + LONG, false);
    loop {
        let failures = append().await;
        for failure in &failures {
            // The same record is accepted later.
            assert_eq!(failure.kind(), TransportErrorKind::Unreachable, "{failure}");
            assert!(failure.to_string().contains("was lowered"), "{failure}");
        }
        if refused && failures.is_empty() {
            break;
        }
        refused |= !failures.is_empty();
        assert!(Instant::now() < end, "{}", failures.len());
    }
}

#[tokio::test]
async fn the_output_of_handlers_keeps_the_limit_of_its_topic() {
    create("limits.command.output", LIMIT).await;
    let kafka = builder().exactly_once().connect().await.unwrap();
    let cause = command("cause");
    let caused = kafka.append(vec![(cause.clone(), record("", None))]).await;
    assert_eq!(failures(caused).len(), 0);
    let member = Subscription::new(cause, "handlers", "one");
    let member = kafka.consume(member).await.unwrap();
    let delivery = member.receive(1, LONG).await.unwrap().remove(0);
    let key: Arc<str> = "the cause".into();
    let claims = member.claim(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(claims, [Claim::Granted]);
    let scope = member.begin(&delivery.receipt);
    let mut outputs = many(&command("output"), 500);
    for (_, output) in &mut outputs {
        output.scope.clone_from(&scope);
    }
    let mut large = record("x".repeat(30_000), None);
    large.scope = scope;
    outputs.push((command("output"), large));
    let refused = failures(kafka.append(outputs).await);
    // It would fail each transaction.
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].kind(), TransportErrorKind::TooLarge);
    let lease = Lease {
        receipt: delivery.receipt,
        claim: Some(key),
    };
    member.acknowledge(&[lease]).await.unwrap();
    let messages = contents(Kafka::common().servers(), "limits.command.output").await;
    assert_eq!(messages.len(), 500);
    member.close().await.unwrap();
}

#[tokio::test]
async fn the_limit_of_a_claims_topic_is_raised() {
    let name = "limits.claims.command.claimed-at-handlers";
    create(name, LIMIT).await;
    let kafka = builder().connect().await.unwrap();
    let member = Subscription::new(command("claimed"), "handlers", "one");
    let member = kafka.consume(member).await.unwrap();
    let keys: Vec<Arc<str>> = (0..2000)
        .map(|n| format!("a long key {n}").into())
        .collect();
    let claims = member.claim(&keys).await.unwrap();
    assert_eq!(claims, vec![Claim::Granted; keys.len()]);
    member.close().await.unwrap();
}

/// 100 MB at once on a link that passes 5 MB in a second, with a deadline of half the time.
#[tokio::test(flavor = "multi_thread")]
async fn large_records_on_a_slow_link_are_appended_once() {
    let options = KafkaOptions {
        proxied: true,
        ..KafkaOptions::default()
    };
    let server = tokio::task::spawn_blocking(|| Kafka::with(options));
    let server = server.await.unwrap();
    let kafka = impatient(server.proxy().servers(), 10).await;
    let topic = command("large");
    let small = kafka.append(vec![(topic.clone(), record("first", None))]);
    assert_eq!(failures(small.await).len(), 0);
    server.proxy().limit(5_000_000);
    let mut calls = JoinSet::new();
    // Many calls, and one call with many records.
    for call in 0..51 {
        let (kafka, topic) = (kafka.clone(), topic.clone());
        let count = if call == 0 { 50 } else { 1 };
        let records = (0..count).map(move |n| {
            let body = format!("{call} {n} {}", "x".repeat(1_000_000));
            (topic.clone(), record(body, None))
        });
        calls.spawn(async move { kafka.append(records.collect()).await });
    }
    let results: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    server.proxy().limit(0);
    let failures = failures(results);
    assert!(failures.is_empty(), "{}: {}", failures.len(), failures[0]);
    let messages = contents(server.servers(), "static-bus.command.large").await;
    let mut times = HashMap::new();
    for body in bodies(&messages) {
        *times.entry(body.to_owned()).or_insert(0) += 1;
    }
    assert_eq!(messages.len(), 101, "{} different", times.len());
    assert_eq!(times.len(), 101);
}
