//! Exactly once: topics that change while output for them is held back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use serde::{Deserialize, Serialize};
use static_bus::prelude::*;
use static_bus_kafka::{KafkaConsumer, KafkaReceipt, KafkaTransport};
use static_bus_remote::{
    DeadLetter, RemoteBus, RetryPolicy, Transport as _, Worker,
    transport::{
        Claim, Consumer as _, Lease, Record, Scope, Subscription, Topic, TransportErrorKind,
    },
};

use crate::{dead_letters::letters, support::*};
use test_brokers::kafka::Kafka;

async fn lower(topic: &str, bytes: usize) {
    let bytes = bytes.to_string();
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", &bytes);
    let changed = admin().alter_configs([&change], &AdminOptions::new()).await;
    changed.unwrap().remove(0).unwrap();
}

fn output(scope: &Option<Scope>) -> (Topic, Record) {
    let mut output = record("x".repeat(1000), None);
    output.scope.clone_from(scope);
    (command("effect"), output)
}

async fn receive(member: &KafkaConsumer) -> Lease<KafkaReceipt> {
    let delivery = member.receive(1, LONG).await.unwrap().remove(0);
    let key: Arc<str> = "the cause".into();
    let claims = member.claim(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(claims, [Claim::Granted]);
    Lease {
        receipt: delivery.receipt,
        claim: Some(key),
    }
}

/// A member that has a record and holds that many records of 1 kB back.
async fn member(
    namespace: &str,
    count: usize,
) -> (KafkaTransport, KafkaConsumer, Lease<KafkaReceipt>) {
    let kafka = kafka_at(Kafka::common().servers()).namespace(namespace);
    let kafka = kafka.exactly_once().partitions(2);
    let kafka = kafka.connect().await.unwrap();
    let cause = command("cause");
    let caused = kafka.append(vec![(cause.clone(), record("", None))]).await;
    caused.into_iter().next().unwrap().unwrap();
    let member = Subscription::new(cause, "handlers", "one").with_lease(LONG);
    let member = kafka.consume(member).await.unwrap();
    let lease = receive(&member).await;
    let scope = member.begin(&lease.receipt);
    let outputs = (0..count).map(|_| output(&scope));
    for held in kafka.append(outputs.collect()).await {
        held.unwrap();
    }
    (kafka, member, lease)
}

/// Holds 500 records back, changes their topic, and acknowledges until that succeeds.
async fn commit_after(namespace: &str, change: impl AsyncFnOnce(&str)) {
    let (_, member, lease) = member(namespace, 500).await;
    let topic = format!("{namespace}.command.effect");
    change(&topic).await;
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
    commit_after("output-lowered", async |topic| lower(topic, 20_000).await).await;
}

/// The cause is received again, and now its handler learns the limit.
#[tokio::test]
async fn output_above_the_limit_to_which_its_topic_was_lowered_is_an_error_of_its_handler() {
    let (kafka, member, before) = member("output-above", 1).await;
    lower("output-above.command.effect", 500).await;
    succeeds(async || member.acknowledge(std::slice::from_ref(&before)).await).await;
    let lease = receive(&member).await;
    assert_ne!(lease.receipt, before.receipt);
    let sent = vec![output(&member.begin(&lease.receipt))];
    let refused = kafka.append(sent).await.remove(0).unwrap_err();
    assert_eq!(refused.kind(), TransportErrorKind::TooLarge, "{refused}");
    assert!(
        refused.to_string().contains("the topic accepts 500"),
        "{refused}"
    );
    member.acknowledge(&[lease]).await.unwrap();
    member.close().await.unwrap();
}

#[derive(Serialize, Deserialize)]
struct Pay {
    invoice: u32,
}
command!(Pay, name = "billing.pay", key = invoice);
#[derive(Serialize, Deserialize)]
struct Paid {
    invoice: u32,
}
command!(Paid, name = "billing.paid");
#[derive(Serialize, Deserialize)]
struct Receipt {
    number: usize,
}
command!(Receipt, name = "billing.receipt");

const PAYMENTS: u32 = 40;
const RECEIPTS: usize = 4;

fn has_receipt(invoice: u32) -> bool {
    invoice.is_multiple_of(10)
}

/// Handles payments, each of which sends a message, and some this many receipts. Returns the dead letters of these.
async fn letters_of_receipts(namespace: &str, receipts: usize) -> Vec<DeadLetter> {
    let kafka = kafka_at(Kafka::common().servers()).namespace(namespace);
    let kafka = kafka.exactly_once().partitions(2);
    let kafka = kafka.connect().await.unwrap();
    let remote = RemoteBus::connect(kafka.clone()).await.unwrap();
    let sending = remote.clone();
    let bus = BusBuilder::new()
        .register_command_async_fn(move |Pay { invoice }| {
            let remote = sending.clone();
            async move {
                remote.execute_async(Paid { invoice }).await?;
                match has_receipt(invoice) {
                    true => {
                        remote
                            .execute_many((0..receipts).map(|number| Receipt { number }))
                            .await
                    }
                    false => Ok(()),
                }
            }
        })
        .build();
    let payments = |from: u32| (from..from + PAYMENTS / 2).map(|invoice| Pay { invoice });
    remote.execute_many(payments(0)).await.unwrap();
    let retries = RetryPolicy {
        max_attempts: 2,
        initial_delay: Duration::from_millis(1),
        ..RetryPolicy::default()
    };
    let worker = Worker::new(kafka.clone(), bus).command::<Pay>();
    let worker = worker.retries(retries).start().await.unwrap();
    // Half of them arrive while others are handled.
    remote.execute_many(payments(PAYMENTS / 2)).await.unwrap();
    let letters = letters(&kafka, RECEIPTS).await;
    let topic = format!("{namespace}.command.billing.paid");
    let (begin, all) = (Instant::now(), PAYMENTS as usize - RECEIPTS);
    let paid = loop {
        let paid = contents(Kafka::common().servers(), &topic).await;
        if paid.len() >= all {
            break paid;
        }
        assert!(begin.elapsed() < LONG, "{} of {all}", paid.len());
    };
    worker.shutdown(LONG).await;
    let mut expected: Vec<_> = (0..PAYMENTS)
        .filter(|invoice| !has_receipt(*invoice))
        .map(|invoice| format!(r#"{{"invoice":{invoice}}}"#))
        .collect();
    let mut paid = bodies(&paid);
    paid.sort_unstable();
    expected.sort_unstable();
    assert_eq!(paid, expected);
    assert_eq!(letters.len(), RECEIPTS);
    letters
}

#[tokio::test]
async fn output_that_the_cluster_refuses_holds_no_other_message_up() {
    // With many, the refusal of the first comes while others are still passed to the client.
    for (namespace, receipts) in [("output-refused", 1), ("outputs-refused", 5_000)] {
        // A record without a key cannot be compacted.
        let compacted = [("cleanup.policy", "compact")];
        let topic = format!("{namespace}.command.billing.receipt");
        create_at(Kafka::common().servers(), &topic, 2, &compacted).await;
        for letter in letters_of_receipts(namespace, receipts).await {
            assert_eq!(letter.attempts, 2, "{}", letter.error);
            assert!(letter.error.contains("InvalidRecord"), "{}", letter.error);
            assert!(letter.error.contains(&topic), "{}", letter.error);
        }
    }
}
