//! Dead letters, beyond the conformance suite.

use std::time::Duration;

use rdkafka::Message as _;
use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_kafka::KafkaTransport;
use static_bus_remote::{
    DeadLetter, DeadLetters, RemoteBus, RetryPolicy, Transport, Worker,
    transport::{DeadLetterRecord, Kind, Topic},
};

use crate::support::{LONG, contents, create, kafka_at, record};
use test_brokers::kafka::Kafka;

#[derive(Serialize, Deserialize)]
struct Pay {
    invoice: u32,
}
command!(Pay, name = "billing.pay", key = invoice);

const DEAD_LETTERS: Topic = Topic {
    kind: Kind::DeadLetter,
    name: std::borrow::Cow::Borrowed(""),
};

async fn with_letters(namespace: &str, count: usize) -> KafkaTransport {
    let builder = kafka_at(Kafka::common().servers());
    let kafka = builder.namespace(namespace).connect().await.unwrap();
    let letter = |n: usize| (DEAD_LETTERS, record(n.to_string(), Some("key")));
    let results = kafka.append((0..count).map(letter).collect()).await;
    results.into_iter().collect::<Result<(), _>>().unwrap();
    kafka
}

fn bodies(letters: &[DeadLetterRecord]) -> Vec<&str> {
    let text = letters.iter().map(|letter| &letter.record.body[..]);
    text.map(|body| str::from_utf8(body).unwrap()).collect()
}

/// The dead letters of a namespace, when there are that many.
pub async fn letters(kafka: &KafkaTransport, count: usize) -> Vec<DeadLetter> {
    let dead = DeadLetters::of(kafka.clone());
    let letters = async {
        loop {
            let letters = dead.list(None, 10).await.unwrap();
            if letters.len() >= count {
                break letters;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let letters = tokio::time::timeout(LONG, letters).await;
    letters.expect("dead letters")
}

#[derive(Serialize, Deserialize)]
struct Receipt {
    text: String,
}
command!(Receipt, name = "billing.receipt");

/// Handles two messages of a key, whose handler sends a message of that size. Returns their dead letters.
pub async fn letters_of_a_handler_that_sends(
    kafka: KafkaTransport,
    size: usize,
) -> Vec<DeadLetter> {
    let remote = RemoteBus::connect(kafka.clone()).await.unwrap();
    let sending = remote.clone();
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Pay| {
            let (remote, text) = (sending.clone(), "x".repeat(size));
            async move { remote.execute_async(Receipt { text }).await }
        })
        .build();
    let retries = RetryPolicy {
        max_attempts: 3,
        initial_delay: Duration::from_millis(1),
        ..RetryPolicy::default()
    };
    let worker = Worker::new(kafka.clone(), bus).command::<Pay>();
    let worker = worker.retries(retries).start().await.unwrap();
    for _ in 0..2 {
        remote.execute_async(Pay { invoice: 7 }).await.unwrap();
    }
    let letters = letters(&kafka, 2).await;
    worker.shutdown(LONG).await;
    letters
}

#[tokio::test]
async fn a_handler_whose_message_is_too_large_makes_a_dead_letter_at_once_and_its_key_goes_on() {
    create("dead-sends.command.billing.receipt", 20_000).await;
    let builder = kafka_at(Kafka::common().servers()).namespace("dead-sends");
    let kafka = builder.connect().await.unwrap();
    for letter in letters_of_a_handler_that_sends(kafka, 30_000).await {
        assert_eq!(letter.attempts, 1, "{}", letter.error);
        assert!(
            letter.error.contains("the topic accepts 20000"),
            "{}",
            letter.error
        );
    }
}

#[tokio::test]
async fn a_dead_letter_above_the_limit_of_its_topic_is_stored_without_its_body() {
    create("dead-bodies.dead-letters", 20_000).await;
    let builder = kafka_at(Kafka::common().servers()).namespace("dead-bodies");
    let kafka = builder.connect().await.unwrap();
    let bus = BusBuilder::new()
        .register_command_async_fn(async |_: Receipt| {
            Err(BusError::refused::<Receipt>("no such receipt"))
        })
        .build();
    let worker = Worker::new(kafka.clone(), bus).command::<Receipt>();
    let worker = worker.start().await.unwrap();
    let remote = RemoteBus::connect(kafka.clone()).await.unwrap();
    let text = "x".repeat(30_000);
    remote.execute_async(Receipt { text }).await.unwrap();
    let letter = letters(&kafka, 1).await.remove(0);
    worker.shutdown(LONG).await;
    assert_eq!(letter.omitted, r#"{"text":""}"#.len() + 30_000);
    assert!(letter.record.body.is_empty());
    assert_eq!(
        letter.record.headers.get("type").as_deref(),
        Some("billing.receipt")
    );
    assert!(letter.error.contains("no such receipt"), "{}", letter.error);
    let refused = DeadLetters::of(kafka).replay(&letter).await.unwrap_err();
    assert!(refused.to_string().contains("30011"), "{refused}");
}

#[tokio::test]
async fn a_dead_letter_contains_the_place_of_its_message() {
    let servers = Kafka::common().servers();
    let kafka = kafka_at(servers).namespace("dead-places");
    let kafka = kafka.connect().await.unwrap();
    let remote = RemoteBus::connect(kafka.clone()).await.unwrap();
    let bus = BusBuilder::new()
        .register_command_async_fn(async |pay: Pay| match pay.invoice {
            7 => Err(BusError::refused::<Pay>("no such invoice")),
            _ => Ok(()),
        })
        .build();
    let worker = Worker::new(kafka.clone(), bus).command::<Pay>();
    let worker = worker.start().await.unwrap();
    let payments = (0..20).map(|invoice| Pay { invoice });
    remote.execute_many(payments).await.unwrap();
    let letter = letters(&kafka, 1).await.remove(0);
    worker.shutdown(Duration::from_secs(10)).await;
    assert_eq!(letter.record.key.as_deref(), Some("7"));
    assert_eq!(
        letter.record.headers.get("partitionkey").as_deref(),
        Some("7")
    );
    let place = letter.place.unwrap();
    let there = contents(servers, "dead-places.command.billing.pay").await;
    let there = there.iter().find(|message| {
        place
            == format!(
                "partition {}, offset {}",
                message.partition(),
                message.offset()
            )
    });
    let body = there.and_then(|message| message.payload());
    assert_eq!(body, Some(&b"{\"invoice\":7}"[..]), "{place}");
}

/// Tombstones after the page remove dead letters from it.
#[tokio::test]
async fn removed_dead_letters_leave_no_gap_in_a_page() {
    let kafka = with_letters("dead-pages", 10).await;
    let all = kafka.dead_letters(None, 100).await.unwrap();
    let removed: Vec<_> = [0, 1, 4].map(|n: usize| all[n].position.clone()).into();
    kafka.remove_dead_letters(&removed).await.unwrap();
    let page = kafka.dead_letters(None, 4).await.unwrap();
    assert_eq!(bodies(&page), ["2", "3", "5", "6"]);
    let after = Some(&*page[3].position);
    let page = kafka.dead_letters(after, 4).await.unwrap();
    assert_eq!(bodies(&page), ["7", "8", "9"]);
    let after = Some(&*page[2].position);
    assert!(kafka.dead_letters(after, 4).await.unwrap().is_empty());
    assert!(kafka.dead_letters(None, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_foreign_position_is_refused() {
    let kafka = with_letters("dead-positions", 1).await;
    for wrong in ["", "7", "x y", "0199a3c5-0"] {
        let listed = kafka.dead_letters(Some(wrong), 1).await;
        let error = listed.expect_err(wrong).to_string();
        assert!(
            error.contains("is not the position of a dead letter"),
            "{error}"
        );
        let removed = kafka.remove_dead_letters(&[wrong.to_owned()]).await;
        removed.expect_err(wrong);
    }
    assert_eq!(kafka.dead_letters(None, 2).await.unwrap().len(), 1);
}
