//! The same work over a broker with bare calls of its client and with static-bus, in one run.
//!
//! ```text
//! cargo bench -p bench-remote
//! cargo bench -p bench-remote -- Kafka      # the tables with this word in the title
//! ```
//!
//! It starts the machine's `redis-server` twice, without persistence and with a log that is written to disk
//! every second, and an Apache Kafka. Bare calls and static-bus take turns, seven times each. It prints the medians
//! and their ratio. Each measures its own time, after it has connected, joined its group and sent one message. The
//! bare calls do the minimum that moves the same bytes: they encode one body once, and decode none.

use std::{future::Future, time::Duration};

use static_bus_kafka::KafkaTransport;
use static_bus_redis::RedisTransport;
use static_bus_remote::Transport;

use test_brokers::{
    kafka::{Kafka, KafkaOptions},
    redis::{Persistence, Redis, RedisOptions},
};

mod kafka;
mod messages;
mod ours;
mod redis;

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
    let only = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let is_wanted = |title: &str| only.as_ref().is_none_or(|only| title.contains(only));
    println!("medians of {RUNS} runs in turns; rates per second, times in microseconds\n");
    for (title, persistence) in [
        ("Redis, no persistence", Persistence::None),
        ("Redis, appendfsync everysec", Persistence::EverySecond),
    ] {
        if !is_wanted(title) {
            continue;
        }
        let options = RedisOptions {
            persistence,
            ..Default::default()
        };
        let server = Redis::with(options);
        head(title);
        over_redis(server.url()).await;
    }
    if is_wanted("Kafka") {
        let server = Kafka::with(KafkaOptions {
            warm: true,
            ..Default::default()
        });
        head("Kafka");
        over_kafka(server.servers()).await;
    }
}

async fn over_redis(url: &str) {
    let transport = RedisTransport::connect(url)
        .await
        .expect("the server was started");
    let bare = async || redis::commands(url, BATCHED).await;
    commands(BATCHED, bare, &transport).await;
    rate(
        "commands sent one by one",
        SINGLE,
        async || redis::send_each(url, SINGLE, 1).await,
        async || ours::send_each(&transport, SINGLE, 1).await,
    )
    .await;
    rate(
        "commands sent one by one by 64 at a time",
        SINGLE,
        async || redis::send_each(url, SINGLE, TOGETHER).await,
        async || ours::send_each(&transport, SINGLE, TOGETHER).await,
    )
    .await;
    latency(
        "query and answer, median time",
        async || redis::round_trips(url, QUERIES / 4).await,
        async || ours::round_trips(&transport, QUERIES / 4).await,
    )
    .await;
    rate(
        "queries, 64 at a time",
        QUERIES,
        async || redis::queries(url, QUERIES, TOGETHER).await,
        async || ours::queries(&transport, QUERIES, TOGETHER).await,
    )
    .await;
}

async fn over_kafka(servers: &str) {
    /// More than over Redis: a server is slow after its start, and leaving a group takes time.
    const BATCHED: usize = 300_000;
    const QUERIES: usize = 1_000;
    let transport = KafkaTransport::connect(servers)
        .await
        .expect("the server was started");
    rate(
        "commands produced in batches of 100",
        BATCHED,
        async || kafka::produce(servers, BATCHED).await,
        async || ours::produce(&transport, BATCHED).await,
    )
    .await;
    let bare = async || kafka::commands(servers, BATCHED).await;
    commands(BATCHED, bare, &transport).await;
    latency(
        "query and answer, median time",
        async || kafka::round_trips(servers, QUERIES).await,
        async || ours::round_trips(&transport, QUERIES).await,
    )
    .await;
}

/// The rows of commands from end to end.
async fn commands<R: Future<Output = Duration>>(
    count: usize,
    raw: impl Fn() -> R,
    transport: &impl Transport,
) {
    rate(
        "commands end to end, batches of 100, duplicates not recognised",
        count,
        &raw,
        async || ours::commands(transport, count, None).await,
    )
    .await;
    rate("the same, duplicates recognised", count, &raw, async || {
        ours::commands(transport, count, Some(WINDOW)).await
    })
    .await;
}

/// Begins a table.
fn head(title: &str) {
    println!("\n| {title} | bare | static-bus | static-bus : bare |");
    println!("|---|---|---|---|");
}

/// Prints a row of rates; more is better.
async fn rate<R: Future<Output = Duration>, O: Future<Output = Duration>>(
    what: &str,
    messages: usize,
    raw: impl Fn() -> R,
    ours: impl Fn() -> O,
) {
    let per_second = |took: Duration| messages as f64 / took.as_secs_f64();
    let (mut bare, mut own) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        bare.push(per_second(raw().await));
        own.push(per_second(ours().await));
    }
    let (bare, own) = (median(bare), median(own));
    println!("| {what} | {bare:.0} | {own:.0} | {:.2} |", own / bare);
}

/// Prints a row of times; less is better.
async fn latency<R, O>(what: &str, raw: impl Fn() -> R, ours: impl Fn() -> O)
where
    R: Future<Output = Vec<Duration>>,
    O: Future<Output = Vec<Duration>>,
{
    let micros =
        |times: Vec<Duration>| median(times.iter().map(|time| time.as_secs_f64() * 1e6).collect());
    let (mut bare, mut own) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        bare.push(micros(raw().await));
        own.push(micros(ours().await));
    }
    let (bare, own) = (median(bare), median(own));
    println!("| {what} | {bare:.1} | {own:.1} | {:.2} |", own / bare);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
