//! The replacement of clients, with the mock cluster of `librdkafka`.

use std::time::Instant;

use rdkafka::{
    mocking::MockCluster,
    producer::{DefaultProducerContext, FutureRecord, Producer as _},
};

use super::*;
use crate::settings::KafkaTransportBuilder;

const DEADLINE: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(180);

fn orders() -> Topic {
    Topic {
        kind: Kind::Command,
        name: "orders".into(),
    }
}

/// A cluster with a topic, and its only server.
fn start() -> (Arc<Cluster>, MockCluster<'static, DefaultProducerContext>) {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("static-bus.command.orders", 1, 1)
        .unwrap();
    let builder = KafkaTransportBuilder::new(mock.bootstrap_servers());
    let settings = builder.deadline(DEADLINE).settings().unwrap();
    (Cluster::new(settings), mock)
}

/// Repeats a call until it succeeds: a busy machine may need longer than the deadline.
async fn until_it_succeeds<E: std::fmt::Debug>(mut call: impl AsyncFnMut() -> Result<(), E>) {
    let end = Instant::now() + LONG;
    while let Err(error) = call().await {
        assert!(Instant::now() < end, "{error:?}");
    }
}

#[tokio::test]
async fn a_client_whose_records_have_timed_out_is_replaced() {
    let (cluster, mock) = start();
    let producer = Producer {
        cluster: cluster.clone(),
        clients: Mutex::default(),
        window: Window::new(),
    };
    let append = async || {
        let results = producer.append(vec![(orders(), Record::default())]).await;
        results.into_iter().next().unwrap()
    };
    until_it_succeeds(append).await;
    let max_bytes = cluster.topics().get(&orders()).await.unwrap().max_bytes;
    let before = producer.client(max_bytes).unwrap();
    mock.broker_down(1).unwrap();
    append().await.unwrap_err();
    let after = producer.client(max_bytes).unwrap();
    assert!(!Arc::ptr_eq(&before, &after));
    mock.broker_up(1).unwrap();
    until_it_succeeds(append).await;
}

#[tokio::test]
async fn a_writer_whose_records_have_timed_out_is_replaced() {
    let (cluster, mock) = start();
    let producer = || cluster.writer().producer().unwrap();
    let address = || producer().client().native_ptr();
    let append = async || {
        let record = FutureRecord::<[u8], [u8]>::to("static-bus.command.orders");
        let sent = producer().send(record.payload(b"one"), DEADLINE).await;
        let sent = sent.map_err(|(error, _)| error);
        sent.inspect_err(|error| cluster.writer().failed(error))?;
        Ok::<_, KafkaError>(())
    };
    until_it_succeeds(append).await;
    // It is kept here, so that no other has its address.
    let before = producer();
    mock.broker_down(1).unwrap();
    append().await.unwrap_err();
    assert_ne!(before.client().native_ptr(), address());
    mock.broker_up(1).unwrap();
    until_it_succeeds(append).await;
}
