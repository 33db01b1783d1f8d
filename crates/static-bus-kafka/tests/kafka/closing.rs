//! Consumers and receivers are closed while the cluster is gone.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::{
    RemoteBus, Transport as _, Worker,
    transport::{Consumer as _, Kind, Lease, Receiver as _, Record, Subscription, Topic},
};

use crate::support::*;
use test_brokers::kafka::Kafka;

/// Longer than the test may take.
const DEADLINE: Duration = Duration::from_secs(300);
const LIMIT: Duration = Duration::from_secs(60);

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

#[derive(Serialize, Deserialize)]
struct Close;
command!(Close, name = "closing.close");
#[derive(Serialize, Deserialize)]
struct Count;
query!(Count -> usize, name = "closing.count");

/// A worker with a command whose acknowledgement fails, because the cluster is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_shuts_down_soon_if_the_cluster_is_gone() {
    let mut kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let transport = kafka_at(kafka.servers()).deadline(DEADLINE).partitions(2);
    let transport = transport.connect().await.unwrap();
    let (tell, mut handled) = tokio::sync::mpsc::unbounded_channel();
    let (gone, is_gone) = tokio::sync::watch::channel(false);
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Close| {
            let (tell, mut is_gone) = (tell.clone(), is_gone.clone());
            async move {
                _ = tell.send(());
                _ = is_gone.wait_for(|gone| *gone).await;
                Ok::<_, BusError>(())
            }
        })
        .register_query_fn(|_: Count| 1)
        .build();
    let worker = Worker::new(transport.clone(), bus);
    let worker = worker.command::<Close>().query::<Count>();
    let worker = worker.start().await.unwrap();
    let remote = RemoteBus::connect(transport).await.unwrap();
    remote.execute_async(Close).await.unwrap();
    handled.recv().await.unwrap();
    kafka.kill();
    gone.send_replace(true);
    let begin = Instant::now();
    worker.shutdown(Duration::from_secs(1)).await;
    println!("{:?}", begin.elapsed());
    assert!(begin.elapsed() < LIMIT, "{:?}", begin.elapsed());
}
