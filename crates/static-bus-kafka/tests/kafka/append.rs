//! Appending to a healthy cluster.

use std::collections::HashMap;

use rdkafka::Message as _;
use static_bus_remote::{
    Due, Headers, RemoteBus, Transport as _,
    transport::{Kind, Record, Topic},
};

use crate::support::*;
use test_brokers::kafka::Kafka;

#[tokio::test]
async fn records_of_one_key_are_in_one_partition_in_the_order_of_appending() {
    let servers = Kafka::common().servers();
    let kafka = kafka_at(servers).connect().await.unwrap();
    let topic = command("append.order");
    for round in 0..10 {
        let records = (0..160).map(|n| {
            let key = format!("key-{}", n % 16);
            let body = format!("{key} {}", round * 160 + n);
            (topic.clone(), record(body, Some(&key)))
        });
        for result in kafka.append(records.collect()).await {
            result.unwrap();
        }
    }
    let messages = contents(servers, "static-bus.command.append.order").await;
    assert_eq!(messages.len(), 1600);
    let mut last = HashMap::new();
    for (message, body) in messages.iter().zip(bodies(&messages)) {
        let (key, number) = body.split_once(' ').unwrap();
        assert_eq!(message.key(), Some(key.as_bytes()));
        let place = (message.partition(), number.parse::<u32>().unwrap());
        if let Some(before) = last.insert(key.to_owned(), place) {
            assert!(before.0 == place.0 && before.1 < place.1, "{key}");
        }
    }
    let used: std::collections::HashSet<_> = last.values().map(|place| place.0).collect();
    assert!(used.len() > 4, "16 keys are spread: {used:?}");
}

#[tokio::test]
async fn keys_have_the_partitions_of_the_java_client() {
    let servers = Kafka::common().servers();
    let kafka = kafka_at(servers).partitions(100).connect();
    let kafka = kafka.await.unwrap();
    // From the tests of `Utils.murmur2` in Apache Kafka.
    let hashes = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
    ];
    let topic = command("append.partitions");
    let records = hashes.map(|(key, _)| (topic.clone(), record("", Some(key))));
    for result in kafka.append(records.into()).await {
        result.unwrap();
    }
    let messages = contents(servers, "static-bus.command.append.partitions").await;
    for (key, hash) in hashes {
        let message = messages.iter().find(|m| m.key() == Some(key.as_bytes()));
        let partition = message.unwrap().partition();
        assert_eq!(partition, (hash & 0x7fff_ffff) % 100, "{key}");
    }
}

#[tokio::test]
async fn records_that_are_too_large_fail_alone() {
    let servers = Kafka::common().servers();
    let kafka = kafka_at(servers).connect().await.unwrap();
    let (a, b) = (command("append.results a"), command("append.results b"));
    let results = kafka
        .append(vec![
            (a.clone(), record("1", None)),
            (a.clone(), record("x".repeat(2_000_000), None)),
            (b.clone(), record("2", None)),
            (b.clone(), record("x".repeat(2_000_000), Some("key"))),
            (a.clone(), record("3", Some("key"))),
        ])
        .await;
    let ok: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, false, true, false, true]);
    assert_eq!(
        results[1].as_ref().unwrap_err().to_string(),
        format!(
            "kafka://{servers}: appending to static-bus.command.append.results-20a: \
             a record of 2000000 bytes, and this client sends 1500000 and the topic accepts 1500000: raise the setting \
             `message.max.bytes` and `max.message.bytes` of the topic, or send a smaller message"
        )
    );
    let a = contents(servers, "static-bus.command.append.results-20a").await;
    let mut a = bodies(&a);
    a.sort_unstable();
    assert_eq!(a, ["1", "3"]);
    let b = contents(servers, "static-bus.command.append.results-20b").await;
    assert_eq!(bodies(&b), ["2"]);
}

#[tokio::test]
async fn more_records_than_the_queue_of_the_client_are_appended_in_order() {
    let servers = Kafka::common().servers();
    let kafka = kafka_at(servers)
        .set("queue.buffering.max.messages", "50")
        .connect()
        .await
        .unwrap();
    let topic = command("append.many");
    let records = (0..3000).map(|n| (topic.clone(), record(n.to_string(), Some("key"))));
    for result in kafka.append(records.collect()).await {
        result.unwrap();
    }
    let messages = contents(servers, "static-bus.command.append.many").await;
    let expected: Vec<_> = (0..3000).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&messages), expected);
}

#[tokio::test]
async fn records_with_one_idempotency_key_have_one_partition() {
    let servers = Kafka::common().servers();
    let kafka = kafka_at(servers).connect().await.unwrap();
    let topic = command("append.idempotent");
    let records = (0..40).map(|n| {
        let record = Record {
            headers: Headers::from_iter([("idempotencykey", &*(n % 10).to_string())]),
            ..Record::default()
        };
        (topic.clone(), record)
    });
    for result in kafka.append(records.collect()).await {
        result.unwrap();
    }
    let messages = contents(servers, "static-bus.command.append.idempotent").await;
    assert_eq!(messages.len(), 40);
    let mut partitions = HashMap::new();
    for message in &messages {
        let key = message.key().unwrap().to_owned();
        let first = *partitions.entry(key).or_insert(message.partition());
        assert_eq!(first, message.partition());
    }
}

#[tokio::test]
async fn replies_to_one_address_have_one_partition() {
    let servers = Kafka::common().servers();
    let kafka = kafka_at(servers).namespace("append-replies");
    let kafka = kafka.connect().await.unwrap();
    let records = (0..40).map(|n| {
        let topic = Topic {
            kind: Kind::Reply,
            name: format!("process-{}", n % 10).into(),
        };
        (topic, Record::default())
    });
    for result in kafka.append(records.collect()).await {
        result.unwrap();
    }
    let messages = contents(servers, "append-replies.replies").await;
    assert_eq!(messages.len(), 40);
    let mut partitions = HashMap::new();
    for message in &messages {
        let key = message.key().unwrap().to_owned();
        assert!(key.starts_with(b"process-"));
        let first = *partitions.entry(key).or_insert(message.partition());
        assert_eq!(first, message.partition());
    }
    assert_eq!(partitions.len(), 10);
}

#[tokio::test]
async fn messages_that_are_due_later_are_refused_at_start_and_when_they_are_appended() {
    let kafka = kafka_at(Kafka::common().servers());
    let kafka = kafka.connect().await.unwrap();
    let remote = RemoteBus::connect(kafka.clone()).await.unwrap();
    let error = remote.scheduler().unwrap_err();
    assert_eq!(
        error.reason(),
        "this broker does not keep messages until they are due: schedule them through an outbox in a database \
         (`SqlTransport::outbox` of static-bus-sql), whose relay sends them when they are due, or on another broker, such as Redis"
    );
    let due = Record {
        due: Some(Due::after(std::time::Duration::from_secs(1))),
        ..record("1", None)
    };
    let result = kafka.append(vec![(command("append.due"), due)]).await;
    let refused = result[0].as_ref().unwrap_err();
    assert_eq!(refused.reason(), error.reason());
}
