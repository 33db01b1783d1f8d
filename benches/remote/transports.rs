//! The table of all transports: the same work with static-bus, without bare calls, over one after the other in turns.

use std::time::Duration;

use static_bus_kafka::KafkaTransport;
use static_bus_redis::RedisTransport;
use static_bus_remote::Transport;
use static_bus_sql::{PostgresTransport, SqliteTransport};

use super::{
    RUNS, TOGETHER, WINDOW, databases, ours, start_kafka, start_redis,
    table::{median, median_ratio},
};
use test_brokers::redis::Persistence;

/// The numbers of messages in a run: those of the slowest transport.
const BATCHED: usize = 60_000;
const SINGLE: usize = 500;
const CONCURRENT: usize = 12_800;
const QUERIES: usize = 500;

/// The work, with the number of decimals of its result.
const ROWS: [(&str, usize); 5] = [
    (
        "commands end to end, batches of 100, duplicates not recognised, per second",
        0,
    ),
    ("the same, duplicates recognised, per second", 0),
    ("commands sent one by one, per second", 0),
    ("commands sent one by one by 64 at a time, per second", 0),
    ("query and answer between two processes, median, µs", 1),
];

/// A column of the table.
struct Column<T> {
    title: &'static str,
    client: T,
    server: T,
    /// The results of each run.
    runs: Vec<[f64; ROWS.len()]>,
}

/// Runs the work over each transport in turns, and prints the medians, and the medians of the ratios to the first one.
pub async fn compare() {
    let redis = start_redis(Persistence::EverySecond);
    let kafka = start_kafka();
    let postgres = databases::start_postgres(true);
    let place = databases::place(true);
    let file = format!("sqlite:{}/bus.db", place.path().display());

    let redis = async || RedisTransport::connect(redis.url()).await;
    let kafka = async || KafkaTransport::connect(kafka.servers()).await;
    let postgres = async || PostgresTransport::connect(&postgres.url()).await;
    let sqlite = async || SqliteTransport::connect(&file).await;
    let mut redis = Column::new("Redis, appendfsync everysec", redis).await;
    let mut kafka = Column::new("Kafka", kafka).await;
    let mut postgres = Column::new("PostgreSQL, fsync on", postgres).await;
    let mut sqlite = Column::new("SQLite, on a disk", sqlite).await;
    for _ in 0..RUNS {
        redis.run().await;
        kafka.run().await;
        postgres.run().await;
        sqlite.run().await;
    }
    print(&[
        (redis.title, redis.runs),
        (kafka.title, kafka.runs),
        (postgres.title, postgres.runs),
        (sqlite.title, sqlite.runs),
    ]);
}

impl<T: Transport> Column<T> {
    /// Connects, and makes a first run whose results do not count: a server is slow after its start.
    async fn new<E: std::fmt::Debug>(
        title: &'static str,
        connect: impl AsyncFn() -> Result<T, E>,
    ) -> Self {
        let (client, server) = (connect().await, connect().await);
        let mut column = Column {
            title,
            client: client.expect("the server was started"),
            server: server.expect("the server was started"),
            runs: Vec::new(),
        };
        column.run().await;
        column.runs.clear();
        column
    }

    async fn run(&mut self) {
        let Column { client, server, .. } = &*self;
        let rate = |count: usize, took: Duration| count as f64 / took.as_secs_f64();
        let plain = ours::commands(client, BATCHED, None).await;
        let recognising = ours::commands(client, BATCHED, Some(WINDOW)).await;
        let single = ours::send_each(client, SINGLE, 1).await;
        let concurrent = ours::send_each(client, CONCURRENT, TOGETHER).await;
        let queries = ours::round_trips_between(client, server, QUERIES).await;
        let micros = queries.iter().map(|time| time.as_secs_f64() * 1e6);
        self.runs.push([
            rate(BATCHED, plain.handled),
            rate(BATCHED, recognising.handled),
            rate(SINGLE, single),
            rate(CONCURRENT, concurrent),
            median(micros.collect()),
        ]);
    }
}

fn print(columns: &[(&str, Vec<[f64; ROWS.len()]>)]) {
    let titles: Vec<_> = columns.iter().map(|(title, _)| *title).collect();
    println!("\n| | {} |", titles.join(" | "));
    println!("|{}", "---|".repeat(columns.len() + 1));
    for (row, (what, digits)) in ROWS.into_iter().enumerate() {
        let results = |of: usize| columns[of].1.iter().map(|run| run[row]).collect::<Vec<_>>();
        let first = results(0);
        let cells = (0..columns.len()).map(|of| {
            let own = results(of);
            let ratio = median_ratio(&first, &own);
            format!("{:.digits$} ({ratio:.2})", median(own))
        });
        println!("| {what} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}
