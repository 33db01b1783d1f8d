//! What the broker in this process promises, in tokio's paused time: nothing here waits for a clock.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use static_bus::remote::{
    Headers, MemoryBroker, Transport,
    memory::{MemoryConsumer, Receipt},
    transport::{Backlog, Claim, Consumer, Delivery, Kind, Lease, Record, Subscription, Topic},
};
use tokio::time::{advance, sleep, timeout};

const LEASE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(3600);

fn topic(kind: Kind) -> Topic {
    let name = "test".into();
    Topic { kind, name }
}

fn record(body: impl ToString) -> Record {
    Record {
        body: body.to_string().into(),
        ..Record::default()
    }
}

fn keyed(key: &str, body: impl ToString) -> Record {
    let key = Some(key.into());
    Record {
        key,
        ..record(body)
    }
}

fn expiring(body: impl ToString, after: Duration) -> Record {
    let expires = Some(after);
    Record {
        expires,
        ..record(body)
    }
}

async fn append(broker: &MemoryBroker, kind: Kind, records: impl IntoIterator<Item = Record>) {
    let records = records.into_iter().map(|record| (topic(kind), record));
    for result in broker.append(records.collect()).await {
        result.unwrap();
    }
}

async fn member(broker: &MemoryBroker, kind: Kind, name: &str) -> MemoryConsumer {
    let subscription = Subscription::new(topic(kind), "handlers", name);
    broker.consume(subscription).await.unwrap()
}

async fn group(broker: &MemoryBroker, kind: Kind, group: &'static str) -> MemoryConsumer {
    let subscription = Subscription::new(topic(kind), group, "one");
    broker.consume(subscription).await.unwrap()
}

/// What is there now.
async fn now(consumer: &MemoryConsumer, max: usize) -> Vec<Delivery<Receipt>> {
    consumer.receive(max, Duration::ZERO).await.unwrap()
}

fn bodies(deliveries: &[Delivery<Receipt>]) -> Vec<&str> {
    let body = |delivery: &Delivery<Receipt>| str::from_utf8(&delivery.record.body).unwrap();
    // The bodies live as long as the deliveries.
    deliveries
        .iter()
        .map(|delivery| {
            let _ = body(delivery);
            str::from_utf8(&delivery.record.body).unwrap()
        })
        .collect()
}

fn leases(deliveries: &[Delivery<Receipt>]) -> Vec<Lease<Receipt>> {
    deliveries
        .iter()
        .map(|delivery| Lease {
            receipt: delivery.receipt.clone(),
            claim: None,
        })
        .collect()
}

fn claimed(delivery: &Delivery<Receipt>, key: &Arc<str>) -> [Lease<Receipt>; 1] {
    let (receipt, claim) = (delivery.receipt.clone(), Some(key.clone()));
    [Lease { receipt, claim }]
}

async fn acknowledge(consumer: &MemoryConsumer, deliveries: &[Delivery<Receipt>]) {
    consumer.acknowledge(&leases(deliveries)).await.unwrap();
}

async fn release(consumer: &MemoryConsumer, deliveries: &[Delivery<Receipt>]) {
    consumer.release(&leases(deliveries)).await.unwrap();
}

async fn claim(consumer: &MemoryConsumer, key: &Arc<str>) -> Claim {
    consumer.claim(std::slice::from_ref(key)).await.unwrap()[0]
}

// Topics.

#[tokio::test(start_paused = true)]
async fn commands_wait_for_the_first_group() {
    let broker = MemoryBroker::new();
    append(&broker, Kind::Command, (0..30_000).map(record)).await;
    let consumer = member(&broker.clone(), Kind::Command, "one").await;
    assert_eq!(consumer.backlog().await.unwrap().lag, 30_000);

    let mut expected = 0;
    while expected < 30_000 {
        let got = now(&consumer, 1000).await;
        assert_eq!(got.len(), 1000);
        for body in bodies(&got) {
            assert_eq!(body, expected.to_string());
            expected += 1;
        }
        acknowledge(&consumer, &got).await;
    }
    assert_eq!(consumer.backlog().await.unwrap(), Backlog::default());
}

#[tokio::test(start_paused = true)]
async fn a_later_group_of_commands_gets_what_is_not_settled() {
    let broker = MemoryBroker::new();
    let records = [record(0), keyed("k", 1), record(2), keyed("k", 3)];
    append(&broker, Kind::Command, records).await;
    let first = group(&broker, Kind::Command, "first").await;
    let got = now(&first, 3).await;
    acknowledge(&first, &got[..1]).await;

    let second = group(&broker, Kind::Command, "second").await;
    assert_eq!(bodies(&now(&second, 9).await), ["1", "2", "3"]);
    append(&broker, Kind::Command, [record(4)]).await;
    assert_eq!(bodies(&now(&first, 9).await), ["3", "4"]);
    assert_eq!(bodies(&now(&second, 9).await), ["4"]);
}

#[tokio::test(start_paused = true)]
async fn a_group_of_events_gets_all_that_follow() {
    let broker = MemoryBroker::new();
    append(&broker, Kind::Event, [record("before all")]).await;
    let first = group(&broker, Kind::Event, "first").await;
    append(&broker, Kind::Event, [record("one")]).await;
    let second = group(&broker, Kind::Event, "second").await;
    append(&broker, Kind::Event, [record("two")]).await;

    assert_eq!(bodies(&now(&first, 9).await), ["one", "two"]);
    assert_eq!(bodies(&now(&second, 9).await), ["two"]);
    second.close().await.unwrap();
    append(&broker, Kind::Event, [record("three")]).await;
    let second = group(&broker, Kind::Event, "second").await;
    assert_eq!(bodies(&now(&second, 9).await), ["two", "three"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_freed_when_every_group_has_settled_it() {
    let broker = MemoryBroker::new();
    let (first, second) = (
        group(&broker, Kind::Event, "first").await,
        group(&broker, Kind::Event, "second").await,
    );
    let body = bytes::Bytes::from(vec![1; 100]);
    let sent = Record {
        body: body.clone(),
        ..Record::default()
    };
    append(&broker, Kind::Event, [sent]).await;
    for (consumer, freed) in [(first, false), (second, true)] {
        let got = now(&consumer, 9).await;
        assert_eq!(got[0].record.body.as_ptr(), body.as_ptr(), "never copied");
        acknowledge(&consumer, &got).await;
        drop(got);
        assert_eq!(body.is_unique(), freed);
    }
}

#[tokio::test(start_paused = true)]
async fn queries_are_handed_out_once_and_not_after_their_deadline() {
    let broker = MemoryBroker::new();
    for kind in [Kind::Query, Kind::Reply] {
        let second = Duration::from_secs(1);
        let records = [expiring("late", second), expiring("due", 3 * second)];
        append(&broker, kind, records).await;
        append(&broker, kind, [keyed("k", 1), keyed("k", 2)]).await;
        advance(2 * second).await;

        let (one, two) = (
            member(&broker, kind, "one").await,
            member(&broker, kind, "two").await,
        );
        let backlog = one.backlog().await.unwrap();
        assert_eq!((backlog.pending, backlog.lag), (0, 3));
        assert_eq!(backlog.oldest, 2 * second);
        let got = now(&one, 2).await;
        assert_eq!(bodies(&got), ["due", "1"]);
        assert_eq!(got[0].attempt, 1);
        assert_eq!(bodies(&now(&two, 9).await), ["2"]);
        assert_eq!(two.backlog().await.unwrap(), Backlog::default());

        // Nothing is left to settle.
        release(&one, &got).await;
        one.close().await.unwrap();
        advance(LONG).await;
        assert!(now(&two, 9).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn replies_that_nobody_fetches_do_not_pile_up() {
    let broker = MemoryBroker::new();
    let body = bytes::Bytes::from(vec![1; 100]);
    let first = Record {
        body: body.clone(),
        expires: Some(Duration::from_secs(1)),
        ..Record::default()
    };
    append(&broker, Kind::Reply, [first]).await;
    advance(Duration::from_secs(1)).await;
    let more = (0..2000).map(|n| expiring(n, LONG));
    append(&broker, Kind::Reply, more).await;
    assert!(body.is_unique());
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_kept_in_order_until_they_are_removed() {
    let broker = MemoryBroker::new();
    append(&broker, Kind::DeadLetter, (0..12).map(record)).await;
    let all = broker.dead_letters(None, 100).await.unwrap();
    assert!(all.iter().map(|dead| &dead.position).is_sorted());
    let contents = |dead: &[_]| dead.iter().map(body).collect::<Vec<_>>();
    fn body(dead: &static_bus::remote::transport::DeadLetterRecord) -> String {
        String::from_utf8(dead.record.body.to_vec()).unwrap()
    }
    assert_eq!(contents(&all)[..3], ["0", "1", "2"]);
    assert_eq!(contents(&all).len(), 12);

    let next = broker.dead_letters(Some(&all[8].position), 2).await;
    assert_eq!(contents(&next.unwrap()), ["9", "10"]);
    let gone: Vec<_> = all[..11].iter().map(|dead| dead.position.clone()).collect();
    for _ in 0..2 {
        broker.remove_dead_letters(&gone).await.unwrap();
    }
    let left = broker.dead_letters(None, 100).await.unwrap();
    assert_eq!(contents(&left), ["11"]);
    append(&broker, Kind::DeadLetter, [record("new")]).await;
    let new = broker.dead_letters(Some(&left[0].position), 9).await;
    assert_eq!(contents(&new.unwrap()), ["new"]);

    let subscription = Subscription::new(topic(Kind::DeadLetter), "g", "m");
    let refused = broker.consume(subscription).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "memory: dead letters have no consumers: read them with `dead_letters`"
    );
}

// Leases.

#[tokio::test(start_paused = true)]
async fn a_record_arrives_as_it_was_appended() {
    let broker = MemoryBroker::new();
    let consumer = member(&broker, Kind::Command, "one").await;
    let sent = Record {
        headers: Headers::from_iter([("type", "orders.place"), ("note", "100 %")]),
        body: vec![0, 159, 146, 150].into(),
        key: Some("order-1".into()),
        expires: Some(LONG),
    };
    append(&broker, Kind::Command, [sent.clone()]).await;
    assert_eq!(now(&consumer, 1).await[0].record, sent);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_renewed_runs_out() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    append(&broker, Kind::Command, (0..3).map(record)).await;
    let got = now(&one, 3).await;
    advance(LEASE / 2).await;
    one.renew(&leases(&got[1..2])).await.unwrap();

    let started = tokio::time::Instant::now();
    let again = two.receive(9, LONG).await.unwrap();
    assert_eq!(bodies(&again), ["0", "2"]);
    assert_eq!([again[0].attempt, again[1].attempt], [2, 2]);
    assert!(started.elapsed() >= LEASE / 2 && started.elapsed() < LEASE);

    // Who lost the lease can neither renew it nor give the record away.
    advance(LEASE / 3).await;
    one.renew(&leases(&got[..1])).await.unwrap();
    release(&one, &got[..1]).await;
    assert!(now(&one, 9).await.is_empty());
    acknowledge(&two, &again).await;
    acknowledge(&one, &got[1..2]).await;
    assert_eq!(one.backlog().await.unwrap(), Backlog::default());
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_late_is_done_all_the_same() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    let records = [record(0), keyed("k", 1), keyed("k", 2), keyed("k", 3)];
    append(&broker, Kind::Command, records).await;
    let lost = now(&one, 4).await;
    advance(LEASE).await;
    acknowledge(&one, &lost[..2]).await;
    let again = two.receive(1, LONG).await.unwrap();
    assert_eq!(bodies(&again), ["2"]);

    // The one that another member holds is done too, but its key stays with that member.
    acknowledge(&one, &lost[2..3]).await;
    assert!(now(&one, 9).await.is_empty());
    drop(two);
    let last = one.receive(9, LONG).await.unwrap();
    assert_eq!(bodies(&last), ["3"]);
    acknowledge(&one, &last).await;
    assert_eq!(one.backlog().await.unwrap(), Backlog::default());
}

#[tokio::test(start_paused = true)]
async fn what_is_released_comes_first_in_its_order() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    append(&broker, Kind::Command, (0..6).map(record)).await;
    let got = now(&one, 4).await;
    let mut back = got.clone();
    back.swap_remove(1);
    release(&one, &back).await;
    let again = now(&two, 9).await;
    assert_eq!(bodies(&again), ["0", "2", "3", "4", "5"]);
    let attempts: Vec<_> = again.iter().map(|delivery| delivery.attempt).collect();
    assert_eq!(attempts, [2, 2, 2, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_closes_gives_back_everything_at_once() {
    let broker = MemoryBroker::new();
    let one = Arc::new(member(&broker, Kind::Command, "one").await);
    let two = member(&broker, Kind::Command, "two").await;
    let records = [record(0), keyed("k", 1), keyed("k", 2), keyed("k", 3)];
    append(&broker, Kind::Command, records).await;
    let key: Arc<str> = "idempotent".into();
    let got = now(&one, 3).await;
    assert_eq!(claim(&one, &key).await, Claim::Granted);

    one.close().await.unwrap();
    assert_eq!(bodies(&now(&two, 9).await), ["0", "1", "2", "3"]);
    assert_eq!(claim(&two, &key).await, Claim::Granted);

    // Afterwards it gets nothing, and what it says is no harm.
    let closed = "memory: this consumer is closed: subscribe again to receive more";
    let refused = one.receive(1, LONG).await.unwrap_err();
    assert_eq!(refused.to_string(), closed);
    let refused = one.claim(std::slice::from_ref(&key)).await.unwrap_err();
    assert_eq!(refused.to_string(), closed);
    release(&one, &got).await;
    one.close().await.unwrap();
    drop(one);
    assert_eq!(two.backlog().await.unwrap().pending, 4);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_closes_no_longer_waits() {
    let broker = MemoryBroker::new();
    let one = Arc::new(member(&broker, Kind::Command, "one").await);
    let waiting = tokio::spawn({
        let one = one.clone();
        async move { one.receive(1, LONG).await.is_err() }
    });
    tokio::task::yield_now().await;
    one.close().await.unwrap();
    assert!(timeout(LEASE, waiting).await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn each_member_takes_with_its_own_lease() {
    let broker = MemoryBroker::new();
    let mut brief = Subscription::new(topic(Kind::Command), "handlers", "brief");
    brief.lease = Duration::from_secs(1);
    brief.deduplication = None;
    let brief = broker.consume(brief).await.unwrap();
    let long = member(&broker, Kind::Command, "long").await;
    append(&broker, Kind::Command, (0..2).map(record)).await;
    let (a, b) = (now(&long, 1).await, now(&brief, 1).await);
    let keys: [Arc<str>; 2] = ["a".into(), "b".into()];
    assert_eq!(claim(&long, &keys[0]).await, Claim::Granted);
    assert_eq!(claim(&brief, &keys[1]).await, Claim::Granted);
    advance(Duration::from_secs(1)).await;
    assert_eq!(bodies(&now(&long, 9).await), ["1"]);

    long.acknowledge(&claimed(&a[0], &keys[0])).await.unwrap();
    brief.acknowledge(&claimed(&b[0], &keys[1])).await.unwrap();
    assert_eq!(claim(&brief, &keys[0]).await, Claim::Done);
    assert_eq!(claim(&brief, &keys[1]).await, Claim::Granted);
}

#[tokio::test(start_paused = true)]
async fn the_backlog_says_how_far_a_group_is_behind() {
    let broker = MemoryBroker::new();
    let one = member(&broker, Kind::Command, "one").await;
    let second = Duration::from_secs(1);
    append(&broker, Kind::Command, [record(0)]).await;
    advance(second).await;
    append(&broker, Kind::Command, [keyed("k", 1), keyed("k", 2)]).await;
    advance(second).await;
    append(&broker, Kind::Command, [record(3)]).await;
    advance(second).await;
    let backlog = |pending, lag, oldest: u32| Backlog {
        pending,
        lag,
        oldest: oldest * second,
    };
    assert_eq!(one.backlog().await.unwrap(), backlog(0, 4, 3));
    let got = now(&one, 2).await;
    assert_eq!(one.backlog().await.unwrap(), backlog(2, 2, 3));
    acknowledge(&one, &got[..1]).await;
    assert_eq!(one.backlog().await.unwrap(), backlog(1, 2, 2));
    let rest = now(&one, 9).await;
    acknowledge(&one, &got[1..]).await;
    acknowledge(&one, &rest[..1]).await;
    assert_eq!(one.backlog().await.unwrap(), backlog(1, 0, 1));
    advance(LEASE).await;
    assert_eq!(one.backlog().await.unwrap(), backlog(0, 1, 31));
}

// Deduplication keys.

#[tokio::test(start_paused = true)]
async fn a_claim_is_held_until_it_is_settled_or_runs_out() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    append(&broker, Kind::Command, (0..2).map(record)).await;
    let got = now(&one, 2).await;
    let key: Arc<str> = "k".into();
    let claims = one.claim(&[key.clone(), key.clone(), "other".into()]).await;
    let expected = [Claim::Granted, Claim::Held, Claim::Granted];
    assert_eq!(claims.unwrap(), expected);
    assert_eq!(claim(&two, &key).await, Claim::Held);

    // Given up.
    one.release(&claimed(&got[0], &key)).await.unwrap();
    assert_eq!(claim(&two, &key).await, Claim::Granted);
    // Not by one who does not hold it.
    one.release(&claimed(&got[1], &key)).await.unwrap();
    assert_eq!(claim(&one, &key).await, Claim::Held);
    // Run out, unless renewed.
    let again = now(&two, 2).await;
    advance(LEASE / 2).await;
    two.renew(&claimed(&again[0], &key)).await.unwrap();
    advance(LEASE / 2).await;
    assert_eq!(claim(&one, &key).await, Claim::Held);
    advance(LEASE / 2).await;
    assert_eq!(claim(&one, &key).await, Claim::Granted);
    // Confirmed, and remembered for ten minutes.
    two.acknowledge(&claimed(&again[0], &key)).await.unwrap();
    assert_eq!(claim(&one, &key).await, Claim::Done);
    advance(Duration::from_secs(599)).await;
    assert_eq!(claim(&two, &key).await, Claim::Done);
    advance(Duration::from_secs(1)).await;
    assert_eq!(claim(&two, &key).await, Claim::Granted);
}

#[tokio::test(start_paused = true)]
async fn keys_are_claimed_within_a_group() {
    let broker = MemoryBroker::new();
    let key: Arc<str> = "k".into();
    for name in ["first", "second"] {
        let consumer = group(&broker, Kind::Event, name).await;
        assert_eq!(claim(&consumer, &key).await, Claim::Granted);
    }
}

#[tokio::test(start_paused = true)]
async fn old_keys_are_forgotten() {
    let broker = MemoryBroker::new();
    let one = member(&broker, Kind::Command, "one").await;
    let keys: Vec<Arc<str>> = (0..1000).map(|n| n.to_string().into()).collect();
    append(&broker, Kind::Command, (0..500).map(record)).await;
    one.claim(&keys).await.unwrap();
    // Half of them are confirmed, and of the others nobody is heard again.
    for (delivery, key) in now(&one, 500).await.iter().zip(&keys) {
        one.acknowledge(&claimed(delivery, key)).await.unwrap();
    }
    let known = |keys: &[Arc<str>]| keys.iter().filter(|k| Arc::strong_count(k) > 1).count();
    assert_eq!(known(&keys), 1000);
    advance(LONG).await;
    let more: Vec<Arc<str>> = (0..2000).map(|n| format!("new {n}").into()).collect();
    one.claim(&more).await.unwrap();
    assert_eq!(known(&keys), 0);
}

// The order of keys.

#[tokio::test(start_paused = true)]
async fn a_key_stays_with_its_member_until_all_is_settled() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    let records = [keyed("a", 0), keyed("a", 1), keyed("b", 2), keyed("a", 3)];
    append(&broker, Kind::Command, records).await;
    append(&broker, Kind::Command, [record(4)]).await;
    let first = now(&one, 1).await;
    let others = now(&two, 9).await;
    assert_eq!(bodies(&others), ["2", "4"]);
    let second = now(&one, 1).await;
    assert_eq!(bodies(&second), ["1"]);
    acknowledge(&one, &first).await;
    assert!(now(&two, 9).await.is_empty());
    acknowledge(&one, &second).await;
    assert_eq!(bodies(&now(&two, 9).await), ["3"]);
    append(&broker, Kind::Command, [keyed("a", 5), keyed("b", 6)]).await;
    assert!(now(&one, 9).await.is_empty());
    assert_eq!(bodies(&now(&two, 9).await), ["5", "6"]);
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_a_vanished_member_move_when_its_leases_have_ended() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    append(&broker, Kind::Command, (0..2).map(|n| keyed("k", n))).await;
    assert_eq!(now(&one, 1).await.len(), 1);
    advance(LEASE / 2).await;
    assert_eq!(now(&one, 1).await.len(), 1);
    append(&broker, Kind::Command, (2..4).map(|n| keyed("k", n))).await;
    drop(one);
    append(&broker, Kind::Command, [record("other")]).await;
    assert_eq!(bodies(&now(&two, 9).await), ["other"]);

    // The first lease has ended, but the second has not.
    advance(LEASE / 2).await;
    assert!(now(&two, 9).await.is_empty());
    let started = tokio::time::Instant::now();
    let moved = two.receive(9, LONG).await.unwrap();
    assert!(started.elapsed() >= LEASE / 2 && started.elapsed() < LEASE);
    assert_eq!(bodies(&moved), ["0", "1", "2", "3"]);
    let attempts: Vec<_> = moved.iter().map(|delivery| delivery.attempt).collect();
    assert_eq!(attempts, [2, 2, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_released_record_of_a_key_comes_before_the_later_ones() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    append(&broker, Kind::Command, (0..4).map(|n| keyed("k", n))).await;
    let got = now(&one, 2).await;
    release(&one, &got[..1]).await;
    // It still holds the second.
    assert!(now(&two, 9).await.is_empty());
    release(&one, &got[1..]).await;
    assert_eq!(bodies(&now(&two, 9).await), ["0", "1", "2", "3"]);
}

// Waiting.

#[tokio::test(start_paused = true)]
async fn receive_waits_for_a_record_and_no_longer_than_it_was_told() {
    let broker = MemoryBroker::new();
    let one = member(&broker, Kind::Command, "one").await;
    let started = tokio::time::Instant::now();
    assert!(one.receive(9, LEASE).await.unwrap().is_empty());
    assert!(started.elapsed() >= LEASE && started.elapsed() < 2 * LEASE);

    let later = async {
        sleep(LEASE).await;
        append(&broker, Kind::Command, (0..3).map(record)).await;
    };
    let (got, ()) = tokio::join!(one.receive(2, Duration::MAX), later);
    assert_eq!(bodies(&got.unwrap()), ["0", "1"]);
    assert!(one.receive(0, LONG).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_stops_waiting_leaves_its_wake_up_to_another() {
    let broker = MemoryBroker::new();
    for kind in [Kind::Query, Kind::Command] {
        let (one, two) = (
            member(&broker, kind, "one").await,
            member(&broker, kind, "two").await,
        );
        let mut first = Box::pin(one.receive(1, LONG));
        assert!(futures_poll(&mut first).await.is_none());
        let mut second = Box::pin(two.receive(1, LONG));
        assert!(futures_poll(&mut second).await.is_none());
        // This wakes the first, which is dropped before it looks.
        append(&broker, kind, [record(0)]).await;
        drop(first);
        let got = timeout(LEASE, second).await.expect("woken").unwrap();
        assert_eq!(bodies(&got), ["0"]);
    }
}

#[tokio::test(start_paused = true)]
async fn leases_are_watched_when_the_member_that_watched_them_stops_waiting() {
    let broker = MemoryBroker::new();
    let (one, two, three) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
        member(&broker, Kind::Command, "three").await,
    );
    // Two and three wait before there is any lease to watch.
    let mut second = Box::pin(two.receive(1, LONG));
    assert!(futures_poll(&mut second).await.is_none());
    let waiting = async { three.receive(1, 2 * LONG).await.unwrap() };
    let mut third = Box::pin(waiting);
    assert!(futures_poll(&mut third).await.is_none());
    append(&broker, Kind::Command, [record(0)]).await;
    assert_eq!(now(&one, 1).await.len(), 1);
    assert!(futures_poll(&mut second).await.is_none());
    drop(second);
    drop(one);
    let got = timeout(2 * LEASE, third).await.expect("woken");
    assert_eq!(got[0].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn the_holder_of_a_key_is_woken_for_its_next_record() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    append(&broker, Kind::Command, [keyed("k", 0)]).await;
    let held = now(&one, 1).await;
    // The other waits longer, and would be the first to be woken.
    let mut other = Box::pin(two.receive(9, LEASE / 2));
    assert!(futures_poll(&mut other).await.is_none());
    let later = append(&broker, Kind::Command, [keyed("k", 1)]);
    let (got, ()) = tokio::join!(timeout(LEASE / 3, one.receive(9, LONG)), later);
    assert_eq!(bodies(&got.expect("woken").unwrap()), ["1"]);
    drop(other);

    // And the other when it is done with the key.
    append(&broker, Kind::Command, [keyed("k", 2)]).await;
    let last = now(&one, 1).await;
    append(&broker, Kind::Command, [keyed("k", 3)]).await;
    let done = async {
        acknowledge(&one, &held).await;
        one.close().await.unwrap();
    };
    let (got, ()) = tokio::join!(timeout(LEASE / 3, two.receive(9, LONG)), done);
    assert_eq!(bodies(&got.expect("woken").unwrap()), ["1", "2", "3"]);
    assert_eq!(bodies(&last), ["2"]);
}

/// Polls once.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

// Many at once, on threads and in real time.

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_groups_get_five_thousand_events() {
    let broker = MemoryBroker::new();
    let mut groups = Vec::new();
    for n in 0..50 {
        let subscription = Subscription::new(topic(Kind::Event), format!("group {n}"), "one");
        let consumer = broker.consume(subscription).await.unwrap();
        groups.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < 5000 {
                let got = consumer.receive(100, LEASE).await.unwrap();
                assert!(!got.is_empty(), "nothing came");
                seen.extend(bodies(&got).into_iter().map(String::from));
                acknowledge(&consumer, &got).await;
            }
            assert_eq!(consumer.backlog().await.unwrap(), Backlog::default());
            seen
        }));
    }
    let started = Instant::now();
    let expected: Vec<_> = (0..5000).map(|n| n.to_string()).collect();
    for body in &expected {
        append(&broker, Kind::Event, [record(body)]).await;
    }
    for group in groups {
        assert_eq!(group.await.unwrap(), expected);
    }
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn order_is_kept_while_members_fail_release_and_come_and_go() {
    const KEYS: usize = 16;
    const EACH: usize = 200;
    let broker = MemoryBroker::new();
    let handled = Arc::new(std::sync::Mutex::new(HashMap::<String, Vec<usize>>::new()));
    let holders = Arc::new(std::sync::Mutex::new(HashMap::<String, usize>::new()));
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut members = tokio::task::JoinSet::new();
    for n in 0..10 {
        let (broker, handled, holders) = (broker.clone(), handled.clone(), holders.clone());
        let count = count.clone();
        members.spawn(async move {
            let mut consumer = member(&broker, Kind::Command, &n.to_string()).await;
            let mut rounds = 0;
            let mut random = n * 7919 + 1;
            while count.load(std::sync::atomic::Ordering::SeqCst) < KEYS * EACH {
                rounds += 1;
                let got = consumer.receive(7, Duration::from_millis(50)).await.unwrap();
                random = (random * 1_103_515_245 + 12345) % 2_147_483_648;
                if random % 5 == 0 {
                    // Gives everything back, one way or the other.
                    if random % 2 == 0 {
                        release(&consumer, &got).await;
                    } else {
                        consumer.close().await.unwrap();
                        let name = format!("{n} {rounds}");
                        consumer = member(&broker, Kind::Command, &name).await;
                    }
                    continue;
                }
                for delivery in &got {
                    let key = delivery.record.key.as_deref().unwrap().to_owned();
                    let holder = holders.lock().unwrap().insert(key.clone(), n);
                    assert!(holder.is_none_or(|holder| holder == n), "held twice");
                    let body = bodies(std::slice::from_ref(delivery))[0].parse().unwrap();
                    handled.lock().unwrap().entry(key).or_default().push(body);
                    tokio::task::yield_now().await;
                }
                for delivery in &got {
                    let key = delivery.record.key.as_deref().unwrap();
                    holders.lock().unwrap().remove(key);
                }
                count.fetch_add(got.len(), std::sync::atomic::Ordering::SeqCst);
                acknowledge(&consumer, &got).await;
            }
        });
    }
    for n in 0..KEYS * EACH {
        let key = format!("key {}", n % KEYS);
        append(&broker, Kind::Command, [keyed(&key, n)]).await;
    }
    let all = async { while members.join_next().await.transpose().unwrap().is_some() {} };
    timeout(Duration::from_secs(60), all).await.expect("all handled");
    let handled = handled.lock().unwrap();
    assert_eq!(handled.len(), KEYS);
    for bodies in handled.values() {
        assert_eq!(bodies.len(), EACH);
        assert!(bodies.is_sorted());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_when_waiting_members_are_cancelled() {
    let broker = MemoryBroker::new();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut members = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (broker, count) = (broker.clone(), count.clone());
        members.spawn(async move {
            let consumer = member(&broker, Kind::Command, &n.to_string()).await;
            loop {
                // All but one give up all the time.
                let patience = if n == 0 { LONG } else { Duration::from_micros(50) };
                let Ok(got) = timeout(patience, consumer.receive(1, LONG)).await else {
                    continue;
                };
                let got = got.unwrap();
                acknowledge(&consumer, &got).await;
                count.fetch_add(got.len(), std::sync::atomic::Ordering::SeqCst);
            }
        });
    }
    let one = member(&broker, Kind::Command, "backlog").await;
    for n in 1..=2000 {
        append(&broker, Kind::Command, [record(n)]).await;
        let settled = async {
            while count.load(std::sync::atomic::Ordering::SeqCst) < n {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), settled).await.expect("taken");
    }
    assert_eq!(one.backlog().await.unwrap(), Backlog::default());
    members.shutdown().await;
}
