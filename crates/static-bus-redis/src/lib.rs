//! Redis 7.0 or later, and Valkey, as the broker.
//!
//! Queries and replies are elements of lists, delivered at most once. A query is kept for ten minutes, or
//! until its deadline if that is later. It is refused if its topic has had no receiver for the grace time. Commands and
//! events are entries of streams with consumer groups, delivered at least once. Records with a key go to one of a fixed
//! number of partitions of their topic. Each partition is a stream that one member of a group reads at a time, which keeps
//! the order of keys. Every second, entries that every group has read and acknowledged are removed from the streams. A
//! group without members holds up the removal, until it is removed with `XGROUP DESTROY`.
//!
//! The server must run with `maxmemory-policy noeviction`, and with `appendonly yes` if records are to outlive it. It
//! is a single primary, which Sentinels may watch, or a Redis Cluster, where all keys of a topic are in one hash slot.
//! The clocks of clients that send and handle queries should differ by less than a fraction of the deadlines.
//!
//! ```no_run
//! use std::time::Duration;
//! use static_bus_remote::Transport;
//! use static_bus_redis::RedisTransport;
//!
//! # async fn example() -> Result<(), static_bus_remote::transport::TransportError> {
//! let redis = RedisTransport::builder("rediss://orders:secret@redis.internal:6380/0")
//!     .namespace("shop")
//!     .deadline(Duration::from_secs(2))
//!     .connect()
//!     .await?;
//! assert_eq!(redis.address(), "rediss://redis.internal:6380");
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]

mod append;
mod audiences;
mod budget;
mod cluster;
mod consumer;
mod deduplication;
mod demand;
mod errors;
mod heartbeat;
mod inspection;
mod keys;
mod link;
mod membership;
mod node;
mod partitions;
mod presence;
mod reader;
mod receipt;
mod receiver;
mod recovery;
mod replies;
mod request;
mod scheduling;
mod scripts;
mod server;
mod servers;
mod streams;
mod transaction;
mod transport;
mod trimming;
mod wire;

pub use self::{
    consumer::RedisConsumer,
    receipt::RedisReceipt,
    receiver::RedisReceiver,
    transport::{RedisTransport, RedisTransportBuilder},
};

#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/src/operating-on-redis.md")]
    mod operating_on_redis {}
}
