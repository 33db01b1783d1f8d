//! Consumers and receivers are closed while the cluster is gone.

use std::time::{Duration, Instant};

use static_bus_remote::{
    Transport as _,
    transport::{Consumer as _, Kind, Lease, Receiver as _, Record, Subscription, Topic},
};

use crate::support::*;
use test_brokers::kafka::Kafka;

/// Longer than the test may take.
const DEADLINE: Duration = Duration::from_secs(300);
const LIMIT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(180);

/// Has a consumer with a claim and an open commit, a receiver of queries and one of replies, and closes all of them while
/// the cluster is gone. Returns the times that took.
async fn close_without_cluster(
    mut kafka: Kafka,
    exactly_once: bool,
) -> Vec<(&'static str, Duration)> {
    let transport = kafka_at(kafka.servers()).deadline(DEADLINE);
    let transport = match exactly_once {
        true => transport.exactly_once(),
        false => transport,
    };
    let transport = transport.partitions(2).connect().await.unwrap();
    let topic = |kind| Topic {
        kind,
        name: "closed".into(),
    };
    let records = [Kind::Command, Kind::Query].map(|kind| (topic(kind), Record::default()));
    let queries = transport.listen(topic(Kind::Query)).await.unwrap();
    for result in transport.append(records.into()).await {
        result.unwrap();
    }
    assert_eq!(queries.receive(1, LONG).await.unwrap().len(), 1);
    let replies = transport.listen(topic(Kind::Reply)).await.unwrap();
    let command = Subscription::new(command("closed"), "handlers", "one");
    let consumer = transport.consume(command).await.unwrap();
    let delivery = consumer.receive(1, LONG).await.unwrap().remove(0);
    let lease = Lease {
        receipt: delivery.receipt,
        claim: Some("key".into()),
    };
    consumer.claim(&["key".into()]).await.unwrap();
    kafka.kill();
    // The caller gives up before the outcome of the commit is known.
    let leases = [lease];
    let acknowledging = consumer.acknowledge(&leases);
    _ = tokio::time::timeout(Duration::from_millis(500), acknowledging).await;
    let mut times = Vec::new();
    let begin = Instant::now();
    _ = queries.close().await;
    times.push(("queries", begin.elapsed()));
    let begin = Instant::now();
    _ = consumer.close().await;
    times.push(("consumer", begin.elapsed()));
    let begin = Instant::now();
    _ = replies.close().await;
    times.push(("replies", begin.elapsed()));
    times
}

#[test]
fn consumers_close_soon_and_leave_nothing_in_the_runtime_if_the_cluster_is_gone() {
    for exactly_once in [false, true] {
        let kafka = Kafka::start();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut times = runtime.block_on(close_without_cluster(kafka, exactly_once));
        let begin = Instant::now();
        drop(runtime);
        times.push(("runtime", begin.elapsed()));
        println!("{times:?}");
        assert!(times.iter().all(|(_, time)| *time < LIMIT), "{times:?}");
    }
}
