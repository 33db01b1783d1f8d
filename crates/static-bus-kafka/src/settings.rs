//! The settings of a transport.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use super::{
    KafkaTransport, errors, input,
    security::{self, Sasl, Tls},
};
use static_bus_remote::{
    time::LONGEST_DEADLINE,
    transport::{DEAD_LETTER_HEADROOM, Kind, RECEIVER_GRACE, TransportError},
};

mod configurations;

/// The name of the setting for the largest size of a record.
const MAX_RECORD_BYTES: &str = "message.max.bytes";
/// The default of [`MAX_RECORD_BYTES`]: a body of 1 MB with its headers.
const DEFAULT_MAX_RECORD_BYTES: usize = 1_500_000;
/// The name of the setting for the largest size of a batch of records.
const BATCH_BYTES: &str = "batch.size";
/// The default of [`BATCH_BYTES`].
const DEFAULT_BATCH_BYTES: usize = 1_000_000;

/// The settings of a [`KafkaTransport`].
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
    receiver_grace: Duration,
    extra: BTreeMap<String, String>,
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
            receiver_grace: RECEIVER_GRACE,
            extra: BTreeMap::new(),
        }
    }

    /// The prefix of the names of all topics and groups. Programs with different namespaces do not see each
    /// other's messages. Default: `static-bus`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The number of partitions of each topic that is created, which is the largest number of members of a group
    /// that receive records at the same time. Default: 12, which 2, 3, 4 or 6 members share evenly.
    ///
    /// A topic that exists keeps its number. Changing the number of an existing topic moves keys to other
    /// partitions, and so breaks their order at that moment. A group that has begun reads added partitions from
    /// their start.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub fn partitions(mut self, partitions: u16) -> Self {
        assert!(partitions > 0, "a topic has at least one partition");
        self.partitions = partitions.into();
        self
    }

    /// The number of replicas of each topic that is created. With 3 or more, a record is confirmed when at least
    /// two replicas have it (`min.insync.replicas`). Default: the cluster's `default.replication.factor`.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub fn replication(mut self, servers: u16) -> Self {
        assert!(servers > 0, "a topic has at least one replica");
        self.replication = Some(servers.into());
        self
    }

    /// The retention of each topic of commands or events that is created. Older messages are deleted, handled or
    /// not. Default: 7 days.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// The time after which a call to the cluster fails, an hour at most. Default: 10 seconds.
    ///
    /// Records on a slow link wait until those before them are confirmed. A call that appends fails when nothing was
    /// confirmed for this time: it may take longer, in proportion to the bytes that are sent.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(LONGEST_DEADLINE);
        self
    }

    /// The time for which queries are accepted after the last receiver of their topic has gone: a worker that is restarted
    /// or replaced finds them. Default: 30 seconds.
    ///
    /// Afterwards, a query fails at once with
    /// [`NoReceiver`](static_bus_remote::transport::TransportErrorKind::NoReceiver), which is `BusError::NoHandler` for the
    /// sender. A process counts from the time at which it has found that there is no receiver.
    #[must_use]
    pub fn receiver_grace(mut self, grace: Duration) -> Self {
        self.receiver_grace = grace;
        self
    }

    /// Encrypts the connections.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Authenticates this client.
    #[must_use]
    pub fn sasl(mut self, sasl: Sasl) -> Self {
        self.sasl = Some(sasl);
        self
    }

    /// Sends the output of handlers exactly once: commands and events that a handler of a command or event sends
    /// through this connection are held back until its message is acknowledged. One transaction then appends
    /// them and commits the acknowledgement, or does neither. The output of a failed attempt is dropped.
    ///
    /// This covers commands and events that are sent in the task of the handler or awaited by it, through a
    /// [`RemoteBus`](static_bus_remote::RemoteBus) on the same connection (or a clone) as that of the
    /// [`Worker`](static_bus_remote::Worker). In a handler, `Ok` from a send means that the message is held
    /// back. It does not cover
    ///
    /// - queries and their replies, and dead letters;
    /// - other effects of a handler, for instance in a database: they may happen twice;
    /// - messages that are sent outside of handlers: a sender that repeats a message after an unknown outcome
    ///   needs an idempotency key;
    /// - handlers that continue in a process that did not renew its leases in time.
    ///
    /// It needs deduplication. Consumers receive the output when the transaction has ended, and never if it is
    /// aborted. An acknowledgement after the lease was lost has no effect: the message is handled again by the
    /// member that has it then, and the output of the first handler is dropped. A send after the end of the
    /// attempt that made it is an error.
    #[must_use]
    pub fn exactly_once(mut self) -> Self {
        self.exactly_once = true;
        self
    }

    /// Sets any other
    /// [setting of `librdkafka`](https://docs.confluent.io/platform/current/clients/librdkafka/html/md_CONFIGURATION.html)
    /// for all clients of the transport. Settings that the delivery guarantees depend on, such as `acks`, are
    /// refused.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// Connects, and checks that the cluster is reachable and accepts requests.
    ///
    /// # Errors
    /// If the list of servers, the namespace or a setting is invalid, no server can be reached, the certificate
    /// of a server is not trusted, or the cluster refuses the credentials.
    pub async fn connect(self) -> Result<KafkaTransport, TransportError> {
        KafkaTransport::open(self.settings()?).await
    }

    /// The validated settings.
    pub(super) fn settings(self) -> Result<Settings, TransportError> {
        let address = errors::address(&self.servers);
        input::check(&address, &self.servers, &self.namespace, &self.extra)?;
        let bytes = |name| self.extra.get(name).and_then(|bytes| bytes.parse().ok());
        Ok(Settings {
            max_record_bytes: bytes(MAX_RECORD_BYTES).unwrap_or(DEFAULT_MAX_RECORD_BYTES),
            batch_bytes: bytes(BATCH_BYTES).unwrap_or(DEFAULT_BATCH_BYTES),
            servers: self.servers,
            address,
            namespace: self.namespace.into(),
            partitions: self.partitions,
            replication: self.replication,
            retention: self.retention,
            deadline: self.deadline,
            exactly_once: self.exactly_once,
            receiver_grace: self.receiver_grace,
            security: security::settings(self.tls.as_ref(), self.sasl.as_ref()),
            extra: self.extra,
        })
    }
}

/// The validated settings of a transport.
pub(super) struct Settings {
    servers: String,
    address: Arc<str>,
    namespace: Arc<str>,
    partitions: i32,
    replication: Option<i32>,
    retention: Duration,
    deadline: Duration,
    exactly_once: bool,
    receiver_grace: Duration,
    max_record_bytes: usize,
    batch_bytes: usize,
    security: Vec<(&'static str, String)>,
    extra: BTreeMap<String, String>,
}

impl Settings {
    /// The servers for errors and logs, without secrets.
    pub fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// The prefix of all names.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The number of partitions of topics that are created.
    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// The number of replicas of topics that are created; `None` for the default of the cluster.
    pub fn replication(&self) -> Option<i32> {
        self.replication
    }

    /// The retention of commands and events.
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// The time after which a call to the cluster fails.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Returns `true` if acknowledgements are transactions that include the output of the handlers.
    pub fn exactly_once(&self) -> bool {
        self.exactly_once
    }

    /// The largest size of a record in bytes. Dead letters contain a message, and more.
    pub fn max_bytes(&self, kind: Kind) -> usize {
        match kind {
            Kind::DeadLetter => self.max_record_bytes.saturating_add(DEAD_LETTER_HEADROOM),
            _ => self.max_record_bytes,
        }
    }

    /// The time for which queries are accepted after the last receiver has gone.
    pub fn receiver_grace(&self) -> Duration {
        self.receiver_grace
    }

    /// The largest size of a batch of records in bytes.
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }
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
            .field("receiver_grace", &self.receiver_grace)
            // Without the values, which may be secret.
            .field("set", &self.extra.keys().collect::<Vec<_>>())
            .finish()
    }
}
