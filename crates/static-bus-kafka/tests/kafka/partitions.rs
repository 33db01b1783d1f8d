//! Topics whose number of partitions is raised, and topics that are deleted and created again.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use rdkafka::admin::{AdminOptions, NewPartitions};
use static_bus_kafka::{KafkaConsumer, KafkaTransport, KafkaTransportBuilder};
use static_bus_remote::{
    Transport as _,
    transport::{Consumer as _, Kind, Receiver as _, Record, Subscription, Topic},
};

use crate::support::*;
use test_brokers::kafka::Kafka;

fn builder(namespace: &str) -> KafkaTransportBuilder {
    kafka_at(Kafka::common().servers())
        .namespace(namespace)
        .partitions(2)
        // Members learn new partitions after this time.
        .set("topic.metadata.refresh.interval.ms", "500")
}

async fn connect(namespace: &str) -> KafkaTransport {
    builder(namespace).connect().await.unwrap()
}

fn topic(kind: Kind) -> Topic {
    Topic {
        kind,
        name: "raised".into(),
    }
}

/// The name of the topic in Kafka.
fn name(namespace: &str, kind: Kind) -> String {
    format!("{namespace}.{}.raised", kind.as_str())
}

/// Raises the number of partitions of a topic to six, and waits until all of them have a leader.
async fn raise(namespace: &str, kind: Kind) {
    let name = name(namespace, kind);
    let admin = admin();
    let more = NewPartitions::new(&name, 6);
    let raised = admin.create_partitions([&more], &AdminOptions::new()).await;
    raised.unwrap().remove(0).unwrap();
    let look = move || {
        let end = Instant::now() + LONG;
        let count = || {
            let metadata = admin.inner().fetch_metadata(Some(&name), LONG).unwrap();
            let partitions = metadata.topics()[0].partitions();
            partitions.iter().filter(|p| p.leader() >= 0).count()
        };
        while count() < 6 {
            assert!(Instant::now() < end, "{name} keeps its partitions");
        }
    };
    tokio::task::spawn_blocking(look).await.unwrap();
}

/// Appends records with a key each, on a connection that knows all partitions.
async fn append(namespace: &str, kind: Kind, numbers: std::ops::Range<u32>) {
    let kafka = connect(namespace).await;
    let records = numbers.map(|n| {
        let record = Record {
            expires: (kind == Kind::Query).then_some(LONG),
            ..record(n.to_string(), Some(&n.to_string()))
        };
        (topic(kind), record)
    });
    for result in kafka.append(records.collect()).await {
        result.unwrap();
    }
}

async fn join(kafka: &KafkaTransport, kind: Kind) -> KafkaConsumer {
    let subscription = Subscription::new(topic(kind), "audit", "one");
    kafka.consume(subscription).await.unwrap()
}

#[tokio::test]
async fn a_group_that_was_off_receives_all_of_added_partitions() {
    for (namespace, kind, exactly_once) in [
        ("raised-event", Kind::Event, false),
        ("raised-once", Kind::Event, true),
        ("raised-command", Kind::Command, false),
    ] {
        let connect = async || match exactly_once {
            true => builder(namespace).exactly_once().connect().await.unwrap(),
            false => connect(namespace).await,
        };
        let kafka = connect().await;
        let member = join(&kafka, kind).await;
        append(namespace, kind, 0..20).await;
        take(&member, 20).await;
        member.close().await.unwrap();
        raise(namespace, kind).await;
        append(namespace, kind, 20..320).await;
        let member = join(&connect().await, kind).await;
        let all = take(&member, 300).await;
        assert_eq!(all, (20..320).collect(), "{namespace}");
        member.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_group_that_runs_receives_all_of_added_partitions() {
    for (namespace, kind) in [
        ("raised-event-running", Kind::Event),
        ("raised-command-running", Kind::Command),
    ] {
        let kafka = connect(namespace).await;
        let member = join(&kafka, kind).await;
        append(namespace, kind, 0..20).await;
        take(&member, 20).await;
        raise(namespace, kind).await;
        append(namespace, kind, 20..320).await;
        let backlog = member.backlog().await.unwrap();
        assert_eq!(backlog.pending + backlog.lag, 300, "{namespace}");
        let all = take(&member, 300).await;
        assert_eq!(all, (20..320).collect(), "{namespace}");
        member.close().await.unwrap();
    }
}

/// Its connection has learnt the number of partitions before it was raised.
#[tokio::test]
async fn a_new_subscriber_begins_at_the_end_of_all_partitions() {
    let (namespace, kind) = ("raised-new", Kind::Event);
    let kafka = connect(namespace).await;
    join(&kafka, kind).await.close().await.unwrap();
    raise(namespace, kind).await;
    append(namespace, kind, 0..100).await;
    let late = Subscription::new(topic(kind), "late", "one");
    let late = kafka.consume(late).await.unwrap();
    append(namespace, kind, 100..200).await;
    let all = take(&late, 100).await;
    assert_eq!(all, (100..200).collect());
    late.close().await.unwrap();
}

#[tokio::test]
async fn queries_in_added_partitions_are_received() {
    let (namespace, kind) = ("raised-query", Kind::Query);
    let kafka = connect(namespace).await;
    let receiver = kafka.listen(topic(kind)).await.unwrap();
    append(namespace, kind, 0..20).await;
    let mut all = BTreeSet::new();
    let mut receive = async |count: usize| {
        let end = Instant::now() + LONG;
        while all.len() < count {
            let some = receiver.receive(100, Duration::from_secs(1)).await.unwrap();
            all.extend(some.iter().map(|one| number(&one.body)));
            assert!(Instant::now() < end, "{} of {count}: {all:?}", all.len());
        }
    };
    receive(20).await;
    raise(namespace, kind).await;
    append(namespace, kind, 20..320).await;
    receive(320).await;
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn a_group_that_runs_receives_all_of_a_topic_that_is_created_again() {
    for (namespace, kind, before, after) in [
        ("recreated-event", Kind::Event, 200, 20),
        ("recreated-command", Kind::Command, 200, 20),
        ("recreated-larger", Kind::Command, 10, 300),
    ] {
        let kafka = kafka_at(Kafka::common().servers()).namespace(namespace);
        let kafka = kafka.partitions(2).connect().await.unwrap();
        let member = join(&kafka, kind).await;
        append(namespace, kind, 0..before).await;
        take(&member, before as usize).await;
        delete(&name(namespace, kind)).await;
        append(namespace, kind, before..before + after).await;
        let (mut all, end) = (BTreeSet::new(), Instant::now() + LONG);
        while all.len() < after as usize {
            // The topic was gone for a moment.
            let Ok(some) = member.receive(100, Duration::from_secs(1)).await else {
                continue;
            };
            all.extend(some.iter().map(|one| number(&one.record.body)));
            assert!(Instant::now() < end, "{} of {after}: {all:?}", all.len());
        }
        assert_eq!(all, (before..before + after).collect(), "{namespace}");
        member.close().await.unwrap();
    }
}
