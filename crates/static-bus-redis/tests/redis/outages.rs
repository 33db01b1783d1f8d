//! Servers that end, hang, lose their data, or restart.

use std::{
    any::Any,
    collections::HashSet,
    time::{Duration, Instant},
};

use static_bus_redis::RedisTransport;
use static_bus_remote::{
    Transport,
    transport::{Consumer, Kind, Receiver, Subscription, TransportError},
};

use crate::support::*;
use test_brokers::redis::{Persistence, Redis, RedisOptions};

/// The number of connections, without that of this command.
fn clients(redis: &Redis) -> usize {
    let list = redis.command(&["CLIENT", "LIST"]);
    list.lines().filter(|l| l.contains("addr=")).count() - 1
}

async fn seven_consumers_survive(mut redis: Redis, outage: impl AsyncFnOnce(&mut Redis)) {
    let transport = RedisTransport::builder(redis.url())
        .deadline(Duration::from_secs(1))
        .connect()
        .await
        .unwrap();
    let mut topics = Vec::new();
    let mut readers = tokio::task::JoinSet::new();
    for n in 0..5 {
        topics.push(command(&format!("c{n}")));
        let consumer = subscription(topics[n].clone(), "a");
        let consumer = transport.consume(consumer).await.unwrap();
        readers.spawn(first(async move |wait| {
            consumer.receive(10, wait).await.map(|d| bodies(&d))
        }));
    }
    for n in 5..7 {
        topics.push(topic(Kind::Query, &format!("q{n}")));
        let receiver = transport.listen(topics[n].clone()).await.unwrap();
        readers.spawn(first(async move |wait| {
            receiver.receive(10, wait).await.map(|r| texts(&r))
        }));
    }
    eventually("all are connected", || async { clients(&redis) == 8 }).await;
    outage(&mut redis).await;
    eventually("the server is back", || async {
        transport.check().await.is_ok()
    })
    .await;
    for topic in &topics {
        append(&transport, topic, [record("after")]).await;
    }
    let mut read = Vec::new();
    while let Some((reader, got)) = readers.join_next().await.map(Result::unwrap) {
        assert_eq!(got, ["after"]);
        read.push(reader);
    }
    eventually("there are as many connections as before", || async {
        clients(&redis) == 8
    })
    .await;
}

/// Receives until something comes, over all errors. Returns the closure too: it keeps its connection.
async fn first<R>(mut receive: R) -> (Box<dyn Any + Send>, Vec<String>)
where
    R: AsyncFnMut(Duration) -> Result<Vec<String>, TransportError> + Send + 'static,
{
    loop {
        match receive(Duration::from_secs(1)).await {
            Ok(got) if !got.is_empty() => return (Box::new(receive), got),
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test]
async fn an_outage_of_three_seconds_with_seven_consumers_leaves_no_extra_connections() {
    seven_consumers_survive(Redis::start(), async |redis: &mut Redis| {
        redis.kill();
        tokio::time::sleep(Duration::from_secs(3)).await;
        redis.launch();
    })
    .await;
}

#[tokio::test]
async fn a_server_that_hangs_for_three_seconds_leaves_no_extra_connections() {
    seven_consumers_survive(Redis::start(), async |redis: &mut Redis| {
        redis.pause();
        tokio::time::sleep(Duration::from_secs(3)).await;
        redis.resume();
    })
    .await;
}

#[tokio::test]
async fn no_call_waits_longer_than_its_deadline() {
    let mut redis = Redis::start();
    let transport = RedisTransport::builder(redis.url())
        .deadline(Duration::from_millis(500))
        .connect()
        .await
        .unwrap();
    let consumer = transport
        .consume(subscription(command("c"), "a"))
        .await
        .unwrap();
    let query = topic(Kind::Query, "q");
    let queries = transport.listen(query.clone()).await.unwrap();
    for hangs in [true, false] {
        match hangs {
            true => redis.pause(),
            false => redis.kill(),
        }
        let start = Instant::now();
        assert!(transport.check().await.is_err());
        let results = transport.append(vec![(command("c"), record("1"))]).await;
        assert!(results[0].is_err());
        let other = transport.consume(subscription(command("d"), "a")).await;
        assert!(other.is_err());
        assert!(transport.listen(query.clone()).await.is_err());
        let wait = Duration::from_millis(200);
        assert!(consumer.receive(1, wait).await.is_err());
        // A read under way fails when its own deadline is over.
        eventually("its read fails", || async {
            queries.receive(1, wait).await.is_err()
        })
        .await;
        assert!(consumer.backlog().await.is_err());
        assert!(transport.dead_letters(None, 1).await.is_err());
        assert!(start.elapsed() < Duration::from_secs(30));
        if hangs {
            redis.resume();
            eventually("it answers", || async { transport.check().await.is_ok() }).await;
        }
    }
    let error = transport.check().await.unwrap_err().to_string();
    assert!(error.contains("connection refused"), "{error}");
}

#[tokio::test]
async fn consumers_and_receivers_close_in_seconds_when_the_server_is_gone() {
    for hangs in [true, false] {
        let mut redis = Redis::start();
        // The longest deadline of a call is no bound of the end.
        let builder = RedisTransport::builder(redis.url()).deadline(LONG);
        let transport = builder.connect().await.unwrap();
        let consumer = transport.consume(subscription(command("c"), "a"));
        let consumer = consumer.await.unwrap();
        let receiver = transport.listen(topic(Kind::Query, "q")).await.unwrap();
        append(&transport, &command("c"), [record("1")]).await;
        let _held = receive(&consumer, 1).await;
        // Both reads outlive their calls.
        let short = Duration::from_millis(20);
        _ = tokio::time::timeout(short, consumer.receive(1, LONG)).await;
        _ = tokio::time::timeout(short, receiver.receive(1, LONG)).await;
        match hangs {
            true => redis.pause(),
            false => redis.kill(),
        }
        let closing = async { tokio::join!(consumer.close(), receiver.close()) };
        let closed = tokio::time::timeout(LONG / 3, closing).await;
        let (consumer, _) = closed.expect("both have closed");
        consumer.expect_err("it could not leave the group");
        if hangs {
            redis.resume();
        }
    }
}

#[tokio::test]
async fn consumers_go_on_after_a_restart_that_lost_everything() {
    let mut redis = Redis::start();
    let transport = connect(&redis).await;
    let commands = transport
        .consume(subscription(command("c"), "a"))
        .await
        .unwrap();
    let events = Subscription::new(event("e"), "mail", "a");
    let events = transport.consume(events).await.unwrap();
    append(
        &transport,
        &command("c"),
        [record("lost"), keyed("k", "lost")],
    )
    .await;
    let held = receive(&commands, 2).await;
    redis.restart();
    eventually("it answers", || async { transport.check().await.is_ok() }).await;
    append(&transport, &command("c"), [record("1"), keyed("k", "2")]).await;
    let mut got = drain(&commands, 2).await;
    got.sort();
    assert_eq!(got, ["1", "2"]);
    // Events are dropped until the group is created again.
    let arrives = async || {
        append(&transport, &event("e"), [record("1")]).await;
        !receive_now(&events).await.is_empty()
    };
    eventually("events arrive", arrives).await;
    commands.renew(&leases(&held)).await.unwrap();
    commands.release(&leases(&held)).await.unwrap();
    commands.acknowledge(&leases(&held)).await.unwrap();
}

async fn receive_now(consumer: &static_bus_redis::RedisConsumer) -> Vec<String> {
    let got = consumer.receive(10, Duration::from_millis(100)).await;
    bodies(&got.unwrap_or_default())
}

#[tokio::test]
async fn scripts_are_loaded_again_after_the_server_has_lost_them() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let consumer = transport
        .consume(subscription(command("c"), "a"))
        .await
        .unwrap();
    append(&transport, &command("c"), [record("1")]).await;
    redis.command(&["SCRIPT", "FLUSH"]);
    consumer.claim(&["x".into()]).await.unwrap();
    let held = receive(&consumer, 1).await;
    redis.command(&["SCRIPT", "FLUSH"]);
    consumer.acknowledge(&claimed(&held[0], "x")).await.unwrap();
    redis.command(&["SCRIPT", "FLUSH"]);
    consumer.close().await.unwrap();
}

#[tokio::test]
async fn nothing_confirmed_is_lost_when_the_server_is_killed_under_load() {
    let mut redis = Redis::with(RedisOptions {
        persistence: Persistence::Always,
        ..RedisOptions::default()
    });
    let transport = connect(&redis).await;
    let consumer = transport.consume(short(command("c"), "a")).await.unwrap();
    let (mut confirmed, mut seen) = (HashSet::new(), HashSet::new());
    let mut number = 0;
    for round in 0..3 {
        let (enough, end) = (confirmed.len() + 200, Instant::now() + LONG);
        while confirmed.len() < enough {
            assert!(Instant::now() < end, "{} are confirmed", confirmed.len());
            let bodies: Vec<_> = (number..number + 20).map(|n| n.to_string()).collect();
            number += 20;
            let records = bodies.iter().enumerate().map(|(n, body)| {
                let record = match n % 2 {
                    0 => record(body.as_str()),
                    _ => keyed(body, body.as_str()),
                };
                (command("c"), record)
            });
            let append = transport.append(records.collect());
            let consume = async {
                if let Ok(got) = consumer.receive(100, Duration::from_millis(5)).await {
                    let _ = consumer.acknowledge(&leases(&got)).await;
                    return self::bodies(&got);
                }
                Vec::new()
            };
            let (results, got) = tokio::join!(append, consume);
            let taken = bodies.into_iter().zip(results);
            confirmed.extend(taken.filter_map(|(body, r)| r.is_ok().then_some(body)));
            seen.extend(got);
        }
        if round < 2 {
            redis.restart();
        }
    }
    let end = Instant::now() + LONG;
    while !confirmed.is_subset(&seen) {
        assert!(
            Instant::now() < end,
            "{} are missing",
            confirmed.difference(&seen).count()
        );
        if let Ok(got) = consumer.receive(100, Duration::from_millis(500)).await {
            let _ = consumer.acknowledge(&leases(&got)).await;
            seen.extend(bodies(&got));
        }
    }
}
