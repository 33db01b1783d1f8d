//! Queries and replies: at most once, and nothing left behind.

use std::time::Duration;

use static_bus_redis::RedisTransport;
use static_bus_remote::{
    Transport,
    transport::{Consumer, Kind, Record},
};

use crate::support::*;
use test_brokers::redis::Redis;

fn expiring(body: &str, expires: Duration) -> Record {
    Record {
        expires: Some(expires),
        ..record(body)
    }
}

#[tokio::test]
async fn a_query_is_taken_once_and_not_when_it_is_expired() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = topic(Kind::Query, "q");
    let records = [
        expiring("late", Duration::from_millis(1)),
        expiring("in time", Duration::from_secs(60)),
    ];
    append(&transport, &topic, records).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let a = transport
        .consume(subscription(topic.clone(), "a"))
        .await
        .unwrap();
    assert_eq!(a.backlog().await.unwrap().lag, 2);
    let got = receive(&a, 1).await;
    assert_eq!(bodies(&got), ["in time"]);
    assert!(got[0].record.expires.unwrap() <= Duration::from_secs(60));
    a.release(&leases(&got)).await.unwrap();
    assert!(
        a.receive(1, Duration::from_millis(50))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_is_gone_after_a_minute() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    append(&transport, &topic(Kind::Reply, "gone"), [record("1")]).await;
    let life = integer(&redis.command(&["PTTL", "static-bus:reply:gone"]));
    assert!((1..=60_000).contains(&life), "{life}");
    let query = topic(Kind::Query, "q");
    append(
        &transport,
        &query,
        [expiring("1", Duration::from_secs(600))],
    )
    .await;
    append(&transport, &query, [expiring("2", Duration::from_secs(1))]).await;
    let life = integer(&redis.command(&["PTTL", "static-bus:query:q"]));
    assert!((500_000..=600_000).contains(&life), "{life}");
}

#[tokio::test]
async fn queries_that_nobody_answers_do_not_pile_up() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = topic(Kind::Query, "q");
    for _ in 0..100 {
        let records = (0..100).map(|_| expiring("x", Duration::from_millis(1)));
        append(&transport, &topic, records).await;
    }
    let length = integer(&redis.command(&["LLEN", "static-bus:query:q"]));
    assert!(length < 3000, "{length}");
}

#[tokio::test]
async fn a_read_that_outlives_its_call_keeps_what_it_takes() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = topic(Kind::Reply, "r");
    let consumer = transport
        .consume(subscription(topic.clone(), "a"))
        .await
        .unwrap();
    let mut seen = Vec::new();
    for n in 0..50 {
        let dropped = consumer.receive(10, Duration::from_secs(2));
        let dropped = tokio::time::timeout(Duration::from_millis(3), dropped).await;
        assert!(dropped.is_err());
        append(&transport, &topic, [record(n.to_string())]).await;
        seen.extend(bodies(&receive(&consumer, 1).await));
    }
    let expected: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn closing_gives_back_what_was_not_handed_out() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = topic(Kind::Query, "q");
    let consumer = transport
        .consume(subscription(topic.clone(), "a"))
        .await
        .unwrap();
    let dropped = consumer.receive(10, Duration::from_secs(2));
    let dropped = tokio::time::timeout(Duration::from_millis(20), dropped).await;
    assert!(dropped.is_err());
    append(&transport, &topic, (0..5).map(|n| record(n.to_string()))).await;
    consumer.close().await.unwrap();
    assert!(consumer.receive(1, Duration::ZERO).await.is_err());
    let other = transport.consume(subscription(topic, "b")).await.unwrap();
    assert_eq!(bodies(&receive(&other, 5).await), ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn closing_ends_a_read_that_waits() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    for topic in [topic(Kind::Query, "q"), command("c")] {
        let consumer = transport.consume(subscription(topic, "a")).await.unwrap();
        let (received, closed) = tokio::join!(consumer.receive(10, LONG), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            tokio::time::timeout(LONG / 2, consumer.close()).await
        });
        assert!(received.unwrap_err().to_string().contains("closed"));
        closed.unwrap().unwrap();
    }
}

#[tokio::test]
async fn replies_cost_the_same_with_one_process_and_with_five() {
    let one = commands_for_replies(1).await;
    let five = commands_for_replies(5).await;
    // A blocking read more or less, when the machine is slow.
    assert!(
        five <= one + 20,
        "{one} commands with one, {five} with five"
    );
}

/// How many commands 200 replies to one process take while others wait for theirs.
async fn commands_for_replies(processes: usize) -> u64 {
    let redis = Redis::start();
    let mut transports = Vec::<RedisTransport>::new();
    let mut consumers = Vec::new();
    for n in 0..processes {
        let transport = connect(&redis).await;
        let topic = topic(Kind::Reply, &format!("process-{n}"));
        consumers.push(transport.consume(subscription(topic, "a")).await.unwrap());
        transports.push(transport);
    }
    let first = consumers.remove(0);
    let others: Vec<_> = consumers
        .into_iter()
        .map(|c| tokio::spawn(async move { c.receive(10, LONG).await.map(drop) }))
        .collect();
    redis.command(&["CONFIG", "RESETSTAT"]);
    let topic = topic(Kind::Reply, "process-0");
    for n in 0..200 {
        append(&transports[processes - 1], &topic, [record(n.to_string())]).await;
        assert_eq!(bodies(&receive(&first, 1).await), [n.to_string()]);
    }
    others.iter().for_each(|task| task.abort());
    calls(&redis)
        .into_iter()
        .filter(|(name, _)| !matches!(&**name, "config|resetstat" | "info"))
        .map(|(_, calls)| calls)
        .sum()
}
