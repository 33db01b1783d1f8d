//! The outbox of a database keeps what Kafka does not.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use static_bus::prelude::*;
use static_bus_remote::{Due, RemoteBus, SendLater, Worker};
use static_bus_sql::SqliteTransport;
use test_brokers::kafka::Kafka;
use tokio::sync::mpsc;

use crate::support::*;

#[derive(Serialize, Deserialize)]
struct Expire {
    order: u32,
}
command!(Expire, name = "outbox.expire");

#[tokio::test(flavor = "multi_thread")]
async fn with_an_outbox_messages_that_are_due_later_reach_kafka_when_they_are_due() {
    let kafka = kafka_at(Kafka::common().servers());
    let kafka = kafka.connect().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/outbox.db", directory.path().display());
    let outbox = SqliteTransport::connect(&url).await.unwrap().outbox(kafka);
    let remote = RemoteBus::connect(outbox.clone()).await.unwrap();
    let later = remote.scheduler().unwrap();
    let (expired, mut log) = mpsc::unbounded_channel();
    let bus = BusBuilder::new()
        .register_command_fn(move |Expire { order }: Expire| _ = expired.send(order))
        .build();
    let worker = Worker::new(outbox.clone(), bus).command::<Expire>();
    let worker = worker.start().await.unwrap();
    let relay = outbox.relay().start().await.unwrap();
    let begun = Instant::now();
    let second = Duration::from_secs(1);
    for (order, delay) in [(1, second * 3600), (2, second)] {
        let due = Due::after(delay).with_key(order.to_string());
        later.execute_at(Expire { order }, due).await.unwrap();
    }
    later.cancel_command::<Expire>("1").await.unwrap();
    assert_eq!(log.recv().await, Some(2));
    assert!(begun.elapsed() >= second, "{:?}", begun.elapsed());
    worker.shutdown(second * 60).await;
    relay.shutdown().await.unwrap();
    assert!(log.try_recv().is_err(), "1 is cancelled");
}
