//! Faults of servers, with the mock cluster of `librdkafka`. A program of its own, which starts no other: each process that is
//! started inherits the connections that the mock cluster has accepted, and keeps them open when it closes them.

use std::time::{Duration, Instant};

use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr as Fault},
};
use static_bus_kafka::{KafkaTransport, KafkaTransportBuilder};
use static_bus_remote::{
    Transport as _,
    transport::{Consumer as _, Subscription},
};

#[path = "../common/mod.rs"]
mod common;
use self::common::*;

type Mock = MockCluster<'static, DefaultProducerContext>;

const TOPIC: &str = "static-bus.command.faults";
const DEADLINE: Duration = Duration::from_secs(10);

fn mock() -> Mock {
    let mock = MockCluster::new(3).unwrap();
    mock.create_topic(TOPIC, 4, 3).unwrap();
    mock
}

fn builder(mock: &Mock) -> KafkaTransportBuilder {
    // The mock cluster answers no administrative request: each takes this long.
    kafka_at(mock.bootstrap_servers()).deadline(DEADLINE)
}

async fn append(kafka: &KafkaTransport, numbers: std::ops::Range<u32>) -> Vec<String> {
    let records = numbers.map(|n| (command("faults"), record(n.to_string(), Some("key"))));
    let results = kafka.append(records.collect()).await;
    results
        .into_iter()
        .filter_map(Result::err)
        .map(|e| e.to_string())
        .collect()
}

async fn assert_in_order(mock: &Mock, count: u32) {
    let messages = contents(&mock.bootstrap_servers(), TOPIC).await;
    let expected: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&messages), expected);
}

#[tokio::test]
async fn transient_faults_are_retried() {
    let mock = mock();
    let kafka = builder(&mock).connect().await.unwrap();
    assert_eq!(append(&kafka, 0..10).await, [""; 0]);
    let faults = [
        Fault::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Fault::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Fault::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
    ];
    mock.request_errors(RDKafkaApiKey::Produce, &faults);
    // One record: a real server refuses requests after a refused one, and the mock accepts them.
    assert_eq!(append(&kafka, 10..11).await, [""; 0]);
    assert_eq!(append(&kafka, 11..100).await, [""; 0]);
    assert_in_order(&mock, 100).await;
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_remedy() {
    let mock = mock();
    let kafka = builder(&mock)
        .set("topic.metadata.refresh.interval.ms", "100")
        .connect()
        .await
        .unwrap();
    let fault = [Fault::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED];
    mock.request_errors(RDKafkaApiKey::Produce, &fault);
    assert_eq!(
        append(&kafka, 0..1).await,
        [format!(
            "kafka://{}: appending to {TOPIC}: TopicAuthorizationFailed (Broker: Topic authorization \
             failed); the user lacks a permission: grant it with kafka-acls.sh",
            mock.bootstrap_servers()
        )]
    );
    // The client caches the refusal until it refreshes its metadata.
    let begin = Instant::now();
    while let [failure, ..] = &*append(&kafka, 0..1).await {
        assert!(begin.elapsed() < Duration::from_secs(60), "{failure}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_in_order(&mock, 1).await;
}

#[tokio::test]
async fn a_client_with_a_fatal_error_is_replaced() {
    let mock = mock();
    let fault = [Fault::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED];
    mock.request_errors(RDKafkaApiKey::InitProducerId, &fault);
    let kafka = builder(&mock).connect().await.unwrap();
    let failures = append(&kafka, 0..5).await;
    assert_eq!(failures.len(), 5, "{failures:?}");
    assert_eq!(append(&kafka, 0..10).await, [""; 0]);
    assert_in_order(&mock, 10).await;
}

#[tokio::test]
async fn a_new_leader_is_used_when_a_server_goes_down() {
    let mock = mock();
    let kafka = builder(&mock).connect().await.unwrap();
    assert_eq!(append(&kafka, 0..10).await, [""; 0]);
    for partition in 0..4 {
        mock.partition_leader(TOPIC, partition, Some(1)).unwrap();
    }
    mock.broker_down(1).unwrap();
    for partition in 0..4 {
        mock.partition_leader(TOPIC, partition, Some(2)).unwrap();
    }
    assert_eq!(append(&kafka, 10..20).await, [""; 0]);
    assert_in_order(&mock, 20).await;
}

/// The cluster refuses to tell the positions of a group for longer than one request takes.
#[tokio::test]
async fn positions_that_are_read_late_are_no_failure_of_a_receive() {
    let mock = mock();
    let kafka = builder(&mock).connect().await.unwrap();
    assert_eq!(append(&kafka, 0..10).await, [""; 0]);
    let subscription = Subscription::new(command("faults"), "handlers", "late");
    let consumer = kafka.consume(subscription).await.unwrap();
    let fault = Fault::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE;
    mock.request_errors(RDKafkaApiKey::OffsetFetch, &[fault; 12]);
    let (mut received, begin) = (0, Instant::now());
    while received < 10 {
        match consumer.receive(10, Duration::from_secs(1)).await {
            Ok(more) => received += more.len(),
            // A busy machine may answer after the deadline.
            Err(error) => assert!(begin.elapsed() >= DEADLINE, "{error}"),
        }
        assert!(
            begin.elapsed() < Duration::from_secs(120),
            "{received} of 10 came"
        );
    }
}
