//! The metrics of a client.

use std::collections::BTreeMap;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, layer::Metered, prelude::*};
use static_bus_remote::{Worker, transport::Kind};

use crate::support::{Op, TestBroker, connect, listen};

#[derive(Serialize, Deserialize)]
struct Half(u32);
query!(Half -> u32, name = "half");
#[derive(Serialize, Deserialize)]
struct Store(u32);
command!(Store, name = "store");
#[derive(Serialize, Deserialize)]
struct Stored(u32);
event!(Stored, name = "stored");

/// Counters and gauges, and the number of values of each histogram, of a message.
fn metrics(snapshotter: &Snapshotter, message: &str) -> BTreeMap<String, u64> {
    let metrics = snapshotter.snapshot().into_vec().into_iter();
    let of_message = metrics.filter(|(key, ..)| {
        let mut labels = key.key().labels();
        labels.any(|label| (label.key(), label.value()) == ("message", message))
    });
    of_message
        .map(|(key, _, _, value)| {
            let value = match value {
                DebugValue::Counter(count) => count,
                DebugValue::Gauge(value) => value.into_inner() as u64,
                DebugValue::Histogram(values) => values.len() as u64,
            };
            let name = key.key().name().strip_prefix("static_bus_").unwrap();
            (name.to_owned(), value)
        })
        .collect()
}

fn expected(rows: [(&str, u64); 4]) -> BTreeMap<String, u64> {
    rows.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[tokio::test]
async fn sent_messages_failures_and_round_trips_are_counted() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let broker = TestBroker::new();
    let remote = connect(&broker).await;
    remote.execute_async(Store(1)).await.unwrap();
    remote.execute_many([Store(2), Store(3)]).await.unwrap();
    remote.publish_async(&Stored(1)).await.unwrap();
    broker.break_(|op| op == Op::Append(Kind::Command));
    remote.execute_async(Store(4)).await.unwrap_err();
    remote.execute_many([Store(5), Store(6)]).await.unwrap_err();
    let snapshotter = recorder.snapshotter();
    let rows = [
        ("sent_total", 3),
        ("send_failed_total", 3),
        ("round_trip_seconds", 1),
        ("pending_queries", 0),
    ];
    assert_eq!(metrics(&snapshotter, "store"), expected(rows));
}

#[tokio::test]
async fn a_query_is_pending_until_its_answer_or_the_end_of_its_caller() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let snapshotter = recorder.snapshotter();
    let broker = TestBroker::new();
    let (began, mut begins) = listen();
    let bus = BusBuilder::new()
        .register_query_async_fn(move |query: Half| {
            began.send(()).unwrap();
            async move {
                match query.0 {
                    0 => std::future::pending().await,
                    1 => Err(BusError::refused::<Half>("it is odd")),
                    n => Ok(n / 2),
                }
            }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).query::<Half>();
    let _worker = worker.start().await.unwrap();
    let remote = connect(&broker).await;
    assert_eq!(remote.send_async(Half(4)).await.unwrap(), 2);
    begins.next().await;
    let client = |pending| {
        let mut metrics = metrics(&snapshotter, "half");
        // A snapshot takes what was counted since the one before.
        let counts = ["sent_total", "send_failed_total", "round_trip_seconds"];
        assert_eq!(metrics.remove("pending_queries"), Some(pending));
        counts.map(|name| metrics[name])
    };
    assert_eq!(client(0), [1, 0, 1]);
    remote.send_async(Half(1)).await.unwrap_err();
    begins.next().await;
    assert_eq!(client(0), [0, 1, 0]);

    let waiting = tokio::spawn(async move { remote.send_async(Half(0)).await });
    begins.next().await;
    assert_eq!(client(1), [0, 0, 0]);
    waiting.abort();
    waiting.await.unwrap_err();
    let metrics = metrics(&snapshotter, "half");
    assert_eq!(metrics["send_failed_total"], 1);
}

#[tokio::test]
async fn metered_around_a_client_counts_its_calls_with_the_address_of_the_broker() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let remote = connect(&TestBroker::new()).await.layer(Metered);
    remote.execute_async(Store(1)).await.unwrap();
    let metrics = recorder.snapshotter().snapshot().into_vec();
    let calls = metrics
        .iter()
        .find(|it| it.0.key().name() == "static_bus_calls_total");
    let (key, _, _, value) = calls.unwrap();
    assert_eq!(*value, DebugValue::Counter(1));
    let labels = key
        .key()
        .labels()
        .map(|label| label.value())
        .collect::<Vec<_>>();
    assert_eq!(labels, ["command", "store", "test://broker"]);
}
