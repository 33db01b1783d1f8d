//! Queries are delivered at most once, even after a crash. A receiver that closes loses none.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
};
use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::AsyncSendQuery, prelude::*};
use static_bus_kafka::{KafkaReceiver, KafkaTransport};
use static_bus_remote::{
    RemoteBus, Transport as _, Worker, WorkerHandle,
    transport::{Kind, Receiver as _, Record, Topic},
};

use crate::support::*;
use test_brokers::doomed::{self, Doomed};
use test_brokers::kafka::Kafka;

/// A topic of queries with one partition, and access to the commits of its group.
struct Asked {
    kafka: KafkaTransport,
    topic: Topic,
    name: String,
    group: String,
}

impl Asked {
    async fn new(namespace: &str) -> Self {
        let kafka = kafka_at(Kafka::common().servers()).namespace(namespace);
        let kafka = kafka.partitions(1).receiver_grace(LONG);
        let kafka = kafka.connect().await.unwrap();
        let topic = Topic {
            kind: Kind::Query,
            name: "asked".into(),
        };
        // From now on queries are accepted.
        let receiver = kafka.listen(topic.clone()).await.unwrap();
        receiver.close().await.unwrap();
        Asked {
            kafka,
            topic,
            name: format!("{namespace}.query.asked"),
            group: format!("{namespace}.query.asked@handlers"),
        }
    }

    async fn ask(&self, numbers: std::ops::Range<u32>) {
        let record = |n: u32| Record {
            expires: Some(LONG),
            ..record(n.to_string(), None)
        };
        let records = numbers.map(|n| (self.topic.clone(), record(n)));
        for result in self.kafka.append(records.collect()).await {
            result.unwrap();
        }
    }

    async fn listen(&self) -> KafkaReceiver {
        self.kafka.listen(self.topic.clone()).await.unwrap()
    }

    /// Calls the coordinator of the group with a client that is not a member.
    async fn with_group<T: Send + 'static>(
        &self,
        call: impl FnOnce(&BaseConsumer, TopicPartitionList) -> T + Send + 'static,
    ) -> T {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", Kafka::common().servers());
        config.set("group.id", &self.group);
        let mut places = TopicPartitionList::new();
        places.add_partition(&self.name, 0);
        let calling = move || call(&config.create().unwrap(), places);
        tokio::task::spawn_blocking(calling).await.unwrap()
    }

    /// The position of the group, and the metadata.
    async fn committed(&self) -> (Offset, String) {
        self.with_group(|client, places| {
            let committed = client.committed_offsets(places, LONG).unwrap();
            let place = &committed.elements()[0];
            (place.offset(), place.metadata().to_owned())
        })
        .await
    }

    /// Makes the last commit of a member that crashes.
    async fn crashed(&self, position: i64, held_until: u64) {
        self.with_group(move |client, mut places| {
            places.set_all_offsets(Offset::Offset(position)).unwrap();
            let name = places.elements()[0].topic().to_owned();
            let mut place = places.find_partition(&name, 0).unwrap();
            place.set_metadata(format!("held until {held_until}"));
            client.commit(&places, CommitMode::Sync).unwrap();
        })
        .await;
    }
}

async fn take(receiver: &KafkaReceiver, count: usize) -> Vec<u32> {
    let mut got = Vec::new();
    while got.len() < count {
        let more = receiver.receive(count - got.len(), LONG).await.unwrap();
        assert!(!more.is_empty(), "{got:?} and no more");
        let number = |body: &[u8]| str::from_utf8(body).unwrap().parse::<u32>().unwrap();
        got.extend(more.iter().map(|one| number(&one.body)));
    }
    got
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

#[tokio::test]
async fn a_receiver_that_closes_commits_the_delivered_queries() {
    let asked = Asked::new("queries-leave").await;
    asked.ask(0..10).await;
    let first = asked.listen().await;
    assert_eq!(take(&first, 4).await, [0, 1, 2, 3]);
    let (_, metadata) = asked.committed().await;
    assert!(metadata.starts_with("held until "), "{metadata:?}");
    first.close().await.unwrap();
    assert_eq!(asked.committed().await, (Offset::Offset(4), String::new()));
    let second = asked.listen().await;
    assert_eq!(take(&second, 6).await, [4, 5, 6, 7, 8, 9]);
    second.close().await.unwrap();
}

#[tokio::test]
async fn queries_that_a_crashed_receiver_may_have_delivered_are_skipped() {
    let asked = Asked::new("queries-crash").await;
    asked.ask(0..10).await;
    // The clocks of senders may differ by a second.
    let end = now() + 1_000;
    asked.crashed(3, end).await;
    asked.ask(10..20).await;
    while now() < end + 1_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    asked.ask(20..25).await;
    let next = asked.listen().await;
    assert_eq!(take(&next, 5).await, [20, 21, 22, 23, 24]);
    next.close().await.unwrap();
}

#[derive(Serialize, Deserialize)]
struct Double(u32);
query!(Double -> u32, name = "doubles.get");

const KILLED: &str = "queries-killed";

async fn connect(servers: &str) -> KafkaTransport {
    let kafka = kafka_at(servers)
        .namespace(KILLED)
        .partitions(4)
        // A hold lasts half of that.
        .set("session.timeout.ms", "6000");
    kafka.connect().await.unwrap()
}

/// A worker that reports each query.
async fn answer(
    servers: &str,
    tell: impl Fn(u32) + Send + Sync + 'static,
) -> WorkerHandle<KafkaTransport> {
    let bus = BusBuilder::new()
        .register_query_fn(move |double: Double| {
            tell(double.0);
            double.0 * 2
        })
        .build();
    let worker = Worker::new(connect(servers).await, bus).query::<Double>();
    worker.start().await.unwrap()
}

/// The child process of a test. Does nothing without the address of a broker.
#[tokio::test]
async fn the_worker_that_is_killed() {
    let Some(servers) = doomed::told() else {
        return;
    };
    let _worker = answer(&servers, |number| println!("asked {number}")).await;
    // Ends by itself if it is not killed.
    tokio::time::sleep(2 * LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_a_killed_worker_do_not_run_again_and_later_ones_are_answered() {
    let servers = Kafka::common().servers();
    let remote = RemoteBus::connect(connect(servers).await).await.unwrap();
    let remote = remote.with_timeout(LONG);
    let ask = move |number| {
        let remote = remote.clone();
        tokio::spawn(async move { remote.send_async(Double(number)).await })
    };
    let test = "queries::the_worker_that_is_killed";
    let doomed = Doomed::start(test, servers);
    let mut answers = Vec::new();
    let asked = |line: &str| Some(line.split_once("asked ")?.1.parse::<u32>().unwrap());
    // It may have begun late: the number of queries counts, not the number that one has.
    let count = AtomicUsize::new(0);
    let is_last =
        move |line: &str| asked(line).is_some() && count.fetch_add(1, Ordering::Relaxed) >= 80;
    let killing = tokio::spawn(doomed.kill_when(is_last));
    let here = Arc::new(Mutex::new(Vec::new()));
    let mut worker = None;
    // The killed worker held its partitions for 3 s, and clocks may differ by 1 s.
    let held = Duration::from_secs(4);
    let mut certain = None;
    let mut asked_then = 0;
    let end = Instant::now() + LONG;
    for number in 0.. {
        assert!(Instant::now() < end, "the worker is not killed");
        answers.push((Instant::now(), ask(number)));
        tokio::time::sleep(Duration::from_millis(20)).await;
        if certain.is_none() && killing.is_finished() {
            certain = Some(Instant::now() + held);
            let here = here.clone();
            let tell = move |number| here.lock().unwrap().push(number);
            worker = Some(answer(servers, tell).await);
        }
        asked_then += usize::from(certain.is_some_and(|at| Instant::now() > at));
        if asked_then > 100 {
            break;
        }
    }
    answers.retain(|(asked_at, _)| *asked_at >= certain.unwrap());
    for (_, answer) in answers {
        answer.await.unwrap().unwrap();
    }
    worker.unwrap().shutdown(LONG).await;
    let printed = killing.await.unwrap();
    let mut all: Vec<_> = printed.iter().filter_map(|line| asked(line)).collect();
    let (there, here) = (all.len(), here.lock().unwrap().clone());
    assert!(there > 50 && here.len() > 50, "{there} there, {here:?}");
    all.extend(here);
    all.sort_unstable();
    let twice: Vec<_> = all.windows(2).filter(|two| two[0] == two[1]).collect();
    assert!(twice.is_empty(), "run twice: {twice:?}");
}
