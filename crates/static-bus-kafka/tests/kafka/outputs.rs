//! Exactly once: topics that change while output for them is held back.

use std::sync::Arc;

use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use static_bus_remote::{
    Transport as _,
    transport::{Claim, Consumer as _, Lease, Subscription},
};

use crate::support::*;
use test_brokers::kafka::Kafka;

async fn lower(topic: &str) {
    let change =
        AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", "20000");
    let changed = admin().alter_configs([&change], &AdminOptions::new()).await;
    changed.unwrap().remove(0).unwrap();
}

/// Holds 500 records of 1 kB back, changes their topic, and acknowledges until that succeeds.
async fn commit_after(namespace: &str, change: impl AsyncFnOnce(&str)) {
    let kafka = kafka_at(Kafka::common().servers()).namespace(namespace);
    let kafka = kafka.exactly_once().partitions(2);
    let kafka = kafka.connect().await.unwrap();
    let cause = command("cause");
    let caused = kafka.append(vec![(cause.clone(), record("", None))]).await;
    caused.into_iter().next().unwrap().unwrap();
    let member = Subscription::new(cause, "handlers", "one").with_lease(LONG);
    let member = kafka.consume(member).await.unwrap();
    let delivery = member.receive(1, LONG).await.unwrap().remove(0);
    let key: Arc<str> = "the cause".into();
    let claims = member.claim(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(claims, [Claim::Granted]);
    let scope = member.begin(&delivery.receipt);
    let outputs = (0..500).map(|_| {
        let mut output = record("x".repeat(1000), None);
        output.scope.clone_from(&scope);
        (command("effect"), output)
    });
    for held in kafka.append(outputs.collect()).await {
        held.unwrap();
    }
    let topic = format!("{namespace}.command.effect");
    change(&topic).await;
    let lease = Lease {
        receipt: delivery.receipt,
        claim: Some(key),
    };
    succeeds(async || member.acknowledge(std::slice::from_ref(&lease)).await).await;
    let effects = contents(Kafka::common().servers(), &topic).await;
    assert_eq!(effects.len(), 500);
    member.close().await.unwrap();
}

#[tokio::test]
async fn output_for_a_topic_that_was_deleted_is_appended() {
    commit_after("output-deleted", delete).await;
}

#[tokio::test]
async fn output_for_a_topic_whose_limit_was_lowered_is_appended() {
    commit_after("output-lowered", lower).await;
}
