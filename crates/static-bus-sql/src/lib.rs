//! SQLite and PostgreSQL as the broker.
//!
//! A message is a row, once, and a further row for each group that has not settled it. Members lease rows in short
//! transactions; on PostgreSQL they skip those that another member is about to lease. Records with a key belong to a strand,
//! which one member has at a time. Taking records costs as much as is taken, not as much as waits. Deduplication keys are
//! confirmed in the transaction that settles their record. Dead letters have a table of their own.
//!
//! `SqliteTransport` (feature `sqlite`) is a file that the processes of one machine share. `PostgresTransport` (feature
//! `postgres`) is a schema of a database. The clock is that of the database.
//!
//! Messages that are due later wait in a table of their own, until a process with a consumer of their topic moves them to the others.
//! Messages are sent, sent later and cancelled in transactions of the program ([`RemoteBus::within`](static_bus_remote::RemoteBus::within)) and handled in
//! transactions ([`transaction`]). With another broker, an [`Outbox`] does both, and keeps the messages that are due later.
//!
//! ```
//! use std::time::Duration;
//! use static_bus_remote::{Transport, transport::*};
//! # #[cfg(feature = "sqlite")]
//! use static_bus_sql::SqliteTransport;
//!
//! # #[cfg(feature = "sqlite")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("bus.db").display().to_string();
//! let url = format!("sqlite:{path}");
//! let broker = SqliteTransport::builder(url).namespace("shop").connect().await?;
//! let topic = Topic { kind: Kind::Command, name: "orders.place".into() };
//! let record = Record { body: "one book".into(), ..Record::default() };
//! broker.append(vec![(topic.clone(), record)]).await.remove(0)?;
//!
//! let consumer = broker.consume(Subscription::new(topic, "handlers", "worker-1")).await?;
//! let received = consumer.receive(10, Duration::from_secs(1)).await?;
//! assert_eq!(received[0].record.body, "one book");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "sqlite"))]
//! # fn main() {}
//! ```
#![cfg(any(feature = "sqlite", feature = "postgres"))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]

mod append;
mod bounds;
mod claims;
mod consumer;
mod dead_letters;
mod dialect;
mod errors;
mod group;
mod housekeeping;
mod inbox;
mod inspection;
mod joining;
mod lent;
mod list;
mod outbox;
mod parts;
mod pending;
mod presence;
mod receipt;
mod receiver;
mod record;
mod relay;
mod rows;
mod scheduled;
mod scheduler;
mod schema;
mod settings;
mod settle;
mod store;
mod strands;
mod take;
mod template;
mod topics;
mod transport;
mod wake;
mod warnings;
mod within;

pub use self::{
    consumer::SqlConsumer,
    inbox::{CurrentTransaction, transaction},
    outbox::{Outbox, OutboxConsumer},
    receipt::SqlReceipt,
    receiver::SqlReceiver,
    relay::{Relay, RelayHandle, RelayHealth},
    settings::SqlTransportBuilder,
    transport::SqlTransport,
};

/// A database file of SQLite as the broker.
#[cfg(feature = "sqlite")]
pub type SqliteTransport = SqlTransport<sqlx::Sqlite>;

/// A PostgreSQL database as the broker.
#[cfg(feature = "postgres")]
pub type PostgresTransport = SqlTransport<sqlx::Postgres>;

#[cfg(all(doctest, feature = "sqlite", feature = "postgres"))]
mod guide {
    #[doc = include_str!("../../../docs/guide/src/the-database-as-the-broker.md")]
    mod the_database_as_the_broker {}
    #[doc = include_str!("../../../docs/guide/src/exactly-once.md")]
    mod exactly_once {}
    #[doc = include_str!("../../../docs/guide/src/process-managers-in-a-database.md")]
    mod process_managers_in_a_database {}
}
