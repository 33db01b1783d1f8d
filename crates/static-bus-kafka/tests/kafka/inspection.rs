//! The state of topics and groups, for operators.

use std::time::{Duration, Instant};

use static_bus_kafka::{KafkaReceipt, KafkaTransport};
use static_bus_remote::{
    Transport,
    transport::{
        Consumer, Delivery, Inspect, Kind, Lease, Receiver, Subscription, Topic, TopicState,
    },
};
use test_brokers::kafka::Kafka;

use crate::support::{LONG, command, kafka_at, record};

async fn connect(namespace: &str) -> KafkaTransport {
    let builder = kafka_at(Kafka::common().servers());
    let builder = builder.namespace(namespace).partitions(4);
    builder.connect().await.unwrap()
}

async fn state(kafka: &KafkaTransport, topic: &Topic) -> TopicState {
    let topics = std::slice::from_ref(topic);
    kafka.inspect(topics).await.unwrap().pop().unwrap()
}

async fn append(kafka: &KafkaTransport, topic: &Topic, records: std::ops::Range<usize>) {
    let records = records.map(|n| (topic.clone(), record(n.to_string(), Some(&n.to_string()))));
    for result in kafka.append(records.collect()).await {
        result.unwrap();
    }
}

fn leases(deliveries: &[Delivery<KafkaReceipt>]) -> Vec<Lease<KafkaReceipt>> {
    let lease = |delivery: &Delivery<KafkaReceipt>| Lease {
        receipt: delivery.receipt,
        claim: None,
    };
    deliveries.iter().map(lease).collect()
}

#[tokio::test]
async fn every_topic_is_found() {
    let kafka = connect("inspect-topics").await;
    assert_eq!(kafka.topics().await.unwrap(), []);
    let topic = |kind, name: &'static str| Topic {
        kind,
        name: name.into(),
    };
    let topics = [
        topic(Kind::Query, "users.get"),
        topic(Kind::Command, "my_shop::orders::Place"),
        topic(Kind::Event, "b: ä"),
        topic(Kind::DeadLetter, ""),
    ];
    // A query is accepted for a time after the last receiver has closed.
    let receiver = kafka.listen(topics[0].clone()).await.unwrap();
    receiver.close().await.unwrap();
    for (count, topic) in topics.iter().enumerate() {
        append(&kafka, topic, 0..count + 1).await;
    }
    append(&kafka, &topic(Kind::Reply, "7"), 0..1).await;
    append(&connect("inspect-topics2").await, &command("other"), 0..1).await;

    assert_eq!(kafka.topics().await.unwrap(), topics);
    let states = kafka.inspect(&topics).await.unwrap();
    let sizes = states.iter().map(|s| (s.partitions, s.stored, s.appended));
    let expected = [
        (4, 1, Some(1)),
        (4, 2, Some(2)),
        (4, 3, Some(3)),
        (1, 4, Some(4)),
    ];
    assert_eq!(sizes.collect::<Vec<_>>(), expected);
    let missing = kafka.inspect(&[command("missing")]).await.unwrap();
    assert_eq!(missing, []);
}

/// For the first group, a cluster makes the topic of the positions and loads it.
#[tokio::test]
async fn a_group_is_found_while_a_server_loads_groups() {
    let server = Kafka::start();
    let kafka = kafka_at(server.servers()).connect().await.unwrap();
    let topic = command("first");
    append(&kafka, &topic, 0..1).await;
    let subscription = Subscription::new(topic.clone(), "handlers", "one");
    let consumer = kafka.consume(subscription).await.unwrap();
    let finding = async {
        let end = Instant::now() + LONG;
        while state(&kafka, &topic).await.groups.is_empty() {
            assert!(Instant::now() < end);
        }
    };
    let (received, ()) = tokio::join!(consumer.receive(1, LONG), finding);
    assert_eq!(received.unwrap().len(), 1);
}

#[tokio::test]
async fn a_group_has_its_backlog_its_members_and_its_oldest_records() {
    let kafka = connect("inspect-groups").await;
    let orders = command("orders.place");
    append(&kafka, &orders, 0..20).await;
    let subscription = Subscription::new(orders.clone(), "handlers", "orders-1");
    let consumer = kafka.consume(subscription).await.unwrap();
    let mut held = Vec::new();
    let end = Instant::now() + LONG;
    while held.len() < 20 {
        assert!(Instant::now() < end, "{} of 20 came", held.len());
        held.extend(consumer.receive(20, Duration::from_secs(1)).await.unwrap());
    }
    consumer.acknowledge(&leases(&held[1..])).await.unwrap();

    let state = self::state(&kafka, &orders).await;
    let [group] = &state.groups[..] else {
        panic!("{state:?}");
    };
    assert_eq!((&*group.group, group.lag_is_exact), ("handlers", true));
    assert_eq!((group.backlog.pending, group.backlog.lag), (0, 1));
    let [member] = &group.members[..] else {
        panic!("{group:?}");
    };
    assert_eq!(member.partitions, [0, 1, 2, 3]);
    assert!(member.name.starts_with("orders-1-"), "{}", member.name);
    assert_eq!(member.host.as_deref(), Some("127.0.0.1"));
    let [oldest] = &group.oldest[..] else {
        panic!("{group:?}");
    };
    assert_eq!(
        Some(&oldest.place),
        consumer.place(&held[0].receipt).as_ref()
    );
    assert_eq!(oldest.holder.as_ref(), Some(&member.name));
    assert_eq!(
        (oldest.deliveries, oldest.age),
        (None, group.backlog.oldest)
    );

    consumer.close().await.unwrap();
    let state = self::state(&kafka, &orders).await;
    let group = &state.groups[0];
    assert_eq!((group.members.len(), group.backlog.lag), (0, 1));
    assert_eq!(group.oldest[0].holder, None);
}

#[tokio::test]
async fn a_member_has_its_name_in_the_cluster_or_the_one_that_is_set() {
    for (id, expected) in [(None, "orders-1-"), (Some("billing"), "billing-")] {
        let builder = kafka_at(Kafka::common().servers());
        let builder = builder.namespace("inspect-names").partitions(1);
        let builder = id.into_iter().fold(builder, |b, id| b.set("client.id", id));
        let kafka = builder.connect().await.unwrap();
        let orders = command("orders.place");
        append(&kafka, &orders, 0..1).await;
        let subscription = Subscription::new(orders.clone(), "handlers", "orders-1");
        let consumer = kafka.consume(subscription).await.unwrap();
        assert_eq!(consumer.receive(1, LONG).await.unwrap().len(), 1);
        let state = state(&kafka, &orders).await;
        let name = &state.groups[0].members[0].name;
        assert!(name.starts_with(expected), "{name}");
        consumer.close().await.unwrap();
    }
}
