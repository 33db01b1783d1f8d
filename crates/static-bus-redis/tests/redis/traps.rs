//! Known ways to lose or double entries of a stream, and to leave keys behind.

use std::{collections::HashSet, time::Duration};

use static_bus_remote::{
    Transport,
    transport::{Consumer, Subscription, TransportErrorKind},
};

use crate::support::*;
use test_brokers::redis::Redis;

#[tokio::test]
async fn trimming_removes_nothing_that_a_group_has_not_read_and_acknowledged() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = event("e");
    let group = |name: &'static str| Subscription::new(topic.clone(), name, name);
    let quick = transport.consume(group("quick")).await.unwrap();
    let slow = transport.consume(group("slow")).await.unwrap();
    append(&transport, &topic, (0..3000).map(|n| record(n.to_string()))).await;
    drain(&quick, 3000).await;
    let read = receive(&slow, 1000).await;
    slow.acknowledge(&leases(&read[..600])).await.unwrap();
    let length = || async { integer(&redis.command(&["XLEN", "static-bus:{event:e}"])) };
    eventually("what both are done with is removed", || async {
        length().await < 2600
    })
    .await;
    // Two further rounds of trimming.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(length().await >= 2400);
    slow.release(&leases(&read[600..])).await.unwrap();
    let rest: HashSet<_> = drain(&slow, 2400).await.into_iter().collect();
    let expected: HashSet<_> = (600..3000).map(|n| n.to_string()).collect();
    assert_eq!(rest, expected);
    eventually("everything is removed", || async { length().await < 200 }).await;
}

#[tokio::test]
async fn what_is_acknowledged_behind_a_stuck_entry_is_removed_and_nothing_else() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = event("e");
    let group = |name: &'static str| Subscription::new(topic.clone(), name, name);
    let quick = transport.consume(group("quick")).await.unwrap();
    let slow = transport.consume(group("slow")).await.unwrap();
    let number = |n: usize| match n % 2 {
        0 => record(n.to_string()),
        _ => keyed("k", n.to_string()),
    };
    append(&transport, &topic, (0..6000).map(number)).await;
    let mut held = receive(&quick, 2).await;
    let mut bodies_held = bodies(&held);
    bodies_held.sort();
    assert_eq!(bodies_held, ["0", "1"], "the first of each stream");
    drain(&quick, 5998).await;
    let mut read = receive(&slow, 3000).await;
    let stuck = read.split_off(2990);
    slow.acknowledge(&leases(&read)).await.unwrap();
    let length = async || {
        let streams = redis.command(&["KEYS", "static-bus:{event*"]);
        let streams = streams
            .lines()
            .filter(|line| line.starts_with("static") && !line.contains("}:"));
        let lengths = streams.map(|key| integer(&redis.command(&["XLEN", key])));
        lengths.sum::<u64>()
    };
    // The stuck entries, what the slow group has not read, and the last entry that it has read.
    let left = 2 + 10 + 3000;
    eventually("what is acknowledged is removed", async || {
        let leases = [leases(&held), leases(&stuck)];
        quick.renew(&leases[0]).await.unwrap();
        slow.renew(&leases[1]).await.unwrap();
        length().await <= left + 2
    })
    .await;
    assert!(length().await >= left);
    slow.release(&leases(&stuck)).await.unwrap();
    let rest: HashSet<_> = drain(&slow, 3010).await.into_iter().collect();
    let mut seen: HashSet<_> = bodies(&read).into_iter().collect();
    seen.extend(rest);
    assert_eq!(seen.len(), 6000, "nothing is lost");
    let again = quick.backlog().await.unwrap();
    assert_eq!((again.pending, again.lag), (2, 0));
    quick
        .acknowledge(&leases(&std::mem::take(&mut held)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_new_group_of_a_trimmed_stream_reports_its_lag() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = event("e");
    let group = |name: &'static str| Subscription::new(topic.clone(), name, name);
    let first = transport.consume(group("first")).await.unwrap();
    append(&transport, &topic, (0..1000).map(|n| record(n.to_string()))).await;
    drain(&first, 1000).await;
    eventually("the stream is trimmed", || async {
        integer(&redis.command(&["XLEN", "static-bus:{event:e}"])) < 200
    })
    .await;
    let second = transport.consume(group("second")).await.unwrap();
    append(&transport, &topic, (0..70).map(|n| record(n.to_string()))).await;
    for consumer in [&first, &second] {
        assert_eq!(consumer.backlog().await.unwrap().lag, 70);
    }
    let read = receive(&second, 30).await;
    let backlog = second.backlog().await.unwrap();
    assert_eq!((backlog.pending, backlog.lag), (30, 40));
    // The server has no lag after the deletion of an entry from the middle.
    let last = redis.command(&["XREVRANGE", "static-bus:{event:e}", "+", "-", "COUNT", "2"]);
    let id = last.split("\r\n").nth(3).unwrap();
    let second_to_last = last.split("\r\n").filter(|l| l.contains('-')).nth(1);
    redis.command(&["XDEL", "static-bus:{event:e}", second_to_last.unwrap_or(id)]);
    assert_eq!(second.backlog().await.unwrap().lag, 39);
    second.acknowledge(&leases(&read)).await.unwrap();
}

#[tokio::test]
async fn a_renewal_does_not_count_as_a_delivery() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    let consumer = subscription(topic.clone(), "a");
    let consumer = transport.consume(consumer).await.unwrap();
    append(&transport, &topic, [record("1"), keyed("k", "2")]).await;
    let held = receive(&consumer, 2).await;
    for _ in 0..3 {
        consumer.renew(&leases(&held)).await.unwrap();
    }
    consumer.release(&leases(&held)).await.unwrap();
    let again = receive(&consumer, 2).await;
    assert!(again.iter().all(|d| d.attempt == 1), "{again:?}");
}

#[tokio::test]
async fn a_late_renewal_neither_takes_nor_revives_an_entry() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    let a = transport.consume(short(topic.clone(), "a")).await.unwrap();
    append(&transport, &topic, [record("1"), record("2")]).await;
    let late = receive(&a, 2).await;
    let b = transport.consume(short(topic.clone(), "b")).await.unwrap();
    let mut taken = receive(&b, 2).await;
    taken.sort_by_key(body);
    b.acknowledge(&leases(&taken[..1])).await.unwrap();
    a.renew(&leases(&late)).await.unwrap();
    let pending = redis.command(&[
        "XPENDING",
        "static-bus:{command:c}",
        "handlers",
        "-",
        "+",
        "9",
    ]);
    assert!(pending.starts_with("*1\r\n"), "one is pending: {pending}");
    assert!(
        pending.contains("$1\r\nb\r\n"),
        "it is still b's: {pending}"
    );
    // A late release does not release the entries of b.
    a.release(&leases(&late)).await.unwrap();
    let pending = redis.command(&[
        "XPENDING",
        "static-bus:{command:c}",
        "handlers",
        "-",
        "+",
        "9",
    ]);
    assert!(
        pending.contains("$1\r\nb\r\n"),
        "it is still b's: {pending}"
    );
}

#[tokio::test]
async fn closing_releases_held_and_buffered_entries_and_removes_the_name() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    let with_long_lease = |member| {
        let mut subscription = subscription(topic.clone(), member);
        subscription.lease = Duration::from_secs(3600);
        subscription
    };
    let a = transport.consume(with_long_lease("a")).await.unwrap();
    let records = (0..400).map(|n| match n % 2 {
        0 => record(n.to_string()),
        _ => keyed(&format!("k{n}"), n.to_string()),
    });
    append(&transport, &topic, records).await;
    // Some entries are held, others are buffered.
    let held = receive(&a, 20).await;
    a.acknowledge(&leases(&held[..5])).await.unwrap();
    a.close().await.unwrap();
    a.close().await.unwrap();
    assert!(a.receive(1, Duration::ZERO).await.is_err());
    let b = transport.consume(with_long_lease("b")).await.unwrap();
    let rest = receive(&b, 395).await;
    let seen: HashSet<_> = bodies(&rest).into_iter().collect();
    assert_eq!(seen.len(), 395, "each once");
    assert!(rest.iter().all(|d| d.attempt == 1), "released: {rest:?}");
    let names = redis.command(&["XINFO", "CONSUMERS", "static-bus:{command:c}", "handlers"]);
    assert!(!names.contains("$1\r\na\r\n"), "its name is gone: {names}");
}

#[tokio::test]
async fn a_consumer_reads_nothing_before_it_receives() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    let idle = transport
        .consume(subscription(topic.clone(), "idle"))
        .await
        .unwrap();
    append(&transport, &topic, (0..50).map(|n| record(n.to_string()))).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let backlog = idle.backlog().await.unwrap();
    assert_eq!((backlog.pending, backlog.lag), (0, 50));
    assert!(backlog.oldest >= Duration::from_millis(1000));
    assert_eq!(receive(&idle, 7).await.len(), 7);
    assert_eq!(idle.backlog().await.unwrap().pending, 7);
}

#[tokio::test]
async fn an_event_without_groups_leaves_no_key() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    append(&transport, &event("e"), [record("1"), keyed("k", "2")]).await;
    let keys = redis.command(&["KEYS", "static-bus:{event*"]);
    assert_eq!(keys, "*0\r\n");
}

#[tokio::test]
async fn a_position_that_is_no_entry_of_dead_letters_is_refused() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let listed = transport.dead_letters(Some("nonsense"), 1).await;
    let removed = transport
        .remove_dead_letters(&["nonsense".to_owned()])
        .await;
    for error in [listed.unwrap_err(), removed.unwrap_err()] {
        assert_eq!(error.kind(), TransportErrorKind::Refused);
        assert!(error.to_string().contains("nonsense"), "{error}");
    }
}

#[tokio::test]
async fn a_consumer_reads_only_its_own_namespace() {
    let redis = Redis::start();
    let connect = |namespace: &'static str| {
        let config = redis_at(redis.url());
        config.namespace(namespace).connect()
    };
    let (a, b) = (connect("a").await.unwrap(), connect("b").await.unwrap());
    append(&a, &command("c"), [record("a")]).await;
    append(&b, &command("c"), [record("b")]).await;
    let consumer = b.consume(subscription(command("c"), "x")).await.unwrap();
    assert_eq!(drain(&consumer, 1).await, ["b"]);
    assert_eq!(consumer.backlog().await.unwrap().lag, 0);
}
