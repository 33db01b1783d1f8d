//! Apache Kafka as the broker.
//!
//! The type of a message is a Kafka topic, a group is a Kafka consumer group, and the ordering key of a message is
//! its Kafka key. Attributes follow the
//! [Kafka binding](https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md)
//! of CloudEvents in binary mode.
//!
//! Topics are created when they are first needed: see [`KafkaTransportBuilder::partitions`],
//! [`KafkaTransportBuilder::replication`] and [`KafkaTransportBuilder::retention`]. A record is confirmed when all
//! replicas in sync have it. The cluster keeps it once, even if the client has to send it again. The names of topics
//! and groups begin with [`KafkaTransportBuilder::namespace`].
//!
//! The clocks of senders and receivers of queries should agree to within a fraction of the deadlines, and to within
//! a second: otherwise a query may run twice after the crash of a worker.
//!
//! The client is `librdkafka`. It logs through the `log` facade under the target `librdkafka`.
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

use self::{cluster::Cluster, outputs::Attempt, producer::Producer, settings::Settings};
use static_bus_remote::transport::{
    DeadLetterRecord, Inspect, Record, Subscription, Topic, TopicState, Transport, TransportError,
};

mod assignment;
mod backlog;
mod claims;
mod clients;
mod cluster;
mod consumer;
mod dead_letters;
mod errors;
mod events;
mod hold;
mod input;
mod inspection;
mod membership;
mod names;
mod offsets;
mod outputs;
mod pace;
mod partition;
mod producer;
mod receipt;
mod receiver;
mod receivers;
mod replies;
mod security;
mod settings;
mod topics;
mod transactions;
mod wire;
mod writer;

pub use self::{
    consumer::KafkaConsumer,
    receipt::KafkaReceipt,
    receiver::KafkaReceiver,
    security::{Sasl, Tls},
    settings::KafkaTransportBuilder,
};

/// A connection to a Kafka cluster, cheap to clone.
///
/// All clones share their producers. Each consumer and each receiver has a connection of its own.
#[derive(Clone)]
pub struct KafkaTransport {
    cluster: Arc<Cluster>,
    producer: Arc<Producer>,
}

impl KafkaTransport {
    /// Connects to a cluster with the default settings. `servers` are some of its servers, `host:port`, separated
    /// by commas.
    ///
    /// # Errors
    /// Those of [`KafkaTransportBuilder::connect`].
    pub async fn connect(servers: &str) -> Result<Self, TransportError> {
        KafkaTransport::builder(servers).connect().await
    }

    /// The builder of a connection. `servers` are some servers of the cluster, `host:port`, separated by commas.
    pub fn builder(servers: impl Into<String>) -> KafkaTransportBuilder {
        KafkaTransportBuilder::new(servers)
    }

    async fn open(settings: Settings) -> Result<Self, TransportError> {
        let cluster = Cluster::new(settings);
        let producer = Arc::new(Producer::connect(&cluster).await?);
        Ok(KafkaTransport { cluster, producer })
    }
}

impl Transport for KafkaTransport {
    type Consumer = KafkaConsumer;
    type Receiver = KafkaReceiver;

    fn address(&self) -> &str {
        self.cluster.settings().address()
    }

    async fn check(&self) -> Result<(), TransportError> {
        self.producer.check().await
    }

    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        let is_due_later = |(_, record): &(Topic, Record)| record.due.is_some();
        if !self.cluster.settings().exactly_once() && !records.iter().any(is_due_later) {
            return self.producer.append(records).await;
        }
        let mut results = vec![Ok(()); records.len()];
        let (mut others, mut places) = (Vec::new(), Vec::new());
        for (place, (topic, record)) in records.into_iter().enumerate() {
            if record.due.is_some() {
                results[place] = self.check_scheduling();
                continue;
            }
            match Attempt::of(&self.cluster, &topic, &record) {
                Some(attempt) => results[place] = attempt.hold_back(&topic, &record).await,
                None => {
                    others.push((topic, record));
                    places.push(place);
                }
            }
        }
        let appended = self.producer.append(others).await;
        for (place, result) in places.into_iter().zip(appended) {
            results[place] = result;
        }
        results
    }

    async fn consume(&self, subscription: Subscription) -> Result<KafkaConsumer, TransportError> {
        KafkaConsumer::join(&self.cluster, subscription).await
    }

    async fn listen(&self, topic: Topic) -> Result<KafkaReceiver, TransportError> {
        KafkaReceiver::open(&self.cluster, &topic).await
    }

    async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterRecord>, TransportError> {
        dead_letters::list(&self.cluster, after, limit).await
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        dead_letters::remove(&self.cluster, positions).await
    }
}

/// An inspection leaves out topics whose names were cut because they are longer than Kafka allows. A record of the
/// backlog is held by the member that has its partition.
impl Inspect for KafkaTransport {
    async fn topics(&self) -> Result<Vec<Topic>, TransportError> {
        inspection::topics(&self.cluster).await
    }

    async fn inspect(&self, topics: &[Topic]) -> Result<Vec<TopicState>, TransportError> {
        inspection::inspect(&self.cluster, topics).await
    }
}

impl fmt::Debug for KafkaTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTransport")
            .field("address", &self.address())
            .field("namespace", &self.cluster.settings().namespace())
            .finish_non_exhaustive()
    }
}

#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/src/operating-on-kafka.md")]
    mod operating_on_kafka {}
}
