//! The topics of a cluster, which are created when they are first needed.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{
        AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
    },
    client::DefaultClientContext,
    error::KafkaResult,
    types::RDKafkaErrorCode,
};
use tokio::sync::OnceCell;

use super::{clients, errors, names::topic_name, settings::Settings};
use static_bus_remote::{
    lock::lock,
    time::millis,
    transport::{Kind, Topic, TransportError},
};

/// The setting of a topic for the largest size of a batch of records.
pub(super) const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
/// The retention of queries and replies, which is longer than their deadlines.
const REQUEST_RETENTION_MS: &str = "600000";
/// The smallest replication with which a record is confirmed by two replicas.
const MIN_SAFE_REPLICATION: i32 = 3;
/// The delay before a new topic is looked up again.
const LOOKUP_DELAY: Duration = Duration::from_millis(20);
/// The shortest timeout of a lookup: a busy machine takes long to answer one, and after a creation without an answer there
/// is one lookup.
const MIN_LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// The client for administrative requests.
pub(super) type Admin = AdminClient<DefaultClientContext>;

/// The topics that are known to exist, and the client that creates others.
pub(super) struct Topics {
    settings: Arc<Settings>,
    known: Mutex<HashMap<Topic, KafkaTopic>>,
    admin: OnceCell<Arc<Admin>>,
}

/// A topic in the cluster, as it was when it was looked up.
#[derive(Clone)]
pub(super) struct KafkaTopic {
    pub name: Arc<str>,
    /// The number of partitions.
    pub partitions: i32,
    /// The largest size of a batch of records in bytes; without the permission to read it, that of this client.
    pub max_bytes: usize,
}

impl Topics {
    pub fn new(settings: Arc<Settings>) -> Self {
        Topics {
            settings,
            known: Mutex::default(),
            admin: OnceCell::new(),
        }
    }

    /// The Kafka topic of a topic. Creates it if it is missing.
    pub async fn get(&self, topic: &Topic) -> Result<KafkaTopic, TransportError> {
        let topic = known_as(topic);
        if let Some(known) = lock(&self.known).get(topic) {
            return Ok(known.clone());
        }
        let settings = &self.settings;
        let name: Arc<str> = topic_name(settings.namespace(), topic).into();
        let requests = [
            ("retention.ms", REQUEST_RETENTION_MS),
            ("segment.ms", REQUEST_RETENTION_MS),
        ];
        let retention = millis(settings.retention()).to_string();
        let messages = [("retention.ms", &*retention)];
        let (partitions, config) = match topic.kind {
            Kind::Query | Kind::Reply => (settings.partitions(), &requests[..]),
            Kind::DeadLetter => (1, &[("cleanup.policy", "compact")][..]),
            _ => (settings.partitions(), &messages[..]),
        };
        let largest = settings.max_bytes(topic.kind);
        let bytes = largest.to_string();
        let config: Vec<_> = config
            .iter()
            .copied()
            .chain([(MAX_MESSAGE_BYTES, &*bytes)])
            .collect();
        let partitions = self.create(&name, partitions, &config).await?;
        let config = self.config(&name).await;
        let max_bytes = config
            .and_then(|config| config.get(MAX_MESSAGE_BYTES)?.value.as_ref()?.parse().ok())
            .unwrap_or(largest);
        let found = KafkaTopic {
            name,
            partitions,
            max_bytes,
        };
        lock(&self.known).insert(topic.clone(), found.clone());
        Ok(found)
    }

    /// The configuration of a Kafka topic; `None` without the permission to read it.
    pub async fn config(&self, name: &str) -> Option<ConfigResource> {
        let admin = self.admin().await.ok()?;
        let options = AdminOptions::new().request_timeout(Some(self.settings.deadline()));
        let topic = ResourceSpecifier::Topic(name);
        let described = admin.describe_configs([&topic], &options).await.ok()?;
        described.into_iter().next()?.ok()
    }

    /// Creates a Kafka topic if it is missing, and returns its number of partitions.
    pub async fn create(
        &self,
        name: &Arc<str>,
        partitions: i32,
        config: &[(&str, &str)],
    ) -> Result<i32, TransportError> {
        let settings = &self.settings;
        let doing = || format!("creating the topic {name}");
        let end = Instant::now() + settings.deadline();
        let admin = self.admin().await?;
        let replication = TopicReplication::Fixed(settings.replication().unwrap_or(-1));
        let new = NewTopic::new(name, partitions, replication);
        let mut new = config
            .iter()
            .fold(new, |new, (name, value)| new.set(name, value));
        if settings.replication() >= Some(MIN_SAFE_REPLICATION) {
            new = new.set("min.insync.replicas", "2");
        }
        let options = AdminOptions::new()
            .request_timeout(Some(settings.deadline()))
            .operation_timeout(Some(settings.deadline()));
        let created = admin.create_topics([&new], &options).await;
        let refused = match created.map(|results| results.into_iter().next()) {
            Ok(Some(Ok(_)) | None) => None,
            Ok(Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists)))) => None,
            Ok(Some(Err((_, code)))) => Some(errors::code(settings.address(), &doing(), code)),
            Err(e) => Some(errors::error(settings.address(), &doing(), &e)),
        };
        // A refused topic may exist all the same. A new topic is usable only after a moment.
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let look_up = {
                let (admin, name) = (admin.clone(), name.clone());
                move || partitions_of(&admin, &name, left.max(MIN_LOOKUP_TIMEOUT))
            };
            let found = clients::on_thread(look_up).await;
            let failure = match found {
                Some(Ok(Some(partitions))) => return Ok(partitions),
                Some(Err(e)) => errors::error(settings.address(), &doing(), &e),
                _ => errors::unanswered(settings.address(), &doing()),
            };
            if let Some(refused) = refused {
                return Err(refused);
            }
            if Instant::now() >= end {
                return Err(failure);
            }
            tokio::time::sleep(LOOKUP_DELAY).await;
        }
    }

    /// Forgets a topic that may have been deleted: the next [`get`](Self::get) creates it again.
    pub fn forget(&self, topic: &Topic) {
        lock(&self.known).remove(known_as(topic));
    }

    /// The client for administrative requests.
    pub async fn admin(&self) -> Result<Arc<Admin>, TransportError> {
        let start = || async {
            let config = self.settings.admin();
            clients::start(&self.settings, &config, DefaultClientContext).map(Arc::new)
        };
        self.admin.get_or_try_init(start).await.cloned()
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        if let Some(admin) = self.admin.take() {
            clients::end(admin);
        }
    }
}

/// The topic under which a topic is known: the replies to all addresses are in one Kafka topic.
fn known_as(topic: &Topic) -> &Topic {
    static REPLIES: Topic = Topic {
        kind: Kind::Reply,
        name: Cow::Borrowed(""),
    };
    match topic.kind {
        Kind::Reply => &REPLIES,
        _ => topic,
    }
}

/// The number of partitions of a topic, if all of them are usable.
fn partitions_of(admin: &Admin, name: &str, timeout: Duration) -> KafkaResult<Option<i32>> {
    let metadata = admin.inner().fetch_metadata(Some(name), timeout)?;
    let topic = metadata.topics().iter().find(|t| t.name() == name);
    let usable = topic.filter(|t| t.error().is_none() && !t.partitions().is_empty());
    let usable = usable.filter(|t| t.partitions().iter().all(|p| p.leader() >= 0));
    // A new leader that does not know its role yet refuses the first batch of a producer and may accept the
    // second, which breaks the order. It answers this request when it does.
    for partition in usable.iter().flat_map(|topic| topic.partitions()) {
        admin
            .inner()
            .fetch_watermarks(name, partition.id(), timeout)?;
    }
    Ok(usable.map(|t| i32::try_from(t.partitions().len()).unwrap_or(i32::MAX)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{cluster::Cluster, settings::KafkaTransportBuilder};
    use test_brokers::kafka::Kafka;

    #[tokio::test]
    async fn the_topic_of_replies_is_looked_up_once_for_all_addresses() {
        let settings = KafkaTransportBuilder::new(Kafka::common().servers()).namespace("look-up");
        let settings = settings.deadline(Duration::from_secs(60));
        let cluster = Cluster::new(settings.settings().unwrap());
        let topics = cluster.topics();
        for address in ["one", "two"] {
            let replies = Topic {
                kind: Kind::Reply,
                name: address.into(),
            };
            assert_eq!(
                &*topics.get(&replies).await.unwrap().name,
                "look-up.replies"
            );
        }
        assert_eq!(lock(&topics.known).len(), 1);
        topics.forget(&Topic {
            kind: Kind::Reply,
            name: "three".into(),
        });
        assert_eq!(lock(&topics.known).len(), 0);
    }
}
