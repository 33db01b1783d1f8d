//! The numbers of partitions of topics.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use redis::cmd;

use super::{keys, keys::GroupKeys, link::Link};
use static_bus_remote::{
    lock::lock,
    transport::{Subscription, Topic, TransportError},
};

/// The smallest and the greatest number of partitions of a topic.
pub(super) const PARTITIONS: std::ops::RangeInclusive<usize> = 1..=1000;

/// The numbers of partitions of topics. The first client that uses a topic sets its number, for all time.
pub(super) struct PartitionCounts {
    /// Calls with the key of the numbers.
    link: Link,
    namespace: Arc<str>,
    /// The number for topics that are new.
    default: usize,
    known: Mutex<HashMap<Topic, usize>>,
}

impl PartitionCounts {
    pub fn new(link: Link, namespace: Arc<str>, default: usize) -> Self {
        PartitionCounts {
            link,
            namespace,
            default,
            known: Mutex::default(),
        }
    }

    /// The number of partitions of a topic.
    pub async fn of(&self, topic: &Topic) -> Result<usize, TransportError> {
        if let Some(known) = lock(&self.known).get(topic) {
            return Ok(*known);
        }
        let server = self.link.server();
        let (hash, field) = (keys::partitions(&self.namespace), keys::topic(topic));
        let mut commands = redis::pipe();
        commands.cmd("HSETNX").arg(&hash).arg(&field);
        commands.arg(self.default);
        commands.cmd("HGET").arg(&hash).arg(&field);
        let answer = self.link.send_all(&commands).await?.pop();
        let answer = answer.unwrap_or_default().extract_error();
        let answer = answer.map_err(|e| server.error(&e))?;
        let partitions = redis::from_redis_value::<usize>(answer).ok();
        let partitions = partitions
            .filter(|n| PARTITIONS.contains(n))
            .ok_or_else(|| server.unexpected("HGET"))?;
        lock(&self.known).insert(topic.clone(), partitions);
        Ok(partitions)
    }

    /// The keys of a group, after the number of its topic's partitions.
    pub async fn group_keys(&self, of: &Subscription) -> Result<GroupKeys, TransportError> {
        let partitions = self.of(&of.topic).await?;
        Ok(GroupKeys::new(
            &self.namespace,
            &of.topic,
            &of.group,
            partitions,
        ))
    }

    /// Sets the number of a topic again, after the server lost its data.
    pub async fn restore(&self, topic: &Topic, partitions: usize) -> Result<(), TransportError> {
        let mut command = cmd("HSETNX");
        command.arg(keys::partitions(&self.namespace));
        command.arg(keys::topic(topic)).arg(partitions);
        self.link.send(&command).await.map(drop)
    }
}
