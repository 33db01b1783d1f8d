//! The same work over a broker with bare calls of its client and with static-bus, in one run.
//!
//! ```text
//! cargo bench -p bench-remote
//! cargo bench -p bench-remote -- Kafka             # the tables with this word in the title
//! cargo bench -p bench-remote -- Kafka produced    # of these, the rows with this word in the name
//! cargo bench -p bench-remote -- transports        # all transports beside each other, without bare calls
//! cargo bench -p bench-remote -- backlog           # taking of a long backlog; fails if it takes longer
//! ```
//!
//! It starts the machine's `redis-server` twice, without persistence and with a log that is written to disk
//! every second, an Apache Kafka, and PostgreSQL twice, without and with waiting for the disk. SQLite has a file in memory
//! and one on the disk of temporary files. Bare calls and static-bus take turns, seven times each. It prints the medians,
//! and the median of the ratios of two runs that follow each other. Each measures its own time, after it has connected,
//! joined its group and sent one message. The bare calls do the minimum that moves the same bodies: they encode one body
//! once, and decode none.
//!
//! The last column is the processor time of a message, which other programs on the machine change less than the rates. It
//! is that of this process and of the server together, and for databases of this process alone. It contains the start and
//! the end of the clients.

use std::time::Duration;

use static_bus_kafka::KafkaTransport;
use static_bus_redis::RedisTransport;

use test_brokers::{
    kafka::{Kafka, KafkaOptions},
    redis::{Persistence, Redis, RedisOptions},
};

mod databases;
mod kafka;
mod messages;
mod ours;
mod postgres;
mod redis;
mod sqlite;
mod table;
mod transports;

use kafka::Work;
use table::Table;

/// The number of runs of each.
const RUNS: usize = 7;
/// The number of commands in a run with batches, and in a run that sends them one by one.
const BATCHED: usize = 100_000;
const SINGLE: usize = 10_000;
/// The number of queries in a run.
const QUERIES: usize = 20_000;
/// The number of concurrent queries or commands.
const TOGETHER: usize = 64;
/// The window of deduplication, where it is on.
const WINDOW: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() {
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let mut words = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'));
    let (title, row) = (words.next(), words.next());
    let is_wanted = |of: &str| title.as_ref().is_none_or(|word| of.contains(word));
    println!(
        "medians of {RUNS} runs in turns; rates per second, times in microseconds, processor times in microseconds a \
         message\n"
    );
    for (title, persistence) in [
        ("Redis, no persistence", Persistence::None),
        ("Redis, appendfsync everysec", Persistence::EverySecond),
    ] {
        if !is_wanted(title) {
            continue;
        }
        let server = start_redis(persistence);
        let table = Table::begin(title, Some(server.id()), row.as_deref());
        over_redis(&table, server.url()).await;
    }
    if is_wanted("Kafka") {
        let server = start_kafka();
        let table = Table::begin("Kafka", Some(server.id()), row.as_deref());
        over_kafka(&table, server.servers()).await;
    }
    for (title, synced) in [
        ("PostgreSQL, fsync off", false),
        ("PostgreSQL, fsync on", true),
    ] {
        if is_wanted(title) {
            let server = databases::start_postgres(synced);
            let table = Table::begin(title, None, row.as_deref());
            databases::over_postgres(&table, &server.url(), synced).await;
        }
    }
    for (title, synced) in [("SQLite, in memory", false), ("SQLite, on a disk", true)] {
        if is_wanted(title) {
            let place = databases::place(synced);
            let table = Table::begin(title, None, row.as_deref());
            databases::over_sqlite(&table, place.path(), synced).await;
        }
    }
    if is_wanted("all transports") {
        transports::compare().await;
    }
    if is_wanted("PostgreSQL, backlog") {
        databases::backlog_of_postgres().await;
    }
    if is_wanted("SQLite, backlog") {
        databases::backlog_of_sqlite().await;
    }
}

fn start_redis(persistence: Persistence) -> Redis {
    Redis::with(RedisOptions {
        persistence,
        ..Default::default()
    })
}

fn start_kafka() -> Kafka {
    Kafka::with(KafkaOptions {
        warm: true,
        ..Default::default()
    })
}

async fn over_redis(table: &Table<'_>, url: &str) {
    let transport = RedisTransport::connect(url)
        .await
        .expect("the server was started");
    for (what, bare, dedup) in [
        ("not recognised", false, None),
        ("recognised by static-bus", false, Some(WINDOW)),
        ("recognised by both", true, Some(WINDOW)),
    ] {
        table
            .rate(
                &format!("commands end to end, batches of 100, duplicates {what}"),
                BATCHED,
                async || redis::commands(url, BATCHED, bare).await,
                async || ours::commands(&transport, BATCHED, dedup).await.ended,
            )
            .await;
    }
    table
        .rate(
            "commands sent one by one",
            SINGLE,
            async || redis::send_each(url, SINGLE, 1).await,
            async || ours::send_each(&transport, SINGLE, 1).await,
        )
        .await;
    table
        .rate(
            "commands sent one by one by 64 at a time",
            SINGLE,
            async || redis::send_each(url, SINGLE, TOGETHER).await,
            async || ours::send_each(&transport, SINGLE, TOGETHER).await,
        )
        .await;
    table
        .latency(
            "query and answer, median time",
            async || redis::round_trips(url, QUERIES / 4).await,
            async || ours::round_trips(&transport, QUERIES / 4).await,
        )
        .await;
    table
        .rate(
            "queries, 64 at a time",
            QUERIES,
            async || redis::queries(url, QUERIES, TOGETHER).await,
            async || ours::queries(&transport, QUERIES, TOGETHER).await,
        )
        .await;
}

async fn over_kafka(table: &Table<'_>, servers: &str) {
    /// More than over Redis: a server is slow after its start, and leaving a group takes time.
    const BATCHED: usize = 300_000;
    const QUERIES: usize = 1_000;
    let transport = KafkaTransport::connect(servers)
        .await
        .expect("the server was started");
    for (of, work) in [
        ("bare without attributes", Work::Bodies),
        ("both with attributes", Work::Attributes),
    ] {
        table
            .rate(
                &format!("commands produced in batches of 100, {of}"),
                BATCHED,
                async || kafka::produce(servers, BATCHED, work).await,
                async || ours::produce(&transport, BATCHED).await,
            )
            .await;
    }
    for (of, work, dedup) in [
        ("bare without attributes", Work::Bodies, None),
        ("both with attributes", Work::Attributes, None),
        ("both recognise duplicates", Work::Ids, Some(WINDOW)),
    ] {
        table
            .rate(
                &format!("commands end to end, batches of 100, {of}"),
                BATCHED,
                async || kafka::commands(servers, BATCHED, work).await,
                async || ours::commands(&transport, BATCHED, dedup).await.handled,
            )
            .await;
    }
    table
        .latency(
            "query and answer, median time",
            async || kafka::round_trips(servers, QUERIES).await,
            async || ours::round_trips(&transport, QUERIES).await,
        )
        .await;
}
