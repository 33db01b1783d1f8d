//! The engine: the connections to a server or a cluster.

mod builder;
mod hosts;
mod inspect;
mod nodes;
mod sentinel;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use redis::{Value, cmd};

use super::{
    append::{Destination, append},
    audiences::Audiences,
    budget::BYTES,
    consumer::RedisConsumer,
    errors::connect_error,
    inspection,
    keys::{self, is_partitioned},
    partitions::PartitionCounts,
    presence::{Presence, Presences},
    receiver::RedisReceiver,
    scheduling, scripts,
    servers::Servers,
    wire::{self, EntryId},
};
use static_bus_remote::{
    time::now_millis,
    transport::{
        DeadLetterRecord, Inspect, Kind, Record, Subscription, Topic, TopicState, Transport,
        TransportError, TransportErrorKind,
    },
};

pub use builder::RedisTransportBuilder;

/// The largest number of dead letters in one answer.
const LETTERS: usize = 1000;

/// A connection to Redis or Valkey; cheap to clone.
///
/// All clones share one connection to the server, or to each primary of a cluster, which is opened again when it is lost.
/// Each consumer and each receiver has a further connection of its own.
#[derive(Clone)]
pub struct RedisTransport {
    shared: Arc<Shared>,
}

struct Shared {
    servers: Arc<Servers>,
    namespace: Arc<str>,
    block: Duration,
    counts: Arc<PartitionCounts>,
    audiences: Audiences,
    presences: Presences,
    receiver_grace: Duration,
    max_record: usize,
    replicas: usize,
}

impl RedisTransport {
    /// The settings of a connection to the server at `redis://[[user]:password@]host[:port][/database]`, or
    /// `rediss://` for TLS.
    ///
    /// A primary that Sentinels watch has the URL `redis+sentinel://[[user]:password@]host[:port],…/name[/database]`, with the
    /// addresses of the Sentinels and the name of the primary; user and password are those of the servers.
    /// `rediss+sentinel://` for TLS.
    ///
    /// A Redis Cluster has the URL `redis-cluster://[[user]:password@]host[:port],…`, with the addresses of some of its
    /// nodes, which name the others; user and password are those of all nodes. `rediss-cluster://` for TLS.
    ///
    /// TLS trusts the certificates of the operating system, or those of the file that `SSL_CERT_FILE` names. Its
    /// cryptography is that of `rustls` with `ring`, unless the program has installed another provider.
    pub fn builder(url: impl Into<String>) -> RedisTransportBuilder {
        RedisTransportBuilder::new(url.into())
    }

    /// Connects to the server at a URL, with default settings.
    ///
    /// # Errors
    /// Those of [`RedisTransportBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, TransportError> {
        RedisTransport::builder(url).connect().await
    }

    fn new(servers: Arc<Servers>, settings: &RedisTransportBuilder) -> Self {
        let namespace = Arc::<str>::from(&*settings.namespace);
        let link = servers.link(&keys::partitions(&namespace));
        let counts = PartitionCounts::new(link, namespace.clone(), settings.partitions);
        let shared = Shared {
            servers,
            namespace,
            block: settings.block,
            counts: Arc::new(counts),
            audiences: Audiences::default(),
            presences: Presences::default(),
            receiver_grace: settings.receiver_grace,
            max_record: settings.max_record,
            replicas: settings.replicas,
        };
        RedisTransport {
            shared: Arc::new(shared),
        }
    }

    fn entry_id(&self, position: &str) -> Result<EntryId, TransportError> {
        EntryId::parse(position).ok_or_else(|| {
            let reason = format!("{position:?} is not the position of a dead letter");
            TransportError::new(TransportErrorKind::Refused, self.address(), reason)
        })
    }
}

impl Transport for RedisTransport {
    type Consumer = RedisConsumer;
    type Receiver = RedisReceiver;

    fn address(&self) -> &str {
        self.shared.servers.address()
    }

    async fn check(&self) -> Result<(), TransportError> {
        let servers = &self.shared.servers;
        let links = servers.all().await;
        let links = links.map_err(|e| connect_error(servers.address(), &e))?;
        let mut failed = None;
        for link in links {
            match link.send(&cmd("PING")).await {
                Ok(_) => return Ok(()),
                Err(e) => failed = Some(e),
            }
        }
        Err(failed.expect("there is a server"))
    }

    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        let shared = &self.shared;
        let keyed: HashSet<_> = records
            .iter()
            .filter(|(topic, record)| is_partitioned(topic) && record.key.is_some())
            .map(|(topic, _)| topic)
            .collect();
        let mut partitions = HashMap::with_capacity(keyed.len());
        for topic in keyed {
            partitions.insert(topic, shared.counts.of(topic).await);
        }
        let destination = Destination {
            servers: &shared.servers,
            namespace: &shared.namespace,
            partitions,
            audiences: &shared.audiences,
            presences: &shared.presences,
            max_record: shared.max_record,
            replicas: shared.replicas,
        };
        append(&destination, &records).await
    }

    async fn consume(&self, subscription: Subscription) -> Result<RedisConsumer, TransportError> {
        let topic = &subscription.topic;
        if !is_partitioned(topic) {
            return Err(TransportError::not_consumed(self.address(), topic));
        }
        let shared = &self.shared;
        let link = shared.servers.link(&keys::shared(&shared.namespace, topic));
        let counts = shared.counts.clone();
        RedisConsumer::join(link, counts, subscription, shared.block).await
    }

    async fn listen(&self, topic: Topic) -> Result<RedisReceiver, TransportError> {
        if !matches!(topic.kind, Kind::Query | Kind::Reply) {
            return Err(TransportError::not_received(self.address(), &topic));
        }
        let shared = &self.shared;
        let key = keys::shared(&shared.namespace, &topic);
        let link = shared.servers.link(&key);
        let presence = match topic.kind {
            Kind::Query => {
                let key = keys::receivers(&shared.namespace, &topic);
                Some(Presence::enter(link.clone(), &key, shared.receiver_grace).await?)
            }
            _ => None,
        };
        RedisReceiver::open(link, key, shared.block, presence).await
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
        let key = keys::dead_letters(&self.shared.namespace);
        let link = self.shared.servers.link(&key);
        let server = link.server();
        let mut call = scripts::LETTERS.call([key]);
        call.arg(start).arg(limit.min(LETTERS)).arg(BYTES);
        let time = server.deadline_of(BYTES);
        let answer = link.attempt_run(&scripts::LETTERS, &call, time).await?;
        let Value::Array(entries) = answer.map_err(|e| server.error(&e))? else {
            return Err(server.unexpected("XRANGE"));
        };
        let now = now_millis();
        let letters = entries.into_iter().filter_map(|entry| {
            let entry = wire::entry(entry, now)?;
            Some(DeadLetterRecord {
                position: entry.id.padded(),
                record: Arc::unwrap_or_clone(entry.record),
            })
        });
        Ok(letters.collect())
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        if positions.is_empty() {
            return Ok(());
        }
        let mut command = cmd("XDEL");
        let key = keys::dead_letters(&self.shared.namespace);
        command.arg(&key);
        for position in positions {
            command.arg(self.entry_id(position)?);
        }
        let link = self.shared.servers.link(&key);
        link.send(&command).await.map(drop)
    }

    fn check_scheduling(&self) -> Result<(), TransportError> {
        Ok(())
    }

    async fn cancel(&self, topic: &Topic, key: &str) -> Result<bool, TransportError> {
        let Shared {
            servers, namespace, ..
        } = &*self.shared;
        let due = keys::due(namespace, topic);
        let scheduled = keys::scheduled(namespace, topic);
        scheduling::cancel(&servers.link(&due), &due, &scheduled, key).await
    }
}

/// An inspection finds all topics that have had a worker or a message with a key, and those whose key on a server is
/// among the first million of the database. Of a cluster it asks each primary.
impl Inspect for RedisTransport {
    async fn topics(&self) -> Result<Vec<Topic>, TransportError> {
        inspection::topics(&self.shared.servers, &self.shared.namespace).await
    }

    async fn inspect(&self, topics: &[Topic]) -> Result<Vec<TopicState>, TransportError> {
        let mut states = Vec::with_capacity(topics.len());
        for topic in topics {
            states.extend(
                inspection::inspect(&self.shared.servers, &self.shared.namespace, topic).await?,
            );
        }
        Ok(states)
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
