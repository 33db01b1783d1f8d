//! How to use a cluster, and what each kind of client is told.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use rdkafka::ClientConfig;

use super::{
    KafkaTransport, errors, input,
    security::{self, Sasl, Tls},
    topics::Topics,
    transactions::Transactions,
    writer::Writer,
};
use static_bus_remote::transport::TransportError;

/// The library's name for how many bytes a record may have.
const LARGEST: &str = "message.max.bytes";

/// How to use a cluster.
#[derive(Clone)]
pub struct KafkaTransportBuilder {
    servers: String,
    namespace: String,
    partitions: i32,
    replication: Option<i32>,
    retention: Duration,
    deadline: Duration,
    tls: Option<Tls>,
    sasl: Option<Sasl>,
    exactly_once: bool,
    more: BTreeMap<String, String>,
}

impl KafkaTransportBuilder {
    pub(super) fn new(servers: impl Into<String>) -> Self {
        KafkaTransportBuilder {
            servers: servers.into(),
            namespace: "static-bus".to_owned(),
            partitions: 12,
            replication: None,
            retention: Duration::from_secs(7 * 24 * 3600),
            deadline: Duration::from_secs(10),
            tls: None,
            sasl: None,
            exactly_once: false,
            more: BTreeMap::new(),
        }
    }

    /// What the names of all topics and groups begin with, `static-bus` unless it is set. Programs with
    /// different namespaces do not see each other.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How many partitions a topic gets when it is created, 12 unless it is set. This many members of a
    /// group can consume it at the same time, and 12 can be shared evenly by 2, 3, 4 or 6.
    ///
    /// It counts for topics that are created; one that exists keeps its number. To change it
    /// breaks the order of keys at that moment, because some of them move.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub fn partitions(mut self, partitions: u16) -> Self {
        assert!(partitions > 0, "a topic has at least one partition");
        self.partitions = partitions.into();
        self
    }

    /// On how many servers a topic is kept when it is created; as the cluster is set up
    /// (`default.replication.factor`) unless it is set. With 3 or more, a record is confirmed when two of
    /// them have it (`min.insync.replicas`).
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub fn replication(mut self, servers: u16) -> Self {
        assert!(servers > 0, "a topic is kept somewhere");
        self.replication = Some(servers.into());
        self
    }

    /// How long commands and events are kept when their topic is created, 7 days unless it is set,
    /// whether or not they were handled.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// How long a call waits for the cluster, 10 seconds unless it is set.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Encrypts connections.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Logs in.
    #[must_use]
    pub fn sasl(mut self, sasl: Sasl) -> Self {
        self.sasl = Some(sasl);
        self
    }

    /// Handles commands and events exactly once, as far as what their handlers do is to send: what a handler
    /// sends through this connection is kept until its message is acknowledged, and then both happen in one
    /// transaction, or neither. What a handler sent before it failed is dropped.
    ///
    /// It counts for commands and events that are sent in the handler's task or awaited by it, through a
    /// [`RemoteBus`](static_bus_remote::RemoteBus) on the same connection (or a clone) as the
    /// [`Worker`](static_bus_remote::Worker)'s: a handler's `Ok` from a send says that it is kept. It does not
    /// count for
    ///
    /// - queries and their answers, and dead letters;
    /// - what a handler does elsewhere, in a database for instance: that may happen twice;
    /// - messages that come from outside of handlers: a sender that does not know whether its message was
    ///   taken, and sends it again, needs an idempotency key;
    /// - handlers that go on although their process was silent for longer than a lease.
    ///
    /// Deduplication has to be on, and an event can have one subscriber on one connection. Consumers see what
    /// is sent so when its transaction ends: a little later, and not at all if it is aborted. Unlike
    /// without it, a message that is acknowledged after its lease was lost is handled again, by whoever has
    /// it now: the first one's effects are dropped.
    #[must_use]
    pub fn exactly_once(mut self) -> Self {
        self.exactly_once = true;
        self
    }

    /// Sets anything else of `librdkafka`, by the
    /// [name that it has there](https://docs.confluent.io/platform/current/clients/librdkafka/html/md_CONFIGURATION.html),
    /// for all clients that are made. What the promises rest on, such as `acks`, cannot be set.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.more.insert(name.into(), value.into());
        self
    }

    /// Connects, and looks whether the cluster can be used.
    ///
    /// # Errors
    /// If the servers, the namespace or a setting cannot be what they are, no server can be reached, a
    /// server's certificate is not trusted, or the cluster refuses the credentials.
    pub async fn connect(self) -> Result<KafkaTransport, TransportError> {
        KafkaTransport::open(self.settings()?).await
    }

    fn settings(self) -> Result<Settings, TransportError> {
        let address = errors::address(&self.servers);
        input::check(&address, &self.servers, &self.namespace, &self.more)?;
        let largest = self.more.get(LARGEST).and_then(|n| n.parse().ok());
        Ok(Settings {
            // A body of 1 MB, and its headers.
            largest: largest.unwrap_or(1_500_000),
            servers: self.servers,
            address,
            namespace: self.namespace.into(),
            partitions: self.partitions,
            replication: self.replication,
            retention: self.retention,
            deadline: self.deadline,
            security: security::settings(self.tls.as_ref(), self.sasl.as_ref()),
            more: self.more,
            topics: Topics::default(),
            writer: Writer::default(),
            transactions: self.exactly_once.then(Arc::default),
        })
    }
}

/// What was chosen, for all parts of a transport.
pub(super) struct Settings {
    servers: String,
    /// For errors and logs.
    pub address: Arc<str>,
    pub namespace: Arc<str>,
    /// Of topics that are created.
    pub partitions: i32,
    /// Of topics that are created; as the cluster is set up if it is none.
    pub replication: Option<i32>,
    pub retention: Duration,
    /// How long a call waits for the cluster.
    pub deadline: Duration,
    security: Vec<(&'static str, String)>,
    more: BTreeMap<String, String>,
    pub topics: Topics,
    pub writer: Writer,
    /// With exactly once.
    pub transactions: Option<Arc<Transactions>>,
    /// How many bytes a record may have.
    pub largest: usize,
}

impl Settings {
    pub fn address(&self) -> &str {
        &self.address
    }

    /// For a producer that neither loses nor doubles nor reorders.
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.common();
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config.set("partitioner", "murmur2_random");
        config.set(LARGEST, self.largest.to_string());
        // Calls bring their records in batches; to wait for more costs each of them that time.
        config.set("linger.ms", "0");
        // Otherwise a batch without keys is torn into a request for each partition.
        config.set("sticky.partitioning.linger.ms", "10");
        config.set("message.timeout.ms", millis(self.deadline));
        self.with_more(config)
    }

    /// For a producer of transactions.
    pub fn transactions(&self, id: &str) -> ClientConfig {
        let mut config = self.producer();
        config.set("transactional.id", id);
        // What a member leaves behind that is killed holds up its consumers for so long.
        let timeout = self.deadline + Duration::from_secs(1);
        config.set("transaction.timeout.ms", millis(timeout));
        config
    }

    /// For a member of a group that commits by itself.
    pub fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.common();
        config.set("group.id", group);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "earliest");
        config.set("isolation.level", "read_committed");
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("fetch.wait.max.ms", "100");
        config.set("fetch.error.backoff.ms", "100");
        self.with_more(config)
    }

    /// For everything else.
    pub fn admin(&self) -> ClientConfig {
        let config = self.common();
        self.with_more(config)
    }

    fn common(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        config.set("client.id", "static-bus");
        config.set("topic.metadata.refresh.interval.ms", "10000");
        config.set("reconnect.backoff.max.ms", "1000");
        config.set("socket.keepalive.enable", "true");
        let patience = self
            .deadline
            .clamp(Duration::from_secs(1), Duration::from_secs(60));
        config.set("socket.timeout.ms", millis(patience));
        config.set("socket.connection.setup.timeout.ms", millis(patience));
        // Brokers that make topics by themselves would not make them as they have to be.
        config.set("allow.auto.create.topics", "false");
        for (name, value) in &self.security {
            config.set(*name, value);
        }
        config
    }

    fn with_more(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.more {
            config.set(name, value);
        }
        config
    }
}

pub(super) fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

impl fmt::Debug for KafkaTransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTransportBuilder")
            .field("servers", &errors::address(&self.servers))
            .field("namespace", &self.namespace)
            .field("partitions", &self.partitions)
            .field("replication", &self.replication)
            .field("retention", &self.retention)
            .field("deadline", &self.deadline)
            .field("tls", &self.tls)
            .field("sasl", &self.sasl)
            .field("exactly_once", &self.exactly_once)
            // Their values may be secret.
            .field("set", &self.more.keys().collect::<Vec<_>>())
            .finish()
    }
}
