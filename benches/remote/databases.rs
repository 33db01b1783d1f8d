//! The tables of PostgreSQL and SQLite.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use static_bus_remote::{
    Headers, Transport,
    transport::{Consumer, Kind, Lease, Record, Subscription, Topic},
};
use static_bus_sql::{PostgresTransport, SqliteTransport};
use tempfile::TempDir;
use test_brokers::postgres::{Postgres, PostgresOptions};

use super::{
    TOGETHER, WINDOW,
    messages::{Put, attributes},
    ours, postgres, sqlite,
    table::{Table, median},
};

/// The numbers of messages in a run: in batches of 100, one by one, and by 64 at a time; and of queries.
struct Counts {
    batched: usize,
    single: usize,
    together: usize,
    queries: usize,
}

/// Where no commit waits for a disk.
const FAST: Counts = Counts {
    batched: 20_000,
    single: 1_000,
    together: 10_000,
    queries: 1_000,
};
/// Where each waits for some milliseconds.
const SYNCED: Counts = Counts {
    batched: 20_000,
    single: 200,
    together: 2_000,
    queries: 500,
};

/// The backlogs from which records are taken.
const BACKLOGS: [usize; 2] = [1_000, 1_000_000];

/// The goal: taking from the long backlog takes at most this many times as long.
const GROWTH: f64 = 1.5;

pub fn start_postgres(synced: bool) -> Postgres {
    Postgres::with(PostgresOptions {
        synced,
        ..Default::default()
    })
}

/// A directory for database files: on the disk, or in memory.
pub fn place(synced: bool) -> TempDir {
    let place = match synced {
        true => tempfile::tempdir(),
        false => tempfile::tempdir_in("/dev/shm"),
    };
    place.expect("a directory for temporary files")
}

fn counts(synced: bool) -> Counts {
    if synced { SYNCED } else { FAST }
}

pub async fn over_postgres(table: &Table<'_>, url: &str, synced: bool) {
    let counts = counts(synced);
    let connect = async || {
        let transport = PostgresTransport::connect(url).await;
        transport.expect("the server was started")
    };
    let (transport, server) = (connect().await, connect().await);
    let bare = async |remembers| postgres::commands(url, counts.batched, remembers).await;
    commands(table, counts.batched, bare, &transport).await;
    let bare = async |count, together| postgres::send_each(url, count, together).await;
    sending(table, &counts, bare, &transport).await;
    table
        .latency(
            "query and answer between two processes, median time",
            async || postgres::round_trips(url, counts.queries).await,
            async || ours::round_trips_between(&transport, &server, counts.queries).await,
        )
        .await;
}

pub async fn over_sqlite(table: &Table<'_>, place: &Path, synced: bool) {
    let counts = counts(synced);
    let url = &format!("sqlite:{}/bare.db", place.display());
    let connect = async || {
        let url = format!("sqlite:{}/bus.db", place.display());
        let transport = SqliteTransport::connect(&url).await;
        transport.expect("the directory is there")
    };
    let (transport, server) = (connect().await, connect().await);
    let bare = async |remembers| sqlite::commands(url, counts.batched, remembers).await;
    commands(table, counts.batched, bare, &transport).await;
    let bare = async |count, together| sqlite::send_each(url, count, together).await;
    sending(table, &counts, bare, &transport).await;
    table
        .latency(
            "query and answer in one process, median time",
            async || sqlite::round_trips(url, counts.queries).await,
            async || ours::round_trips(&transport, counts.queries).await,
        )
        .await;
    table
        .latency(
            "query and answer between two processes, median time",
            async || sqlite::round_trips_between(url, counts.queries / 10).await,
            async || ours::round_trips_between(&transport, &server, counts.queries / 10).await,
        )
        .await;
}

/// The rows of commands from end to end. The bare statements remember deduplication keys where static-bus does.
async fn commands(
    table: &Table<'_>,
    count: usize,
    bare: impl AsyncFn(bool) -> Duration,
    transport: &impl Transport,
) {
    table
        .rate(
            "commands end to end, batches of 100, duplicates not recognised",
            count,
            async || bare(false).await,
            async || ours::commands(transport, count, None).await.ended,
        )
        .await;
    table
        .rate(
            "the same, duplicates recognised by both",
            count,
            async || bare(true).await,
            async || ours::commands(transport, count, Some(WINDOW)).await.ended,
        )
        .await;
}

/// The rows of commands that are sent one by one.
async fn sending(
    table: &Table<'_>,
    counts: &Counts,
    bare: impl AsyncFn(usize, usize) -> Duration,
    transport: &impl Transport,
) {
    for (what, count, together) in [
        ("commands sent one by one", counts.single, 1),
        (
            "commands sent one by one by 64 at a time",
            counts.together,
            TOGETHER,
        ),
    ] {
        table
            .rate(
                what,
                count,
                async || bare(count, together).await,
                async || ours::send_each(transport, count, together).await,
            )
            .await;
    }
}

pub async fn backlog_of_postgres() {
    let server = start_postgres(false);
    let url = server.url();
    let connect = async |namespace| {
        let transport = PostgresTransport::builder(&url).namespace(namespace);
        transport.connect().await.expect("the server was started")
    };
    let transports = [connect("short").await, connect("long").await];
    backlogs("PostgreSQL", transports).await;
}

pub async fn backlog_of_sqlite() {
    let place = place(true);
    let connect = async |name| {
        let url = format!("sqlite:{}/{name}.db", place.path().display());
        let transport = SqliteTransport::connect(&url).await;
        transport.expect("the directory is there")
    };
    let transports = [connect("short").await, connect("long").await];
    backlogs("SQLite", transports).await;
}

/// Takes 100 records of a long and of a short backlog in turns, and prints the median of the ratios.
///
/// # Panics
/// If the goal is missed.
async fn backlogs<T: Transport>(title: &str, transports: [T; 2]) {
    let mut members = Vec::new();
    for (transport, records) in transports.iter().zip(BACKLOGS) {
        let member = Subscription::new(topic(), "bench", "member");
        members.push(transport.consume(member).await.expect("it joins"));
        fill(transport, records).await;
    }
    let mut times = [Vec::new(), Vec::new()];
    let mut ratios = Vec::new();
    for _ in 0..100 {
        let mut took = [0.0; 2];
        for (i, member) in members.iter().enumerate() {
            took[i] = take(member).await;
            times[i].push(took[i]);
            fill(&transports[i], 100).await;
        }
        ratios.push(took[1] / took[0]);
    }
    let [short, long] = times.map(median);
    let growth = median(ratios);
    println!(
        "\n{title}: taking 100 of {}: {short:.0}; of {}: {long:.0}; {growth:.2} times as long",
        BACKLOGS[0], BACKLOGS[1]
    );
    assert!(growth <= GROWTH, "the goal is {GROWTH}");
}

fn topic() -> Topic {
    Topic {
        kind: Kind::Command,
        name: "bench.wait".into(),
    }
}

/// Appends records without a key.
async fn fill(transport: &impl Transport, records: usize) {
    const CHUNK: usize = 5_000;
    let record = Record {
        headers: Headers::from_raw(String::from_utf8(attributes()).expect("it is text")),
        body: Put::bytes().into(),
        ..Record::default()
    };
    for from in (0..records).step_by(CHUNK) {
        let some = (from..records.min(from + CHUNK)).map(|_| (topic(), record.clone()));
        for appended in transport.append(some.collect()).await {
            appended.expect("it is appended");
        }
    }
}

/// Takes and acknowledges 100 records. Returns the microseconds.
async fn take(member: &impl Consumer) -> f64 {
    let started = Instant::now();
    let taken = member.receive(100, WINDOW).await.expect("they are taken");
    assert_eq!(taken.len(), 100);
    let lease = |receipt| Lease {
        receipt,
        claim: None,
    };
    let taken: Vec<_> = taken.into_iter().map(|d| lease(d.receipt)).collect();
    let acknowledged = member.acknowledge(&taken).await;
    acknowledged.expect("they are acknowledged");
    started.elapsed().as_secs_f64() * 1e6
}
