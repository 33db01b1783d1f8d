//! The committed positions of a group.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use static_bus_kafka::{KafkaConsumer, KafkaReceipt, KafkaTransport};
use static_bus_remote::{
    Transport as _,
    transport::{Consumer as _, Delivery, Lease, Subscription},
};

use crate::support::*;
use test_brokers::kafka::Kafka;

const RECORDS: usize = 6_000;

async fn join(kafka: &KafkaTransport) -> KafkaConsumer {
    let mut subscription = Subscription::new(command("many"), "handlers", "one");
    subscription.lease = 5 * LONG;
    subscription.deduplication = None;
    kafka.consume(subscription).await.unwrap()
}

/// Receives this number of records, or all that come while `wait` passes without one.
async fn receive(
    member: &KafkaConsumer,
    count: usize,
    wait: Duration,
) -> Vec<Delivery<KafkaReceipt>> {
    let mut all: Vec<Delivery<_>> = Vec::new();
    while all.len() < count {
        let some = member.receive(count - all.len(), wait).await.unwrap();
        if some.is_empty() {
            break;
        }
        all.extend(some);
    }
    all
}

async fn acknowledge<'d>(
    member: &KafkaConsumer,
    some: impl IntoIterator<Item = &'d Delivery<KafkaReceipt>>,
) {
    let leases = some.into_iter().map(|one| Lease {
        receipt: one.receipt,
        claim: None,
    });
    let leases: Vec<_> = leases.collect();
    member.acknowledge(&leases).await.unwrap();
}

fn numbers<'d>(some: impl IntoIterator<Item = &'d Delivery<KafkaReceipt>>) -> BTreeSet<usize> {
    let number = |body: &[u8]| str::from_utf8(body).unwrap().parse().unwrap();
    some.into_iter()
        .map(|one| number(&one.record.body))
        .collect()
}

/// Every second record of one partition is open: without a bound, the list of the others does not fit into a commit.
#[tokio::test]
async fn no_acknowledged_record_is_delivered_again_however_many_are_open() {
    let kafka = kafka_at(Kafka::common().servers()).namespace("positions");
    let kafka = kafka.partitions(1).connect().await.unwrap();
    let records = (0..RECORDS).map(|n| (command("many"), record(n.to_string(), None)));
    for result in kafka.append(records.collect()).await {
        result.unwrap();
    }
    let first = join(&kafka).await;
    let mut taken = receive(&first, 3_900, LONG).await;
    assert_eq!(taken.len(), 3_900);
    taken.extend(receive(&first, RECORDS, Duration::from_secs(3)).await);
    assert!(taken.len() < 4_000, "{}", taken.len());
    acknowledge(&first, taken.iter().skip(1).step_by(2)).await;
    first.close().await.unwrap();
    let open = numbers(taken.iter().step_by(2));

    let second = join(&kafka).await;
    let again = receive(&second, open.len(), LONG).await;
    assert_eq!(numbers(&again), open);
    // The position moves on, and the others follow.
    let (mut rest, end) = (RECORDS - taken.len(), Instant::now() + LONG);
    let mut settled = again;
    loop {
        acknowledge(&second, &settled).await;
        if rest == 0 {
            break;
        }
        settled = receive(&second, rest.min(100), LONG).await;
        assert!(numbers(&settled).iter().all(|n| *n >= taken.len()));
        rest -= settled.len();
        assert!(Instant::now() < end, "{rest} are missing");
    }
    second.close().await.unwrap();
}

/// A commit costs the cluster as much for one record as for hundreds.
#[tokio::test]
async fn acknowledgements_of_a_member_are_ten_milliseconds_apart() {
    const COUNT: usize = 20;
    let kafka = kafka_at(Kafka::common().servers()).namespace("paced");
    let kafka = kafka.partitions(1).connect().await.unwrap();
    let records = (0..COUNT).map(|n| (command("many"), record(n.to_string(), None)));
    for result in kafka.append(records.collect()).await {
        result.unwrap();
    }
    let member = join(&kafka).await;
    let taken = receive(&member, COUNT, LONG).await;
    let begin = Instant::now();
    for one in &taken {
        acknowledge(&member, [one]).await;
    }
    let least = Duration::from_millis(10) * (COUNT as u32 - 1);
    assert!(begin.elapsed() >= least, "{:?}", begin.elapsed());
    member.close().await.unwrap();
}
