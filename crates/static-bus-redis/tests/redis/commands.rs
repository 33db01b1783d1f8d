//! Commands and events: nothing lost, nothing twice.

use std::time::Duration;

use static_bus_remote::{
    Transport,
    transport::{Consumer, Subscription},
};

use crate::support::*;
use test_brokers::redis::Redis;

#[tokio::test]
async fn a_command_is_handed_out_once_and_gone_when_acknowledged() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("orders.place");
    append(&transport, &topic, [record("1"), keyed("k", "2")]).await;
    let consumer = transport.consume(subscription(topic, "a")).await.unwrap();
    let mut deliveries = receive(&consumer, 2).await;
    deliveries.sort_by_key(body);
    assert_eq!(*deliveries[0].record, record("1"));
    assert_eq!(*deliveries[1].record, keyed("k", "2"));
    assert_eq!(deliveries[1].attempt, 1);
    assert_eq!(consumer.backlog().await.unwrap().pending, 2);
    let place = consumer.place(&deliveries[1].receipt).unwrap();
    let (stream, id) = place.split_once(' ').unwrap();
    let entry = redis.command(&["XRANGE", stream, id, id]);
    assert!(
        entry.contains("\r\nk\r\n") && entry.contains("\r\n2\r\n"),
        "{place}: {entry}"
    );
    consumer.acknowledge(&leases(&deliveries)).await.unwrap();
    let backlog = consumer.backlog().await.unwrap();
    assert_eq!((backlog.pending, backlog.lag), (0, 0));
    let more = consumer.receive(10, Duration::from_millis(50)).await;
    assert!(more.unwrap().is_empty());
}

#[tokio::test]
async fn a_released_record_comes_again() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    append(&transport, &topic, [record("1"), keyed("k", "2")]).await;
    let consumer = transport.consume(subscription(topic, "a")).await.unwrap();
    let first = receive(&consumer, 2).await;
    consumer.release(&leases(&first)).await.unwrap();
    let again = receive(&consumer, 2).await;
    assert!(again.iter().all(|d| d.attempt == 1), "{again:?}");
    consumer.acknowledge(&leases(&again)).await.unwrap();
}

#[tokio::test]
async fn a_record_that_is_given_back_counts_as_often_as_before() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    append(&transport, &topic, [record("1"), keyed("k", "2")]).await;
    let gone = transport.consume(short(topic.clone(), "a")).await.unwrap();
    assert_eq!(receive(&gone, 2).await.len(), 2);
    drop(gone);
    let b = transport.consume(short(topic.clone(), "b")).await.unwrap();
    let again = receive(&b, 2).await;
    append(&transport, &topic, [record("3"), keyed("k", "4")]).await;
    let mut all = [again, receive(&b, 2).await].concat();
    for closed in [false, true] {
        match closed {
            false => b.release(&leases(&all)).await.unwrap(),
            true => b.close().await.unwrap(),
        }
        let other = transport.consume(subscription(topic.clone(), "c")).await;
        let consumer = if closed { &other.unwrap() } else { &b };
        all = receive(consumer, 4).await;
        let mut counts: Vec<_> = all.iter().map(|d| (body(d), d.attempt)).collect();
        counts.sort();
        let expected = [("1", 2), ("2", 2), ("3", 1), ("4", 1)];
        assert_eq!(counts, expected.map(|(body, n)| (body.to_owned(), n)));
    }
}

#[tokio::test]
async fn a_record_whose_holder_is_gone_goes_to_another() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    append(&transport, &topic, [record("1"), keyed("k", "2")]).await;
    let gone = transport.consume(short(topic.clone(), "a")).await.unwrap();
    assert_eq!(receive(&gone, 2).await.len(), 2);
    drop(gone);
    let other = transport.consume(short(topic, "b")).await.unwrap();
    let again = receive(&other, 2).await;
    assert!(again.iter().all(|d| d.attempt == 2), "{again:?}");
}

#[tokio::test]
async fn thirty_thousand_commands_wait_for_their_first_consumer() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    for batch in 0..30 {
        let records = (0..1000).map(|n| record((batch * 1000 + n).to_string()));
        append(&transport, &topic, records).await;
    }
    let consumer = transport.consume(subscription(topic, "a")).await.unwrap();
    assert_eq!(consumer.backlog().await.unwrap().lag, 30_000);
    let got = drain(&consumer, 30_000).await;
    assert_eq!(got.len(), 30_000, "each once");
}

#[tokio::test]
async fn a_group_of_an_event_does_not_get_what_was_before_it() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = event("e");
    let group = |name: &'static str| Subscription::new(topic.clone(), name, name);
    append(&transport, &topic, [record("0")]).await;
    let first = transport.consume(group("first")).await.unwrap();
    append(&transport, &topic, [record("1"), keyed("k", "2")]).await;
    let second = transport.consume(group("second")).await.unwrap();
    append(&transport, &topic, [record("3"), keyed("k", "4")]).await;
    let sorted = |mut bodies: Vec<String>| {
        bodies.sort();
        bodies
    };
    assert_eq!(sorted(drain(&first, 4).await), ["1", "2", "3", "4"]);
    assert_eq!(sorted(drain(&second, 2).await), ["3", "4"]);
}
