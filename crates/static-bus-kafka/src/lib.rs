//! Apache Kafka as the broker.
//!
//! A message's type is a topic, a group that consumes it is a Kafka consumer group, and a message's
//! ordering key is its Kafka key. Attributes travel as the
//! [Kafka binding](https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md)
//! of CloudEvents has them, in binary mode.
//!
//! Topics are created when they are needed first: see [`KafkaTransportBuilder::partitions`],
//! [`KafkaTransportBuilder::replication`] and [`KafkaTransportBuilder::retention`]. A record is confirmed when all replicas
//! that are in sync have it, and the cluster keeps it once, also when the client has to send it again.
//! Names of topics and groups begin with [`KafkaTransportBuilder::namespace`].
//!
//! Clocks of producers and consumers of queries should agree to within a fraction of the deadlines, and to
//! within a second: when a worker has crashed, a query might run twice otherwise.
//!
//! The client is `librdkafka`, whose messages go to the `log` facade under the target `librdkafka`.
//!
//! ```no_run
//! use std::time::Duration;
//! use static_bus_remote::Transport;
//! use static_bus_kafka::{KafkaTransport, Sasl, Tls};
//!
//! # async fn example() -> Result<(), static_bus_remote::transport::TransportError> {
//! let kafka = KafkaTransport::builder("kafka-1.internal:9093,kafka-2.internal:9093")
//!     .namespace("shop")
//!     .partitions(16)
//!     .replication(3)
//!     .tls(Tls::default())
//!     .sasl(Sasl::ScramSha512 { user: "orders".into(), password: "secret".into() })
//!     .set("compression.type", "zstd")
//!     .connect()
//!     .await?;
//! assert_eq!(kafka.address(), "kafka://kafka-1.internal:9093,kafka-2.internal:9093");
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]

use std::{fmt, sync::Arc};

use self::{producer::Producer, settings::Settings};
use static_bus_remote::transport::{
    Capabilities, DeadLetterRecord, Record, Sharing, Subscription, Topic, Transport, TransportError,
};

mod assignment;
mod claims;
mod clients;
mod consumer;
mod dead_letters;
mod errors;
mod hold;
mod input;
mod member;
mod membership;
mod offsets;
mod partition;
mod producer;
mod replies;
mod security;
mod settings;
mod topics;
mod transactions;
mod wire;
mod writer;

pub use self::{
    consumer::{KafkaConsumer, KafkaReceipt},
    security::{Sasl, Tls},
    settings::KafkaTransportBuilder,
};

/// A connection to a Kafka cluster; cheap to clone.
///
/// All clones share their producers. Each consumer has connections of its own.
#[derive(Clone)]
pub struct KafkaTransport {
    shared: Arc<Shared>,
}

/// What all clones of a transport share.
struct Shared {
    settings: Arc<Settings>,
    producer: Producer,
}

impl KafkaTransport {
    /// Connects to a cluster by some of its servers, `host:port` and separated by commas; see
    /// [`KafkaTransportBuilder`] for what else can be chosen.
    ///
    /// # Errors
    /// Those of [`KafkaTransportBuilder::connect`].
    pub async fn connect(servers: &str) -> Result<Self, TransportError> {
        KafkaTransport::builder(servers).connect().await
    }

    /// A cluster that is known by some of its servers, `host:port` and separated by commas.
    pub fn builder(servers: impl Into<String>) -> KafkaTransportBuilder {
        KafkaTransportBuilder::new(servers)
    }

    async fn open(settings: Settings) -> Result<Self, TransportError> {
        let settings = Arc::new(settings);
        let producer = Producer::connect(&settings).await?;
        Ok(KafkaTransport {
            shared: Arc::new(Shared { settings, producer }),
        })
    }
}

impl Transport for KafkaTransport {
    type Consumer = KafkaConsumer;

    fn address(&self) -> &str {
        self.shared.settings.address()
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::BROKER;
        capabilities.sharing = Sharing::Partitions;
        capabilities
    }

    async fn check(&self) -> Result<(), TransportError> {
        self.shared.producer.check().await
    }

    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        let Some(transactions) = &self.shared.settings.transactions else {
            return self.shared.producer.append(records).await;
        };
        let mut results = vec![Ok(()); records.len()];
        let (mut others, mut places) = (Vec::new(), Vec::new());
        for (place, record) in records.into_iter().enumerate() {
            match transactions.keep(&self.shared.settings, record).await {
                Ok(kept) => results[place] = kept,
                Err(other) => {
                    others.push(other);
                    places.push(place);
                }
            }
        }
        let appended = self.shared.producer.append(others).await;
        for (place, result) in places.into_iter().zip(appended) {
            results[place] = result;
        }
        results
    }

    async fn consume(&self, subscription: Subscription) -> Result<KafkaConsumer, TransportError> {
        KafkaConsumer::join(&self.shared.settings, subscription).await
    }

    async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterRecord>, TransportError> {
        dead_letters::list(&self.shared.settings, after, limit).await
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        dead_letters::remove(&self.shared.settings, positions).await
    }
}

impl fmt::Debug for KafkaTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTransport")
            .field("address", &self.address())
            .field("namespace", &self.shared.settings.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/src/operating-on-kafka.md")]
    mod operating_on_kafka {}
}
