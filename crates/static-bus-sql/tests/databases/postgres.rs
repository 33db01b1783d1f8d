//! The promises of the engine of PostgreSQL.

mod attach;
#[path = "both/backlogs.rs"]
mod backlogs;
#[path = "both/bank.rs"]
mod bank;
mod conflicts;
mod conformance;
mod health;
#[path = "both/inbox.rs"]
mod inbox;
mod input;
#[path = "both/joining.rs"]
mod joining;
#[path = "both/later.rs"]
mod later;
#[path = "both/later_outbox.rs"]
mod later_outbox;
mod outages;
#[path = "both/outbox.rs"]
mod outbox;
mod pooler;
#[path = "both/presence.rs"]
mod presence;
mod races;
mod searches;
mod slow_links;
mod tls;
#[path = "both/versions.rs"]
mod versions;
mod waking;
#[path = "both/within.rs"]
mod within;

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Pool, Postgres as Database, Transaction};
use static_bus_sql::{PostgresTransport, SqlTransportBuilder};
use test_brokers::{postgres::Postgres, tunnel::Tunnel};

use crate::support;

const BEGIN: &str = "begin";

/// The number of workers of the bank that are killed, each after 100 transfers. 200 take 210 s of processor time.
const KILLS: usize = 100;

/// A namespace.
type Place = String;

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

/// A connection to a namespace through a network of the test's own.
fn through_a_tunnel(namespace: &str) -> (SqlTransportBuilder<Database>, Tunnel) {
    let postgres = Postgres::common();
    let tunnel = Tunnel::to(postgres.port());
    let url = postgres.url_at("127.0.0.1", tunnel.port());
    let builder = PostgresTransport::builder(url).namespace(namespace);
    (builder, tunnel)
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

/// A database for the tables of a program and of the transport, and the text with which processes connect to both.
fn home() -> ((), String) {
    ((), told(&Postgres::common().new_database()))
}

/// The text with which processes connect to the tables of a program and of the transport in a database.
fn told(url: &str) -> String {
    let namespace = namespace();
    format!("{url}?options=-csearch_path%3D{namespace} {namespace}")
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
