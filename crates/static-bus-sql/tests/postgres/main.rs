//! The promises of the engine of PostgreSQL that the conformance suite leaves out.

mod attach;
#[path = "../support/backlogs.rs"]
mod backlogs;
#[path = "../support/bank.rs"]
mod bank;
mod conflicts;
mod health;
#[path = "../support/inbox.rs"]
mod inbox;
mod input;
#[path = "../support/joining.rs"]
mod joining;
#[path = "../support/later.rs"]
mod later;
#[path = "../support/later_outbox.rs"]
mod later_outbox;
mod outages;
#[path = "../support/outbox.rs"]
mod outbox;
mod pooler;
mod races;
mod searches;
#[path = "../support/records.rs"]
mod support;
mod tls;
#[path = "../support/versions.rs"]
mod versions;
mod waking;
#[path = "../support/within.rs"]
mod within;

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Pool, Postgres as Database, Transaction};
use static_bus_sql::PostgresTransport;
use test_brokers::postgres::Postgres;

const BEGIN: &str = "begin";

/// The number of workers of the bank that are killed, each after 100 transfers. 200 take 210 s of processor time.
const KILLS: usize = 100;

/// A namespace of the test's own.
fn namespace() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A connection to a namespace of the test's own.
async fn fresh() -> (String, PostgresTransport) {
    let namespace = namespace();
    let transport = again(&namespace).await;
    (namespace, transport)
}

/// Another connection to the namespace of a test, as of another process.
async fn again(namespace: &str) -> PostgresTransport {
    let builder = PostgresTransport::builder(Postgres::common().url()).namespace(namespace);
    builder.deadline(support::LONG).connect().await.unwrap()
}

/// A table of the transport.
fn table(namespace: &str, name: &str) -> String {
    format!("{namespace}.{name}")
}

/// Connections of another program.
async fn pool() -> Pool<Database> {
    Pool::connect(&Postgres::common().url()).await.unwrap()
}

/// A transaction of the test, as of the same program.
async fn begin(_: &str) -> Transaction<'static, Database> {
    pool().await.begin().await.unwrap()
}

/// A table of the test.
fn orders(namespace: &str) -> String {
    format!("{namespace}.orders")
}

/// A schema for the tables of a program and of the transport, and the text with which processes connect to both.
fn home() -> ((), String) {
    let (url, namespace) = (Postgres::common().url(), namespace());
    let query = if url.contains('?') { '&' } else { '?' };
    (
        (),
        format!("{url}{query}options=-csearch_path%3D{namespace} {namespace}"),
    )
}

async fn connect(told: &str) -> PostgresTransport {
    let (url, namespace) = told.split_once(' ').unwrap();
    PostgresTransport::builder(url)
        .namespace(namespace)
        .deadline(support::LONG)
        .connect()
        .await
        .unwrap()
}

/// The prefixes of the names of tables, and of new indices.
fn prefixes(told: &str) -> [String; 2] {
    let (_, namespace) = told.split_once(' ').unwrap();
    [format!("{namespace}."), String::new()]
}

async fn pool_of(told: &str) -> Pool<Database> {
    let (url, _) = told.split_once(' ').unwrap();
    Pool::connect(url).await.unwrap()
}
