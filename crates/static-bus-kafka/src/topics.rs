//! What topics and groups are called, and how topics come to be.
//!
//! | name | what |
//! |---|---|
//! | `<namespace>.query.<name>`, `<namespace>.command.<name>`, `<namespace>.event.<name>` | topics of messages |
//! | `<namespace>.replies` | the topic of all replies |
//! | `<namespace>.dead-letters` | the topic of all dead letters |
//! | `<namespace>.claims.<kind>.<name>-at-<group>` | the topic of a group's deduplication keys |
//! | `<namespace>.<kind>.<name>@<group>` | a group |
//!
//! In names of topics, letters, digits and `.` are as they are, `::` is `--`, `_` is `-_`, and any
//! other byte is `-` and two hexadecimal digits. Kafka refuses two names that differ only in `.` and
//! `_`, which no two of these do. What is longer than 249 characters is cut and ends in a hash.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    types::RDKafkaErrorCode,
};
use tokio::sync::OnceCell;

use super::{
    clients, errors,
    settings::{Settings, millis},
};
use static_bus_remote::{
    lock::lock,
    transport::{Kind, Topic, TransportError},
};

/// The longest name that Kafka allows.
const LONGEST: usize = 249;
/// For how long queries and replies are kept: longer than they are of use.
const SHORT: Duration = Duration::from_secs(600);

/// The topic that records are appended to and consumed from.
pub(super) fn topic_name(namespace: &str, topic: &Topic) -> String {
    match topic.kind {
        Kind::Reply => format!("{namespace}.replies"),
        Kind::DeadLetter => format!("{namespace}.dead-letters"),
        kind => fit(format!(
            "{namespace}.{}.{}",
            kind.as_str(),
            escape(&topic.name)
        )),
    }
}

/// The topic of a group's deduplication keys.
pub(super) fn claims_name(namespace: &str, topic: &Topic, group: &str) -> String {
    let (kind, name) = (topic.kind.as_str(), escape(&topic.name));
    fit(format!(
        "{namespace}.claims.{kind}.{name}-at-{}",
        escape(group)
    ))
}

/// The Kafka consumer group of a topic's group.
pub(super) fn group_id(namespace: &str, topic: &Topic, group: &str) -> String {
    let (kind, name) = (topic.kind.as_str(), escape(&topic.name));
    format!("{namespace}.{kind}.{name}@{group}")
}

fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len() + 8);
    let mut rest = name.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' => escaped.push(byte.into()),
            b'_' => escaped.push_str("-_"),
            b':' if rest.first() == Some(&b':') => {
                escaped.push_str("--");
                rest = &rest[1..];
            }
            _ => escaped.push_str(&format!("-{byte:02x}")),
        }
    }
    escaped
}

/// Cuts a name that is too long; no escape looks like the mark before the hash.
fn fit(mut name: String) -> String {
    if name.len() > LONGEST {
        let hash = fnv(name.as_bytes());
        name.truncate(LONGEST - 34);
        name.push_str(&format!("-h{hash:032x}"));
    }
    name
}

/// FNV-1a of 128 bits.
fn fnv(bytes: &[u8]) -> u128 {
    let step = |hash: u128, byte: &u8| {
        (hash ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b)
    };
    bytes
        .iter()
        .fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, step)
}

/// The topics that are known to exist, and the client that makes others.
#[derive(Default)]
pub(super) struct Topics {
    /// Their names, and how many partitions they have.
    known: Mutex<HashMap<Topic, (Arc<str>, i32)>>,
    admin: OnceCell<Arc<Admin>>,
}

type Admin = AdminClient<DefaultClientContext>;

impl Settings {
    /// The Kafka topic of a topic, which is created if it is missing, and how many partitions it has.
    pub async fn topic(&self, topic: &Topic) -> Result<(Arc<str>, i32), TransportError> {
        if let Some(known) = lock(&self.topics.known).get(topic) {
            return Ok(known.clone());
        }
        let name: Arc<str> = topic_name(&self.namespace, topic).into();
        let short = [
            ("retention.ms", &*millis(SHORT)),
            ("segment.ms", &*millis(SHORT)),
        ];
        let long = [("retention.ms", &*millis(self.retention))];
        let (partitions, config) = match topic.kind {
            Kind::Query | Kind::Reply => (self.partitions, &short[..]),
            Kind::DeadLetter => (1, &[("cleanup.policy", "compact")][..]),
            _ => (self.partitions, &long[..]),
        };
        let partitions = self.create(&name, partitions, config).await?;
        lock(&self.topics.known).insert(topic.clone(), (name.clone(), partitions));
        Ok((name, partitions))
    }

    /// Creates a topic if it is missing, and tells how many partitions it has.
    pub async fn create(
        &self,
        name: &Arc<str>,
        partitions: i32,
        config: &[(&str, &str)],
    ) -> Result<i32, TransportError> {
        let doing = || format!("creating the topic {name}");
        let end = Instant::now() + self.deadline;
        let admin = self.admin_client().await?;
        let replication = TopicReplication::Fixed(self.replication.unwrap_or(-1));
        let largest = self.largest.to_string();
        let new = NewTopic::new(name, partitions, replication).set("max.message.bytes", &largest);
        let mut new = config
            .iter()
            .fold(new, |new, (name, value)| new.set(name, value));
        if self.replication.is_some_and(|servers| servers >= 3) {
            new = new.set("min.insync.replicas", "2");
        }
        let options = AdminOptions::new()
            .request_timeout(Some(self.deadline))
            .operation_timeout(Some(self.deadline));
        let created = admin.create_topics([&new], &options).await;
        let refused = match created.map(|results| results.into_iter().next()) {
            Ok(Some(Ok(_)) | None) => None,
            Ok(Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists)))) => None,
            Ok(Some(Err((_, code)))) => Some(errors::code(&self.address, &doing(), code)),
            Err(e) => Some(errors::error(&self.address, &doing(), &e)),
        };
        // What may not be created may be there all the same; what is created can be used a little later.
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let look = {
                let (admin, name) = (admin.clone(), name.clone());
                move || partitions_of(&admin, &name, left.max(Duration::from_millis(100)))
            };
            let found = tokio::task::spawn_blocking(look).await;
            let failure = match found {
                Ok(Ok(Some(partitions))) => return Ok(partitions),
                Ok(Err(e)) => errors::error(&self.address, &doing(), &e),
                _ => errors::unanswered(&self.address, &doing()),
            };
            if let Some(refused) = refused {
                return Err(refused);
            }
            if Instant::now() >= end {
                return Err(failure);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A topic may have been deleted: looks again when it is needed next.
    pub fn forget(&self, topic: &Topic) {
        lock(&self.topics.known).remove(topic);
    }

    /// The client for what is neither produced nor consumed.
    pub async fn admin_client(&self) -> Result<Arc<Admin>, TransportError> {
        let make = || async {
            let admin: Admin = clients::start(self, &self.admin(), DefaultClientContext)?;
            Ok(Arc::new(admin))
        };
        self.topics.admin.get_or_try_init(make).await.cloned()
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        if let Some(admin) = self.admin.take() {
            clients::end(admin);
        }
    }
}

/// How many partitions a topic has, if all of them can be used.
fn partitions_of(
    admin: &Admin,
    name: &str,
    limit: Duration,
) -> Result<Option<i32>, rdkafka::error::KafkaError> {
    let metadata = admin.inner().fetch_metadata(Some(name), limit)?;
    let topic = metadata.topics().iter().find(|t| t.name() == name);
    let usable = topic.filter(|t| t.error().is_none() && !t.partitions().is_empty());
    let usable = usable.filter(|t| t.partitions().iter().all(|p| p.leader() >= 0));
    // A leader that is named may not know of it yet. It would refuse the first batch of a producer and take
    // the second, whatever the order.
    for partition in usable.iter().flat_map(|topic| topic.partitions()) {
        admin
            .inner()
            .fetch_watermarks(name, partition.id(), limit)?;
    }
    Ok(usable.map(|t| i32::try_from(t.partitions().len()).unwrap_or(i32::MAX)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{claims_name, group_id, topic_name};
    use static_bus_remote::transport::{Kind, Topic};

    fn topic(kind: Kind, name: &str) -> Topic {
        Topic {
            kind,
            name: name.to_owned().into(),
        }
    }

    #[test]
    fn names_stay_as_they_are() {
        let name = |kind, name: &str| topic_name("static-bus", &topic(kind, name));
        assert_eq!(
            name(Kind::Command, "orders.place"),
            "static-bus.command.orders.place"
        );
        assert_eq!(
            name(Kind::Event, "my_shop::orders::OrderCreated"),
            "static-bus.event.my-_shop--orders--OrderCreated"
        );
        assert_eq!(
            name(Kind::Query, "a-b: ä"),
            "static-bus.query.a-2db-3a-20-c3-a4"
        );
        assert_eq!(name(Kind::Reply, "7f3a"), "static-bus.replies");
        assert_eq!(name(Kind::DeadLetter, ""), "static-bus.dead-letters");
        let created = topic(Kind::Event, "orders.created");
        assert_eq!(
            claims_name("shop", &created, "stock-1"),
            "shop.claims.event.orders.created-at-stock-2d1"
        );
        assert_eq!(
            group_id("shop", &created, "stock-1"),
            "shop.event.orders.created@stock-1"
        );
        let long = name(Kind::Command, &"x".repeat(300));
        assert_eq!(long.len(), 249);
        assert!(
            long.ends_with("-h2e2c3a940f652e326de86b7ff73bcb9b"),
            "{long}"
        );
    }

    #[test]
    fn no_two_topics_have_one_name_even_where_kafka_sees_no_difference() {
        let parts = ["a", ".", "_", "-", ":", "::", "2", "d", "at", "h", "ä", "@"];
        let mut seen = HashMap::new();
        for a in parts {
            for b in parts {
                for c in parts {
                    for d in parts {
                        let name = [a, b, c, d].concat();
                        let kafka = topic_name("p", &topic(Kind::Event, &name));
                        let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
                        assert!(kafka.bytes().all(legal), "{kafka}");
                        let before = seen.insert(kafka.replace('_', "."), name.clone());
                        assert!(before.is_none_or(|b| b == name), "{name}: {kafka}");
                    }
                }
            }
        }
    }

    #[test]
    fn names_and_groups_that_read_alike_when_joined_stay_apart() {
        let parts = ["a", "-at-", "at", "-", "@", "::", "."];
        let (mut topics, mut groups) = (HashMap::new(), HashMap::new());
        for name in parts.iter().flat_map(|a| parts.map(|b| [*a, b].concat())) {
            for group in parts.iter().flat_map(|a| parts.map(|b| [*a, b].concat())) {
                let topic = topic(Kind::Event, &name);
                let both = (name.clone(), group.clone());
                for (seen, joined) in [
                    (&mut topics, claims_name("p", &topic, &group)),
                    (&mut groups, group_id("p", &topic, &group)),
                ] {
                    let before = seen.insert(joined, both.clone());
                    assert!(
                        before.as_ref().is_none_or(|b| *b == both),
                        "{before:?} {both:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn names_that_are_cut_stay_apart() {
        let name = |end: &str| topic_name("p", &topic(Kind::Event, &("x".repeat(300) + end)));
        assert_ne!(name("1"), name("2"));
    }
}
