//! The program, and brokers with known content.

use std::{
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use static_bus_kafka::KafkaTransport;
use static_bus_redis::RedisTransport;
use static_bus_remote::{
    DeadLetter, DeadLetterFilter, DeadLetters, Headers, Transport,
    transport::{Consumer, Delivery, Kind, Lease, Record, Subscription, Topic},
};
use static_bus_sql::{PostgresTransport, SqliteTransport};
use tempfile::TempDir;
use test_brokers::{kafka::Kafka, postgres::Postgres, redis::Redis};

/// The limit of anything on a busy machine.
pub const LONG: Duration = Duration::from_secs(120);

/// The program, with the address of a broker.
pub struct Tool {
    url: String,
    namespace: String,
}

/// What the program printed, and its exit status.
#[derive(Debug, PartialEq, Eq)]
pub struct Printed {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Tool {
    pub fn new(url: impl Into<String>, namespace: impl Into<String>) -> Self {
        Tool {
            url: url.into(),
            namespace: namespace.into(),
        }
    }

    /// The program with these arguments, and without input.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tool();
        command.env("STATIC_BUS_URL", &self.url);
        command.env("STATIC_BUS_NAMESPACE", &self.namespace);
        command.args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Printed {
        printed(self.command(arguments).output().unwrap())
    }

    /// The output of a run that succeeds.
    pub fn out(&self, arguments: &[&str]) -> String {
        let printed = self.run(arguments);
        assert_eq!((printed.status, &*printed.err), (0, ""), "{arguments:?}");
        printed.out
    }

    /// The objects that are printed with `--json`.
    pub fn json(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let out = self.out(&[arguments, &["--json"]].concat());
        out.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The error text of a run that ends with this status and prints nothing else.
    pub fn error(&self, status: i32, arguments: &[&str]) -> String {
        let printed = self.run(arguments);
        assert_eq!((printed.status, &*printed.out), (status, ""), "{printed:?}");
        printed.err
    }
}

/// The program, without settings from the environment.
pub fn tool() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_static-bus"));
    command
        .env_remove("STATIC_BUS_URL")
        .env_remove("STATIC_BUS_NAMESPACE")
        .env_remove("STATIC_BUS_SENTINEL_PASSWORD");
    command.stdin(Stdio::null());
    command
}

pub fn printed(output: Output) -> Printed {
    Printed {
        status: output.status.code().expect("it ends by itself"),
        out: String::from_utf8(output.stdout).expect("it prints UTF-8"),
        err: String::from_utf8(output.stderr).expect("it prints UTF-8"),
    }
}

pub async fn redis(server: &Redis) -> (Tool, RedisTransport) {
    let builder = RedisTransport::builder(server.url()).namespace("shop");
    let tool = Tool::new(server.url(), "shop");
    (tool, builder.deadline(LONG).connect().await.unwrap())
}

/// Kafka, with a namespace of its own for each test.
pub async fn kafka(namespace: &str) -> (Tool, KafkaTransport) {
    let servers = Kafka::common().servers();
    let builder = KafkaTransport::builder(servers)
        .namespace(namespace)
        .partitions(4);
    let tool = Tool::new(format!("kafka://{servers}"), namespace);
    (tool, builder.connect().await.unwrap())
}

/// A database file in a directory of its own.
pub async fn sqlite() -> (TempDir, Tool, SqliteTransport) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("bus.db").display());
    let builder = SqliteTransport::builder(&url).namespace("shop");
    let broker = builder.deadline(LONG).connect().await.unwrap();
    (directory, Tool::new(url, "shop"), broker)
}

/// PostgreSQL, with a namespace of its own for each test.
pub async fn postgres(namespace: &str) -> (Tool, PostgresTransport) {
    let url = Postgres::common().url();
    let builder = PostgresTransport::builder(&url).namespace(namespace);
    let broker = builder.deadline(LONG).connect().await.unwrap();
    (Tool::new(url, namespace), broker)
}

pub fn topic(kind: Kind, name: &'static str) -> Topic {
    Topic {
        kind,
        name: name.into(),
    }
}

pub fn record(body: impl Into<Vec<u8>>) -> Record {
    Record {
        headers: Headers::from_iter([("specversion", "1.0"), ("id", "7")]),
        body: body.into().into(),
        ..Record::default()
    }
}

pub async fn append<T: Transport>(
    broker: &T,
    topic: Topic,
    records: impl IntoIterator<Item = Record>,
) {
    let records = records.into_iter().map(|record| (topic.clone(), record));
    for result in broker.append(records.collect()).await {
        result.unwrap();
    }
}

/// Creates a group that has no members.
pub async fn create_group<T: Transport>(broker: &T, topic: Topic, group: &'static str) {
    let consumer = broker.consume(Subscription::new(topic, group, "founder"));
    let consumer = consumer.await.unwrap();
    // On Kafka a member joins when it receives.
    consumer
        .receive(1, Duration::from_millis(100))
        .await
        .unwrap();
    consumer.close().await.unwrap();
}

/// Receives this many records.
pub async fn receive<C: Consumer>(consumer: &C, count: usize) -> Vec<Delivery<C::Receipt>> {
    let mut all = Vec::new();
    let end = Instant::now() + LONG;
    while all.len() < count {
        assert!(Instant::now() < end, "{} of {count} came", all.len());
        let wait = Duration::from_secs(1);
        all.extend(consumer.receive(count - all.len(), wait).await.unwrap());
    }
    all
}

pub async fn acknowledge<C: Consumer>(consumer: &C, deliveries: &[Delivery<C::Receipt>]) {
    let lease = |delivery: &Delivery<C::Receipt>| Lease {
        receipt: delivery.receipt.clone(),
        claim: None,
    };
    let leases: Vec<_> = deliveries.iter().map(lease).collect();
    consumer.acknowledge(&leases).await.unwrap();
}

/// A dead letter as a worker would write it.
pub struct Letter {
    pub origin: &'static str,
    pub group: &'static str,
    pub error: String,
    pub failed: String,
    pub body: Vec<u8>,
    /// The attributes of the message, in the form in which they travel.
    pub headers: String,
}

impl Letter {
    pub fn new(origin: &'static str, group: &'static str, error: &str) -> Self {
        Letter {
            origin,
            group,
            error: error.to_owned(),
            failed: "2026-11-24T10:00:00.5Z".to_owned(),
            body: br#"{"invoice":7}"#.to_vec(),
            headers: "specversion: 1.0\nid: 7\nsource: shop\ntype: orders.place\ndatacontenttype: application/json\n"
                .to_owned(),
        }
    }

    fn record(&self) -> Record {
        Record {
            headers: Headers::from_iter([
                ("origin", self.origin),
                ("place", "stream 1-1"),
                ("group", self.group),
                ("service", "orders"),
                ("attempts", "3"),
                ("error", &self.error),
                ("firstfailure", "2026-11-24T09:00:00Z"),
                ("lastfailure", &self.failed),
                ("key", "42"),
                ("headers", &self.headers),
            ]),
            body: self.body.clone().into(),
            ..Record::default()
        }
    }
}

/// Appends dead letters. Returns them with their positions.
pub async fn bury<T: Transport>(broker: &T, letters: &[Letter]) -> Vec<DeadLetter> {
    let records = letters.iter().map(Letter::record);
    append(broker, topic(Kind::DeadLetter, ""), records).await;
    buried(broker).await
}

pub async fn buried<T: Transport>(broker: &T) -> Vec<DeadLetter> {
    let letters = DeadLetters::of(broker.clone());
    let all = DeadLetterFilter::default();
    letters.find(&all, None, 10_000).await.unwrap()
}

/// A position as the program prints it.
pub fn position(letter: &DeadLetter) -> String {
    letter.position.replace(' ', ":")
}
