//! Helpers of the tests.

use std::{
    collections::HashSet,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use static_bus_redis::{
    RedisConsumer, RedisReceipt, RedisReceiver, RedisTransport, RedisTransportBuilder,
};
use static_bus_remote::{
    Headers, Transport,
    transport::{Consumer, Delivery, Kind, Lease, Receiver, Record, Subscription, Topic},
};

use test_brokers::redis::Redis;

/// The limit of anything on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

pub fn topic(kind: Kind, name: &str) -> Topic {
    Topic {
        kind,
        name: name.to_owned().into(),
    }
}

pub fn command(name: &str) -> Topic {
    topic(Kind::Command, name)
}

pub fn event(name: &str) -> Topic {
    topic(Kind::Event, name)
}

pub fn record(body: impl Into<String>) -> Record {
    Record {
        headers: Headers::from_iter([("type", "test")]),
        body: body.into().into_bytes().into(),
        ..Record::default()
    }
}

pub fn keyed(key: &str, body: impl Into<String>) -> Record {
    Record {
        key: Some(key.into()),
        ..record(body)
    }
}

pub fn body(delivery: &Delivery<RedisReceipt>) -> String {
    String::from_utf8(delivery.record.body.to_vec()).unwrap()
}

pub fn bodies(deliveries: &[Delivery<RedisReceipt>]) -> Vec<String> {
    deliveries.iter().map(body).collect()
}

pub fn texts(records: &[Arc<Record>]) -> Vec<String> {
    let text = |r: &Arc<Record>| String::from_utf8(r.body.to_vec()).unwrap();
    records.iter().map(text).collect()
}

pub fn leases(deliveries: &[Delivery<RedisReceipt>]) -> Vec<Lease<RedisReceipt>> {
    let lease = |d: &Delivery<RedisReceipt>| Lease {
        receipt: d.receipt,
        claim: None,
    };
    deliveries.iter().map(lease).collect()
}

pub fn claimed(delivery: &Delivery<RedisReceipt>, key: &str) -> Vec<Lease<RedisReceipt>> {
    vec![Lease {
        receipt: delivery.receipt,
        claim: Some(Arc::from(key)),
    }]
}

pub fn subscription(topic: Topic, member: &str) -> Subscription {
    let mut subscription = Subscription::new(topic, "handlers", member);
    subscription.lease = Duration::from_secs(10);
    subscription
}

pub fn short(topic: Topic, member: &str) -> Subscription {
    let mut subscription = subscription(topic, member);
    subscription.lease = Duration::from_millis(600);
    subscription
}

/// A transport whose deadline no call on a busy machine comes near.
pub fn redis_at(url: impl Into<String>) -> RedisTransportBuilder {
    RedisTransport::builder(url).deadline(LONG)
}

pub async fn connect(redis: &Redis) -> RedisTransport {
    redis_at(redis.url()).connect().await.unwrap()
}

/// Appends records. None is refused.
pub async fn append(
    transport: &RedisTransport,
    topic: &Topic,
    records: impl IntoIterator<Item = Record>,
) {
    let records = records.into_iter().map(|r| (topic.clone(), r)).collect();
    for result in transport.append(records).await {
        result.unwrap();
    }
}

/// Receives this many records.
pub async fn receive(consumer: &RedisConsumer, count: usize) -> Vec<Delivery<RedisReceipt>> {
    let mut all = Vec::new();
    let end = Instant::now() + LONG;
    while all.len() < count {
        assert!(Instant::now() < end, "{} of {count} came", all.len());
        let wait = Duration::from_secs(1);
        all.extend(consumer.receive(count - all.len(), wait).await.unwrap());
    }
    all
}

/// Receives this many records, over all errors.
pub async fn receive_over_errors(
    consumer: &RedisConsumer,
    count: usize,
) -> Vec<Delivery<RedisReceipt>> {
    let mut all = Vec::new();
    let end = Instant::now() + LONG;
    while all.len() < count {
        assert!(Instant::now() < end, "{} of {count} came", all.len());
        let wait = Duration::from_secs(1);
        all.extend(
            consumer
                .receive(count - all.len(), wait)
                .await
                .unwrap_or_default(),
        );
    }
    all
}

/// Receives this many queries or replies.
pub async fn listen(receiver: &RedisReceiver, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    let end = Instant::now() + LONG;
    while all.len() < count {
        assert!(Instant::now() < end, "{} of {count} came", all.len());
        let wait = Duration::from_secs(1);
        all.extend(receiver.receive(count - all.len(), wait).await.unwrap());
    }
    texts(&all)
}

/// Receives this many queries or replies, over all errors.
pub async fn listen_over_errors(receiver: &RedisReceiver, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    let end = Instant::now() + LONG;
    while all.len() < count {
        assert!(Instant::now() < end, "{} of {count} came", all.len());
        let wait = Duration::from_millis(100);
        all.extend(
            receiver
                .receive(count - all.len(), wait)
                .await
                .unwrap_or_default(),
        );
    }
    texts(&all)
}

/// Receives and acknowledges until this many different records have come. Returns all in their order.
pub async fn drain(consumer: &RedisConsumer, count: usize) -> Vec<String> {
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    let end = Instant::now() + LONG;
    while seen.len() < count {
        assert!(Instant::now() < end, "{} of {count} came", seen.len());
        let deliveries = consumer
            .receive(1000, Duration::from_secs(1))
            .await
            .unwrap();
        consumer.acknowledge(&leases(&deliveries)).await.unwrap();
        seen.extend(bodies(&deliveries));
        all.extend(bodies(&deliveries));
    }
    all
}

/// Waits until a condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The number in a reply of one integer.
pub fn integer(reply: &str) -> u64 {
    let number = reply.trim().strip_prefix(':');
    number
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("a number, not {reply:?}"))
}

/// The number of calls of each command since the statistics were reset.
pub fn calls(redis: &Redis) -> Vec<(String, u64)> {
    let stats = redis.command(&["INFO", "commandstats"]);
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    stats.lines().filter_map(line).collect()
}
