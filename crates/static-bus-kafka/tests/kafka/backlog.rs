//! The backlog of a member whose client has not fetched all records.

use std::time::{Duration, Instant};

use static_bus_remote::{
    Transport as _,
    transport::{Consumer as _, Inspect as _, Subscription},
};
use test_brokers::kafka::Kafka;

use crate::support::*;

#[tokio::test]
async fn it_has_records_that_come_after_the_end_was_read() {
    let topic = command("grows");
    let kafka = kafka_at(Kafka::common().servers()).namespace("backlog");
    // Having read the end, the client makes a pause.
    let kafka = kafka.set("queued.min.messages", "1");
    let kafka = kafka.set("fetch.queue.backoff.ms", "300000");
    let kafka = kafka.partitions(6).connect().await.unwrap();
    let subscription = Subscription::new(topic.clone(), "handlers", "one");
    let member = kafka.consume(subscription).await.unwrap();
    let end = Instant::now() + LONG;
    let has_all_partitions = async || {
        let states = kafka.inspect(std::slice::from_ref(&topic)).await.unwrap();
        let members = states[0].groups.iter().flat_map(|group| &group.members);
        members.map(|member| member.partitions.len()).sum::<usize>() == 6
    };
    while !has_all_partitions().await {
        assert!(Instant::now() < end);
        let none = member.receive(1, Duration::from_millis(100)).await.unwrap();
        assert!(none.is_empty());
    }
    member.receive(1, Duration::from_secs(2)).await.unwrap();
    let backlog = member.backlog().await.unwrap();
    assert_eq!((backlog.pending, backlog.lag), (0, 0));
    let numbers = (0..60).map(|n| n.to_string());
    let records = numbers.map(|n| (topic.clone(), record(n.clone(), Some(&n))));
    for result in kafka.append(records.collect()).await {
        result.unwrap();
    }
    let backlog = member.backlog().await.unwrap();
    assert_eq!((backlog.pending, backlog.lag), (0, 60));
    assert!(!backlog.oldest.is_zero() && backlog.oldest < LONG);
}
