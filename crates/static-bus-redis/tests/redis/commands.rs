//! Commands and events: the entries of streams, and their delivery counts.

use std::time::Duration;

use static_bus_remote::{
    Transport,
    transport::{Consumer, Subscription},
};

use crate::support::*;
use test_brokers::redis::Redis;

#[tokio::test]
async fn the_place_of_a_record_is_the_key_and_the_id_of_its_entry() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("orders.place");
    append(&transport, &topic, [record("1"), keyed("k", "2")]).await;
    let consumer = transport.consume(subscription(topic, "a")).await.unwrap();
    for delivery in receive(&consumer, 2).await {
        let place = consumer.place(&delivery.receipt).unwrap();
        let (stream, id) = place.split_once(' ').unwrap();
        let entry = redis.command(&["XRANGE", stream, id, id]);
        let field = format!("\n\n{}\r\n", body(&delivery));
        assert!(entry.contains(&field), "{place}: {entry}");
    }
}

#[tokio::test]
async fn a_released_record_keeps_its_delivery_count() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    append(&transport, &topic, [record("1"), keyed("k", "2")]).await;
    let gone = transport.consume(short(topic.clone(), "a")).await.unwrap();
    assert_eq!(receive(&gone, 2).await.len(), 2);
    drop(gone);
    // A lease that a busy machine does not outlast.
    let mut patient = subscription(topic.clone(), "b");
    patient.lease = Duration::from_secs(5);
    let b = transport.consume(patient).await.unwrap();
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
async fn a_group_of_an_event_begins_with_the_next_record_in_every_partition() {
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
