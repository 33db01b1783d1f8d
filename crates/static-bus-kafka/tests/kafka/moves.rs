//! Partitions that move to another member while a handler runs.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use static_bus_kafka::{KafkaConsumer, KafkaReceipt, KafkaTransport};
use static_bus_remote::{
    Transport as _,
    transport::{Consumer as _, Delivery, Inspect as _, Lease, Subscription},
};

use crate::support::*;
use test_brokers::kafka::Kafka;

const KEYS: usize = 60;

async fn join(kafka: &KafkaTransport, name: &str) -> KafkaConsumer {
    let mut subscription = Subscription::new(command("moves"), "handlers", name);
    subscription.lease = 5 * LONG;
    subscription.deduplication = None;
    kafka.consume(subscription).await.unwrap()
}

/// Appends one record of each key.
async fn append(kafka: &KafkaTransport, numbers: std::ops::Range<usize>) {
    let records = numbers.map(|n| {
        let key = (n % KEYS).to_string();
        (command("moves"), record(n.to_string(), Some(&key)))
    });
    for result in kafka.append(records.collect()).await {
        result.unwrap();
    }
}

async fn receive(member: &KafkaConsumer) -> Vec<Delivery<KafkaReceipt>> {
    let wait = Duration::from_millis(300);
    member.receive(100, wait).await.unwrap()
}

async fn acknowledge(member: &KafkaConsumer, some: &[Delivery<KafkaReceipt>]) {
    let leases = some.iter().map(|one| Lease {
        receipt: one.receipt,
        claim: None,
    });
    let leases: Vec<_> = leases.collect();
    member.acknowledge(&leases).await.unwrap();
}

/// The partition that the group moves first.
fn is_moved(member: &KafkaConsumer, one: &Delivery<KafkaReceipt>) -> bool {
    let place = member.place(&one.receipt).unwrap();
    place.starts_with("partition 0,")
}

fn number(one: &Delivery<KafkaReceipt>) -> usize {
    str::from_utf8(&one.record.body).unwrap().parse().unwrap()
}

/// The partitions of each member.
async fn assignments(kafka: &KafkaTransport) -> Vec<Vec<usize>> {
    let state = kafka.inspect(&[command("moves")]).await.unwrap().remove(0);
    let members = state.groups.into_iter().flat_map(|group| group.members);
    members.map(|member| member.partitions).collect()
}

#[tokio::test]
async fn a_handler_that_runs_holds_up_no_other_partition_when_partitions_move() {
    let kafka = kafka_at(Kafka::common().servers()).namespace("moves");
    let kafka = kafka.partitions(6).connect().await.unwrap();
    let (holder, other) = (join(&kafka, "holder").await, join(&kafka, "other").await);
    append(&kafka, 0..KEYS).await;
    let end = Instant::now() + LONG;
    let (mut came, mut of_moved, mut held) = (0, BTreeSet::new(), Vec::new());
    while came < KEYS {
        let mut some = receive(&holder).await;
        came += some.len();
        let moved = some.iter().filter(|one| is_moved(&holder, one));
        of_moved.extend(moved.map(number));
        if held.is_empty() {
            let first = some.iter().position(|one| is_moved(&holder, one));
            held.extend(first.map(|at| some.remove(at)));
        }
        acknowledge(&holder, &some).await;
        assert!(Instant::now() < end, "{came} came");
    }
    assert_eq!(held.len(), 1, "there is a key in each partition");

    // The group decides to move the partition of the held record.
    loop {
        _ = receive(&other).await;
        let assignments = assignments(&kafka).await;
        let has_owner = assignments.iter().any(|numbers| numbers.contains(&0));
        if assignments.len() == 2 && !has_owner {
            break;
        }
        assert!(Instant::now() < end, "{assignments:?}");
    }
    append(&kafka, KEYS..2 * KEYS).await;
    let of_moved: BTreeSet<_> = of_moved.iter().map(|n| n + KEYS).collect();
    let mut missing: BTreeSet<_> = (KEYS..2 * KEYS).collect();
    while missing.len() > of_moved.len() {
        for member in [&holder, &other] {
            let some = receive(member).await;
            acknowledge(member, &some).await;
            for n in some.iter().map(number) {
                let left: Vec<_> = missing.difference(&of_moved).collect();
                assert!(
                    !of_moved.contains(&n) && n != number(&held[0]),
                    "before {left:?}: {n}"
                );
                assert!(missing.remove(&n), "{n} came twice");
            }
        }
        assert!(Instant::now() < end, "{missing:?} are missing");
    }

    acknowledge(&holder, &held).await;
    while !missing.is_empty() {
        let some = receive(&other).await;
        acknowledge(&other, &some).await;
        for n in some.iter().map(number) {
            assert!(missing.remove(&n), "{n} came twice");
        }
        assert!(Instant::now() < end, "{missing:?} are missing");
    }
    // What the holder has read meanwhile is not read again.
    append(&kafka, 2 * KEYS..3 * KEYS).await;
    let mut missing: BTreeSet<_> = (2 * KEYS..3 * KEYS).collect();
    while !missing.is_empty() {
        for member in [&holder, &other] {
            let some = receive(member).await;
            acknowledge(member, &some).await;
            for n in some.iter().map(number) {
                assert!(missing.remove(&n), "{n} came twice");
            }
        }
        assert!(Instant::now() < end, "{missing:?} are missing");
    }
    holder.close().await.unwrap();
    other.close().await.unwrap();
}
