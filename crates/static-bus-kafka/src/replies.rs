//! Replies to one process.
//!
//! All processes share one topic of replies. A process reads the partition that the partitioner chooses for its
//! address, and skips the replies to others. It begins at the end of the partition and commits nothing.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};
use tokio::{sync::Notify, time::Instant};

use super::{
    clients::{self, blocking, retry_until},
    cluster::Cluster,
    errors, wire,
};
use static_bus_remote::{
    lock::lock,
    time::{later, now_millis},
    transport::{Record, Topic, TransportError},
};

/// The operation of a receiver in errors.
const RECEIVING: &str = "receiving replies";

/// A receiver of the replies to one address.
pub(super) struct Replies {
    cluster: Arc<Cluster>,
    address: String,
    /// `None` when the receiver is closed.
    client: Mutex<Option<BaseConsumer>>,
    arrived: Arc<Notify>,
}

impl Replies {
    /// Opens the receiver of the address that is the name of the topic.
    pub async fn open(cluster: &Arc<Cluster>, topic: &Topic) -> Result<Self, TransportError> {
        let found = cluster.topics().get(topic).await?;
        let (name, partitions) = (found.name, found.partitions);
        let address = topic.name.to_string();
        let number = partition_of(address.as_bytes(), partitions);
        let settings = cluster.settings();
        let mut config = settings.reader(&name);
        config.set("isolation.level", "read_uncommitted");
        let arrived = Arc::new(Notify::new());
        let (deadline, wake) = (settings.deadline(), arrived.clone());
        let client = blocking(settings, RECEIVING, move || {
            let mut client: BaseConsumer = config.create()?;
            client.set_nonempty_callback(move || wake.notify_one());
            // A new topic has no leader for a moment.
            let until = std::time::Instant::now() + deadline;
            let (_, end) = retry_until(until, || client.fetch_watermarks(&name, number, deadline))?;
            let mut from = TopicPartitionList::new();
            from.add_partition_offset(&name, number, Offset::Offset(end))?;
            client.assign(&from)?;
            Ok(client)
        });
        Ok(Replies {
            client: Mutex::new(Some(client.await?)),
            cluster: cluster.clone(),
            address,
            arrived,
        })
    }

    /// Waits until there are replies, but no longer than `wait`, and returns up to `max` of them.
    pub async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Arc<Record>>, TransportError> {
        let end = later(Instant::now(), wait);
        loop {
            let arrived = self.arrived.notified();
            let taken = self.take(max)?;
            if !taken.is_empty() || Instant::now() >= end {
                return Ok(taken);
            }
            _ = tokio::time::timeout_at(end, arrived).await;
        }
    }

    fn take(&self, max: usize) -> Result<Vec<Arc<Record>>, TransportError> {
        let mut taken = Vec::new();
        let client = lock(&self.client);
        let Some(client) = &*client else {
            return Ok(taken);
        };
        while taken.len() < max {
            match client.poll(Duration::ZERO) {
                Some(Ok(message)) if message.key() == Some(self.address.as_bytes()) => {
                    let record = wire::decode(&message, now_millis);
                    if record.expires != Some(Duration::ZERO) {
                        taken.push(Arc::new(record));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) if taken.is_empty() && !errors::is_lost_connection(&error) => {
                    return Err(self.cluster.error(RECEIVING, &error));
                }
                Some(Err(_)) => {}
                None => break,
            }
        }
        Ok(taken)
    }

    /// Ends the client.
    pub async fn close(&self) -> Result<(), TransportError> {
        let client = lock(&self.client).take();
        blocking(self.cluster.settings(), "closing", move || {
            drop(client);
            Ok(())
        })
        .await
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        if let Some(client) = lock(&self.client).take() {
            clients::end(client);
        }
    }
}

/// The partition of a key by the partitioner `murmur2` of Kafka's Java client.
fn partition_of(key: &[u8], partitions: i32) -> i32 {
    let hash = murmur2(key) & 0x7fff_ffff;
    let partitions = u32::try_from(partitions).unwrap_or(1).max(1);
    i32::try_from(hash % partitions).unwrap_or(0)
}

/// Austin Appleby's MurmurHash2 with the seed of Kafka.
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> 24;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of `UtilsTest` in Apache Kafka.
    #[test]
    fn hashes_are_equal_to_those_of_the_java_client() {
        let known: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }
}
