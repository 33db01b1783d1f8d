//! Dead letters, beyond the conformance suite.

use std::time::Duration;

use rdkafka::Message as _;
use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_kafka::KafkaTransport;
use static_bus_remote::{
    DeadLetters, RemoteBus, Transport, Worker,
    transport::{DeadLetterRecord, Kind, Topic},
};

use crate::support::{contents, kafka_at, record};
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
    let letters = DeadLetters::of(kafka);
    let letter = tokio::time::timeout(Duration::from_secs(180), async {
        loop {
            if let Some(letter) = letters.list(None, 10).await.unwrap().pop() {
                break letter;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let letter = letter.await.expect("a dead letter");
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
