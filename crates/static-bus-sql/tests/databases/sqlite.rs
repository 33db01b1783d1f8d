//! The promises of the engine of SQLite.

mod attach;
#[path = "both/backlogs.rs"]
mod backlogs;
#[path = "both/bank.rs"]
mod bank;
mod conformance;
#[path = "both/inbox.rs"]
mod inbox;
mod input;
#[path = "both/joining.rs"]
mod joining;
#[path = "both/later.rs"]
mod later;
#[path = "both/later_outbox.rs"]
mod later_outbox;
#[path = "both/outbox.rs"]
mod outbox;
mod place;
#[path = "both/presence.rs"]
mod presence;
mod processes;
mod schema;
mod transactions;
#[path = "both/versions.rs"]
mod versions;
#[path = "both/within.rs"]
mod within;

use sqlx::{Pool, Sqlite as Database, Transaction};
use static_bus_sql::SqliteTransport;

use self::place::Place;
use crate::support;

const BEGIN: &str = "begin immediate";

/// The number of workers of the bank that are killed, each after 100 transfers.
const KILLS: usize = 200;

/// A connection to a database of the test's own.
async fn fresh() -> (Place, SqliteTransport) {
    let place = Place::new();
    let transport = place.connect().await;
    (place, transport)
}

/// Another connection to the database of a test, as of another process.
async fn again(place: &Place) -> SqliteTransport {
    place.connect().await
}

/// A table of the transport.
fn table(_: &Place, name: &str) -> String {
    format!("static_bus_{name}")
}

/// A transaction of the test, as of the same program.
async fn begin(place: &Place) -> Transaction<'static, Database> {
    place.pool().await.begin_with(BEGIN).await.unwrap()
}

/// A table of the test.
fn orders(_: &Place) -> String {
    "orders".to_owned()
}

/// A database for the tables of a program and of the transport, and the text with which processes connect to both.
fn home() -> (Place, String) {
    let place = Place::new();
    let url = place.url();
    (place, url)
}

async fn connect(told: &str) -> SqliteTransport {
    let builder = SqliteTransport::builder(told).deadline(support::LONG);
    builder.connect().await.unwrap()
}

/// The prefixes of the names of tables, and of new indices.
fn prefixes(_: &str) -> [String; 2] {
    ["static_bus_", "static_bus_"].map(str::to_owned)
}

async fn pool_of(told: &str) -> Pool<Database> {
    Pool::connect(told).await.unwrap()
}
