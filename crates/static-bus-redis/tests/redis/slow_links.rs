//! Large messages over links that are too slow for all of them at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::AsyncExecuteCommand, prelude::*};
use static_bus_redis::RedisTransport;
use static_bus_remote::{
    DEAD_LETTERS, DeadLetters, RemoteBus, Transport, Worker,
    transport::{Consumer, Kind, Receiver},
};
use tokio::sync::mpsc;

use crate::support::*;
use test_brokers::{redis::Redis, tunnel::Tunnel};

/// 100 Mbit/s.
const SLOW: u64 = 100_000_000;
const MEGABYTE: usize = 1_000_000;

#[derive(Serialize, Deserialize)]
struct Archive {
    number: usize,
    text: String,
}
command!(Archive, name = "archive");

fn archive(number: usize) -> Archive {
    Archive {
        number,
        text: "x".repeat(MEGABYTE),
    }
}

/// A server at the end of a slow link.
async fn far_away(redis: &Redis) -> (Tunnel, RedisTransport) {
    far_away_within(redis, Duration::from_secs(5)).await
}

async fn far_away_within(redis: &Redis, deadline: Duration) -> (Tunnel, RedisTransport) {
    let tunnel = Tunnel::to(redis.port());
    let url = format!("redis://{}", tunnel.host_and_port());
    let builder = RedisTransport::builder(&url).deadline(deadline);
    let transport = builder.connect().await.unwrap();
    tunnel.set_bandwidth(SLOW);
    (tunnel, transport)
}

#[tokio::test]
async fn a_backlog_of_large_messages_is_handled_as_fast_as_the_link_carries_it() {
    const COUNT: usize = 150;
    let redis = Redis::start();
    let near = RemoteBus::connect(connect(&redis).await).await.unwrap();
    let (tell, mut heard) = mpsc::unbounded_channel();
    for number in 0..COUNT {
        near.execute_async(archive(number)).await.unwrap();
    }
    let (tunnel, transport) = far_away(&redis).await;
    let bus = BusBuilder::new()
        .register_command_fn(move |archive: Archive| tell.send(archive.number).unwrap())
        .build();
    let worker = Worker::new(transport.clone(), bus).command::<Archive>();
    let worker = worker.start().await.unwrap();
    let mut handled = vec![0; COUNT];
    for _ in 0..COUNT {
        let next = tokio::time::timeout(LONG, heard.recv()).await;
        let number = next.unwrap_or_else(|_| panic!("{handled:?}"));
        handled[number.unwrap()] += 1;
    }
    assert!(handled.iter().all(|times| *times == 1), "{handled:?}");
    let crossed = tunnel.received();
    let once = (COUNT * MEGABYTE) as u64;
    assert!(crossed < once * 3 / 2, "{crossed} bytes for {once}");
    worker.shutdown(LONG).await;
}

#[tokio::test]
async fn concurrent_sends_of_large_messages_wait_for_each_other_and_none_fails() {
    const COUNT: usize = 100;
    let redis = Redis::start();
    let (_tunnel, transport) = far_away(&redis).await;
    let remote = RemoteBus::connect(transport).await.unwrap();
    let mut sends = tokio::task::JoinSet::new();
    for number in 0..COUNT {
        let remote = remote.clone();
        sends.spawn(async move { remote.execute_async(archive(number)).await });
    }
    let results = sends.join_all().await;
    let failed: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} fail: {}", failed.len(), failed[0]);
    let length = integer(&redis.command(&["XLEN", "static-bus:{command:archive}"]));
    assert_eq!(length, COUNT as u64, "each is there once");
}

#[tokio::test]
async fn entries_of_answers_that_did_not_come_in_time_are_delivered_for_the_first_time() {
    let redis = Redis::start();
    let near = connect(&redis).await;
    let topic = command("c");
    let large = |n: usize| match n % 2 {
        0 => record("x".repeat(MEGABYTE)),
        _ => keyed(&n.to_string(), "x".repeat(MEGABYTE)),
    };
    append(&near, &topic, (0..40).map(large)).await;
    let (tunnel, transport) = far_away_within(&redis, Duration::from_secs(1)).await;
    let consumer = transport.consume(subscription(topic, "a")).await.unwrap();
    // Not even one arrives in the greatest time that an answer may take.
    tunnel.set_bandwidth(500_000);
    let mut lost = 0;
    while lost < 3 {
        let received = consumer.receive(64, Duration::from_secs(1)).await;
        assert!(received.is_err() || received.unwrap().is_empty());
        let pending = redis.command(&["XINFO", "GROUPS", "static-bus:{command:c}"]);
        lost += usize::from(!pending.contains("pending\r\n:0\r\n"));
    }
    tunnel.set_bandwidth(0);
    let received = receive_over_errors(&consumer, 40).await;
    let attempts: Vec<_> = received.iter().map(|d| d.attempt).collect();
    assert_eq!(attempts, [1; 40]);
}

#[tokio::test]
async fn large_queries_are_received_over_a_slow_link() {
    let redis = Redis::start();
    let near = connect(&redis).await;
    let topic = topic(Kind::Query, "q");
    let first = near.listen(topic.clone()).await.unwrap();
    first.close().await.unwrap();
    let large = |n: usize| record(format!("{n} {}", "x".repeat(MEGABYTE)));
    append(&near, &topic, (0..30).map(large)).await;
    let (_tunnel, transport) = far_away_within(&redis, Duration::from_secs(1)).await;
    let receiver = transport.listen(topic).await.unwrap();
    assert_eq!(listen(&receiver, 30).await.len(), 30);
}

#[tokio::test]
async fn large_dead_letters_are_listed_in_pages_over_a_slow_link() {
    let redis = Redis::start();
    let near = connect(&redis).await;
    let large = (0..30).map(|_| record("x".repeat(MEGABYTE)));
    append(&near, &DEAD_LETTERS, large).await;
    let (_tunnel, transport) = far_away_within(&redis, Duration::from_secs(1)).await;
    let dead = DeadLetters::of(transport);
    let (mut count, mut after) = (0, None);
    while let Some(last) = {
        let page = dead.list(after.as_deref(), 1000).await.unwrap();
        count += page.len();
        page.last().map(|letter| letter.position.clone())
    } {
        after = Some(last);
    }
    assert_eq!(count, 30);
}

#[tokio::test]
async fn one_read_of_many_partitions_is_bounded_in_bytes() {
    const SIZE: usize = 300_000;
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    let large = |n: usize| match n % 10 {
        0 => record("x".repeat(SIZE)),
        _ => keyed(&n.to_string(), "x".repeat(SIZE)),
    };
    append(&transport, &topic, (0..100).map(large)).await;
    let consumer = transport.consume(subscription(topic, "a")).await.unwrap();
    let mut counts = Vec::new();
    let end = std::time::Instant::now() + LONG;
    while counts.iter().sum::<usize>() < 100 {
        assert!(std::time::Instant::now() < end, "{counts:?} came");
        let received = consumer.receive(100, Duration::from_secs(1)).await.unwrap();
        consumer.acknowledge(&leases(&received)).await.unwrap();
        counts.push(received.len());
    }
    // The fourth exceeds a megabyte.
    assert!(counts.iter().all(|count| *count <= 4), "{counts:?}");
    assert!(counts.len() < 40, "{counts:?}");
}
