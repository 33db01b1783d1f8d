//! Long backlogs: taking costs the records that are taken, not those that wait.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use static_bus_remote::{
    DEAD_LETTERS, Transport,
    transport::{Consumer, Lease, Record, Subscription},
};

use super::{
    fresh,
    support::{LONG, acknowledge, append, bodies, command, join, keyed, record},
};

/// A lease that outlasts the test.
const NEVER: Duration = Duration::from_secs(3600);

/// The shortest of ten times that it takes to take and to acknowledge a hundred records, with this many waiting.
async fn taking(records: usize, make: impl Fn(usize) -> Record) -> Duration {
    let (_place, transport) = fresh().await;
    let topic = command("orders.place");
    let member = join(&transport, &topic, "member").await;
    for from in (0..records).step_by(1_000) {
        let some = (from..records.min(from + 1_000)).map(&make);
        append(&transport, &topic, some).await.unwrap();
    }
    let mut shortest = Duration::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        let mut count = 0;
        while count < 100 {
            let got = member.receive(100 - count, LONG).await.unwrap();
            acknowledge(&member, &got).await.unwrap();
            count += got.len();
        }
        shortest = shortest.min(start.elapsed());
    }
    shortest
}

#[tokio::test]
async fn taking_does_not_get_slower_with_the_backlog() {
    let make = |n: usize| match n % 2 {
        0 => record(n),
        _ => keyed(&format!("customer {n}"), n),
    };
    let (short, long) = (taking(2_000, make).await, taking(100_000, make).await);
    // A search of all that wait would take fifty times as long.
    assert!(
        long < 8 * short,
        "{long:?}, and {short:?} of a short backlog"
    );
}

/// A worker with one place asks for one record at a time.
#[tokio::test]
async fn of_records_that_are_taken_one_by_one_half_have_keys() {
    let (_place, transport) = fresh().await;
    let topic = command("orders.place");
    let member = join(&transport, &topic, "member").await;
    let keyless = (0..50).map(record);
    let keyed = (0..50).map(|n| keyed("customer", n));
    append(&transport, &topic, keyless.chain(keyed))
        .await
        .unwrap();
    let mut with_key = 0;
    for _ in 0..40 {
        let got = member.receive(1, LONG).await.unwrap();
        acknowledge(&member, &got).await.unwrap();
        with_key += usize::from(got[0].record.key.is_some());
    }
    assert_eq!(with_key, 20);
}

#[tokio::test]
async fn dead_letters_are_read_in_pages_of_a_megabyte() {
    let (_place, transport) = fresh().await;
    let letter = record("x".repeat(300_000));
    let letters = vec![letter; 5];
    append(&transport, &DEAD_LETTERS, letters).await.unwrap();
    let first = transport.dead_letters(None, 1_000).await.unwrap();
    let second = transport
        .dead_letters(Some(&first[2].position), 1_000)
        .await;
    let second = second.unwrap();
    assert_eq!((first.len(), second.len()), (3, 2));
    let third = transport
        .dead_letters(Some(&second[1].position), 1_000)
        .await;
    assert!(third.unwrap().is_empty());
    let large = record("x".repeat(3_000_000));
    append(&transport, &DEAD_LETTERS, [large]).await.unwrap();
    let fourth = transport
        .dead_letters(Some(&second[1].position), 1_000)
        .await;
    assert_eq!(fourth.unwrap().len(), 1, "one at least");
}

/// The shortest of ten times that it takes to acknowledge a record with its key, while this many keys of another group are to be
/// forgotten.
async fn confirming(keys: usize) -> Duration {
    let (_place, transport) = fresh().await;
    let topic = command("orders.place");
    let mut silent = Subscription::new(topic.clone(), "silent", "silent");
    silent.lease = Duration::from_millis(1);
    silent.deduplication = Some(Duration::from_millis(1));
    let silent = transport.consume(silent).await.unwrap();
    for from in (0..keys).step_by(1_000) {
        let some: Vec<Arc<str>> = (from..from + 1_000)
            .map(|n| format!("key {n}").into())
            .collect();
        silent.claim(&some).await.unwrap();
    }
    let member = join(&transport, &topic, "member").await;
    let mut shortest = Duration::MAX;
    for n in 0..10 {
        append(&transport, &topic, [record(n)]).await.unwrap();
        let got = member.receive(1, LONG).await.unwrap();
        let key: Arc<str> = format!("of the member {n}").into();
        member.claim(std::slice::from_ref(&key)).await.unwrap();
        let lease = Lease {
            receipt: got[0].receipt,
            claim: Some(key),
        };
        let start = Instant::now();
        member.acknowledge(&[lease]).await.unwrap();
        shortest = shortest.min(start.elapsed());
    }
    shortest
}

#[tokio::test]
async fn acknowledging_does_not_get_slower_with_the_keys_of_a_silent_group() {
    let (few, many) = (confirming(0).await, confirming(100_000).await);
    assert!(many < 8 * few, "{many:?}, and {few:?} without such keys");
}

#[tokio::test]
async fn records_behind_a_held_key_with_a_long_backlog_are_taken_at_once() {
    let (_place, transport) = fresh().await;
    let topic = command("orders.place");
    append(&transport, &topic, [keyed("held", 0)])
        .await
        .unwrap();
    let holder = Subscription::new(topic.clone(), "handlers", "holder").with_lease(NEVER);
    let holder = transport.consume(holder).await.unwrap();
    assert_eq!(holder.receive(1, LONG).await.unwrap().len(), 1);
    for from in (0..20_000).step_by(1_000) {
        let some = (from..from + 1_000).map(|n| keyed("held", n));
        append(&transport, &topic, some).await.unwrap();
    }
    append(
        &transport,
        &topic,
        [keyed("free", "free"), record("without")],
    )
    .await
    .unwrap();
    let member = join(&transport, &topic, "member").await;
    let mut came = Vec::new();
    while came.len() < 2 {
        let got = member.receive(10, LONG).await.unwrap();
        assert!(!got.is_empty());
        came.extend(bodies(&got));
    }
    came.sort();
    assert_eq!(came, ["free", "without"]);
    let start = Instant::now();
    append(&transport, &topic, [keyed("later", "later")])
        .await
        .unwrap();
    assert_eq!(bodies(&member.receive(10, LONG).await.unwrap()), ["later"]);
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}
