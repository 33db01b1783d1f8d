//! Redis 7.0 or later, and Valkey, as the broker.
//!
//! Queries and replies are elements of lists, taken at most once; a query waits ten minutes at most
//! for somebody to answer it, unless its own deadline is later. Commands and events are entries of
//! streams with consumer groups, at least once. Records with a key go to one of a fixed number of
//! partitions of their topic, each a stream that one member of a group consumes at a time; that keeps
//! their order. What is done with is removed from the streams every second, up to the lowest point
//! that every group has both read and acknowledged: a group that nobody consumes any more holds back
//! everything, until it is removed with `XGROUP DESTROY`.
//!
//! The server has to run with `maxmemory-policy noeviction`, and with `appendonly yes` if records are
//! to outlive it. It needs to be a single primary: Sentinel and Cluster are not supported.
//! Clocks of producers and consumers of queries should agree to within a fraction of the deadlines.
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

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::{Client, ConnectionAddr, ConnectionInfo, RedisResult, TlsCertificates, Value, cmd};

use self::{
    errors::{address, address_of_malformed, connect_error, reply_error},
    link::{Connection, Link, Server},
    stream::StreamMember,
    wire::EntryId,
};
use static_bus_remote::{
    lock::lock,
    time::now_millis,
    transport::{
        DeadLetterRecord, Kind, Record, Subscription, Topic, Transport, TransportError,
        TransportErrorKind,
    },
};

mod append;
mod claims;
mod consumer;
mod errors;
mod keeper;
mod keys;
mod link;
mod reader;
mod receiver;
mod scripts;
mod state;
mod stream;
mod wire;

pub use self::{
    consumer::{RedisConsumer, RedisReceipt},
    receiver::RedisReceiver,
};

/// The settings of a connection: [`RedisTransport::builder`], then [`connect`](RedisTransportBuilder::connect).
#[derive(Clone)]
pub struct RedisTransportBuilder {
    url: String,
    namespace: String,
    partitions: usize,
    deadline: Duration,
    block: Duration,
    root_certificate: Option<Vec<u8>>,
}

/// A connection to Redis or Valkey; cheap to clone.
///
/// All clones share one connection, which is opened again after it was lost. Each consumer has
/// another one of its own.
#[derive(Clone)]
pub struct RedisTransport {
    shared: Arc<Shared>,
}

struct Shared {
    link: Arc<Link>,
    namespace: Arc<str>,
    partitions: usize,
    block: Duration,
    /// How many partitions topics have.
    known: Mutex<HashMap<Topic, usize>>,
}

impl RedisTransportBuilder {
    /// The certificate in PEM of the authority that vouches for the server at a `rediss://` URL, instead of those
    /// that the operating system trusts.
    #[must_use]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificate = Some(pem.into());
        self
    }

    /// What all keys on the server begin with, `static-bus` unless it is set. Programs with different
    /// namespaces do not see each other.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Into how many partitions keys are divided, 8 unless it is set. This many members of a group
    /// can consume records with keys at the same time.
    ///
    /// It counts for topics that are used for the first time: one that exists keeps its number,
    /// because another one would break the order of its keys.
    ///
    /// # Panics
    /// If it is not between 1 and 1,000.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        assert!(
            (1..=1000).contains(&partitions),
            "a topic has between 1 and 1,000 partitions"
        );
        self.partitions = partitions;
        self
    }

    /// How long a call waits for the server, 5 seconds unless it is set.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a consumer's read waits on the server before it asks again, 2 seconds unless it is
    /// set. Readers of streams ask at least every half second.
    #[must_use]
    pub fn block(mut self, block: Duration) -> Self {
        self.block = block;
        self
    }

    /// Connects, and looks whether the server can be used.
    ///
    /// # Errors
    /// If the URL cannot be read, the server cannot be reached or refuses the credentials, is older
    /// than Redis 7.0, is part of a cluster, or may remove messages when memory is short.
    pub async fn connect(self) -> Result<RedisTransport, TransportError> {
        let client = Client::open(&*self.url).map_err(|e| {
            let reason = format!(
                "the URL cannot be read ({e}): it is redis://[[user]:password@]host[:port][/database], \
                 or rediss:// for TLS, with special characters of user and password percent-encoded"
            );
            let kind = TransportErrorKind::Refused;
            TransportError::new(kind, address_of_malformed(&self.url), reason)
        })?;
        let info = client.get_connection_info().clone();
        let address = address(&info);
        let client = match info.addr() {
            ConnectionAddr::TcpTls { .. } => {
                choose_cryptography();
                self.with_certificate(client, info)
                    .map_err(|e| connect_error(&address, &e))?
            }
            _ => client,
        };
        let server = Arc::new(Server::new(client, address.clone(), self.deadline));
        let mut connection = server
            .open()
            .await
            .map_err(|e| connect_error(&address, &e))?;
        inspect(&server, &mut connection).await?;
        Ok(RedisTransport {
            shared: Arc::new(Shared {
                link: Arc::new(Link::new(server, connection)),
                namespace: self.namespace.into(),
                partitions: self.partitions,
                block: self.block,
                known: Mutex::default(),
            }),
        })
    }
}

impl RedisTransportBuilder {
    fn with_certificate(&self, client: Client, info: ConnectionInfo) -> RedisResult<Client> {
        let Some(pem) = &self.root_certificate else {
            return Ok(client);
        };
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: Some(pem.clone()),
        };
        Client::build_with_tls(info, certificates)
    }
}

impl RedisTransport {
    /// The server at `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS, with
    /// the certificates that the operating system trusts (or those of the file that `SSL_CERT_FILE`
    /// names). Cryptography is that of `rustls` with `ring`, unless the program has chosen another.
    pub fn builder(url: impl Into<String>) -> RedisTransportBuilder {
        RedisTransportBuilder {
            url: url.into(),
            namespace: "static-bus".to_owned(),
            partitions: 8,
            deadline: Duration::from_secs(5),
            block: Duration::from_secs(2),
            root_certificate: None,
        }
    }

    /// Connects to the server at a URL; see [`RedisTransportBuilder`] for what else can be chosen.
    ///
    /// # Errors
    /// Those of [`RedisTransportBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, TransportError> {
        RedisTransport::builder(url).connect().await
    }

    /// How many partitions a topic has. The first one to ask decides.
    async fn partitions(&self, topic: &Topic) -> Result<usize, TransportError> {
        let shared = &self.shared;
        if let Some(known) = lock(&shared.known).get(topic) {
            return Ok(*known);
        }
        let (hash, field) = (keys::partitions(&shared.namespace), keys::topic(topic));
        let mut commands = redis::pipe();
        commands.cmd("HSETNX").arg(&hash).arg(&field);
        commands.arg(shared.partitions);
        commands.cmd("HGET").arg(&hash).arg(&field);
        let answers = shared.link.send_all(&commands).await?;
        let server = &shared.link.server;
        let answer = answers.into_iter().nth(1).unwrap_or_default();
        let answer = answer.extract_error().map_err(|e| server.error(&e))?;
        let partitions = redis::from_redis_value::<usize>(answer).ok();
        let partitions = partitions
            .filter(|n| (1..=1000).contains(n))
            .ok_or_else(|| server.unexpected("HGET"))?;
        lock(&shared.known).insert(topic.clone(), partitions);
        Ok(partitions)
    }
}

impl Transport for RedisTransport {
    type Consumer = RedisConsumer;
    type Receiver = RedisReceiver;

    fn address(&self) -> &str {
        self.shared.link.server.address()
    }

    async fn check(&self) -> Result<(), TransportError> {
        self.shared.link.send(&cmd("PING")).await.map(drop)
    }

    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        let keyed: HashSet<_> = records
            .iter()
            .filter(|(topic, record)| is_partitioned(topic) && record.key.is_some())
            .map(|(topic, _)| topic)
            .collect();
        let mut partitions = HashMap::with_capacity(keyed.len());
        for topic in keyed {
            partitions.insert(topic, self.partitions(topic).await);
        }
        let shared = &self.shared;
        append::append(&shared.link, &shared.namespace, &records, &partitions).await
    }

    async fn consume(&self, subscription: Subscription) -> Result<RedisConsumer, TransportError> {
        if !is_partitioned(&subscription.topic) {
            return Err(TransportError::not_consumed(
                self.address(),
                &subscription.topic,
            ));
        }
        let shared = &self.shared;
        let partitions = self.partitions(&subscription.topic).await?;
        let (link, namespace) = (shared.link.clone(), shared.namespace.clone());
        let member =
            StreamMember::join(link, namespace, subscription, partitions, shared.block).await?;
        Ok(RedisConsumer { member })
    }

    async fn listen(&self, topic: Topic) -> Result<RedisReceiver, TransportError> {
        if !matches!(topic.kind, Kind::Query | Kind::Reply) {
            return Err(TransportError::not_received(self.address(), &topic));
        }
        let shared = &self.shared;
        let key = keys::shared(&shared.namespace, &topic);
        RedisReceiver::open(shared.link.clone(), key, shared.block).await
    }

    async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterRecord>, TransportError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let start = match after {
            Some(position) => format!("({}", self.entry_id(position)?),
            None => "-".to_owned(),
        };
        let mut command = cmd("XRANGE");
        command.arg(keys::dead_letters(&self.shared.namespace));
        command.arg(start).arg("+").arg("COUNT").arg(limit);
        let Value::Array(entries) = self.shared.link.send(&command).await? else {
            return Err(self.shared.link.server.unexpected("XRANGE"));
        };
        let now = now_millis();
        let letters = entries.into_iter().filter_map(|entry| {
            let entry = wire::entry(entry, now)?;
            Some(DeadLetterRecord {
                position: entry.id.padded(),
                record: entry.record,
            })
        });
        Ok(letters.collect())
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        if positions.is_empty() {
            return Ok(());
        }
        let mut command = cmd("XDEL");
        command.arg(keys::dead_letters(&self.shared.namespace));
        for position in positions {
            command.arg(self.entry_id(position)?);
        }
        self.shared.link.send(&command).await.map(drop)
    }
}

impl RedisTransport {
    fn entry_id(&self, position: &str) -> Result<EntryId, TransportError> {
        EntryId::parse(position).ok_or_else(|| {
            TransportError::new(
                TransportErrorKind::Refused,
                self.address(),
                format!("{position:?} is no position of a dead letter"),
            )
        })
    }
}

/// Whether a topic is kept in streams, one of them for each partition.
fn is_partitioned(topic: &Topic) -> bool {
    matches!(topic.kind, Kind::Command | Kind::Event)
}

/// Refuses a server that cannot do what is needed.
async fn inspect(server: &Server, connection: &mut Connection) -> Result<(), TransportError> {
    let refuse = |reason: String| {
        let address = server.address().clone();
        Err(TransportError::new(
            TransportErrorKind::Refused,
            address,
            reason,
        ))
    };
    let info = information(server, connection, "server").await?;
    let version = value(&info, "redis_version");
    let major = version
        .split('.')
        .next()
        .and_then(|n| n.parse::<u32>().ok());
    if major.is_none_or(|major| major < 7) {
        return refuse(format!(
            "the server is too old: it is version {version}, and Redis 7.0 or later, or Valkey, is needed"
        ));
    }
    match value(&info, "redis_mode") {
        "cluster" => {
            return refuse(
                "the server is part of a cluster, which is not supported: use a single primary"
                    .into(),
            );
        }
        "sentinel" => {
            return refuse(
                "this is a Sentinel, which is not supported: the URL has to name the primary"
                    .into(),
            );
        }
        _ => {}
    }
    let info = information(server, connection, "memory").await?;
    let policy = value(&info, "maxmemory_policy");
    let is_limited = !matches!(value(&info, "maxmemory"), "" | "0");
    if is_limited && !matches!(policy, "" | "noeviction") {
        return refuse(format!(
            "its `maxmemory-policy` is {policy}: it would remove messages when memory is short; \
             set it to noeviction, in its configuration or with CONFIG SET"
        ));
    }
    Ok(())
}

/// What the server tells of itself.
async fn information(
    server: &Server,
    connection: &mut Connection,
    section: &str,
) -> Result<String, TransportError> {
    let mut command = cmd("INFO");
    command.arg(section);
    let answer = tokio::time::timeout(server.deadline, connection.send(&command)).await;
    let address = server.address();
    let answer = match answer {
        Ok(answer) => answer.map_err(|e| match e.is_io_error() {
            true => reply_error(address, &e),
            false => connect_error(address, &e),
        })?,
        Err(_) => return Err(server.unanswered(server.deadline)),
    };
    redis::from_redis_value(answer).map_err(|_| server.unexpected("INFO"))
}

/// One line of what a server tells; nothing if it does not.
fn value<'i>(info: &'i str, name: &str) -> &'i str {
    let of = |line: &'i str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim());
    info.lines().find_map(of).unwrap_or_default()
}

/// The client leaves the choice to the program, and panics if there is none.
fn choose_cryptography() {
    use rustls::crypto::{CryptoProvider, ring};
    if CryptoProvider::get_default().is_none() {
        // Another thread may have chosen meanwhile, which is as good.
        let _ = ring::default_provider().install_default();
    }
}

impl fmt::Debug for RedisTransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = match Client::open(&*self.url) {
            Ok(client) => address(client.get_connection_info()),
            Err(_) => address_of_malformed(&self.url),
        };
        f.debug_struct("RedisTransportBuilder")
            .field("url", &url)
            .field("namespace", &self.namespace)
            .field("partitions", &self.partitions)
            .field("deadline", &self.deadline)
            .field("block", &self.block)
            .field("root_certificate", &self.root_certificate.is_some())
            .finish()
    }
}

impl fmt::Debug for RedisTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTransport")
            .field("address", &self.address())
            .field("namespace", &self.shared.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/src/operating-on-redis.md")]
    mod operating_on_redis {}
}
