//! Replies to this process.
//!
//! All processes share one topic of replies, and each reads the partition to which the partitioner of
//! producers takes its address. It passes over what is for others. Nothing is committed: it
//! begins with what is appended from now on.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    types::RDKafkaErrorCode as Code,
};
use tokio::{sync::Notify, time::Instant};

use super::{
    consumer::KafkaReceipt,
    errors,
    offsets::{again, blocking},
    settings::Settings,
    wire,
};
use static_bus_remote::{
    lock::lock,
    transport::{Delivery, Topic, TransportError},
};

/// Waits for the replies to one address.
pub(super) struct Replies {
    settings: Arc<Settings>,
    address: String,
    /// None once it is closed.
    client: Mutex<Option<BaseConsumer>>,
    arrived: Arc<Notify>,
    number: AtomicI64,
}

impl Replies {
    pub async fn open(settings: &Arc<Settings>, topic: &Topic) -> Result<Self, TransportError> {
        let (name, partitions) = settings.topic(topic).await?;
        let address = topic.name.to_string();
        let number = partition_of(address.as_bytes(), partitions);
        let mut config = settings.consumer(&name);
        config.set("isolation.level", "read_uncommitted");
        let arrived = Arc::new(Notify::new());
        let (deadline, wake) = (settings.deadline, arrived.clone());
        let client = blocking(settings, "waiting for replies", move || {
            let mut client: BaseConsumer = config.create()?;
            client.set_nonempty_callback(move || wake.notify_one());
            // A topic that has just been created has no leader for a moment.
            let until = std::time::Instant::now() + deadline;
            let (_, end) = again(until, || client.fetch_watermarks(&name, number, deadline))?;
            let mut from = TopicPartitionList::new();
            from.add_partition_offset(&name, number, Offset::Offset(end))?;
            client.assign(&from)?;
            Ok(client)
        });
        Ok(Replies {
            client: Mutex::new(Some(client.await?)),
            settings: settings.clone(),
            address,
            arrived,
            number: AtomicI64::new(0),
        })
    }

    pub async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<KafkaReceipt>>, TransportError> {
        let end = Instant::now() + wait;
        loop {
            let arrived = self.arrived.notified();
            let got = self.take(max)?;
            if !got.is_empty() || Instant::now() >= end {
                return Ok(got.into());
            }
            _ = tokio::time::timeout_at(end, arrived).await;
        }
    }

    fn take(&self, max: usize) -> Result<VecDeque<Delivery<KafkaReceipt>>, TransportError> {
        let mut got = VecDeque::new();
        let client = lock(&self.client);
        let Some(client) = &*client else {
            return Ok(got);
        };
        while got.len() < max {
            match client.poll(Duration::ZERO) {
                Some(Ok(message)) if message.key() == Some(self.address.as_bytes()) => {
                    let record = wire::decode(&message, wire::now_millis());
                    if record.expires != Some(Duration::ZERO) {
                        let number = self.number.fetch_add(1, Ordering::Relaxed);
                        got.push_back(Delivery {
                            receipt: KafkaReceipt::new(message.partition(), 0, number),
                            record: Arc::new(record),
                            attempt: 1,
                        });
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    // Connections come and go; only that there is none is worth telling.
                    let code = error.rdkafka_error_code();
                    let passing = [Code::BrokerTransportFailure, Code::Resolve];
                    let passing = code.is_some_and(|code| passing.contains(&code));
                    if got.is_empty() && !passing {
                        let address = &self.settings.address;
                        return Err(errors::error(address, "waiting for replies", &error));
                    }
                }
                None => break,
            }
        }
        Ok(got)
    }

    pub async fn close(&self) -> Result<(), TransportError> {
        let client = lock(&self.client).take();
        blocking(&self.settings, "closing", move || {
            drop(client);
            Ok(())
        })
        .await
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        // To end a client takes a while.
        if let Some(client) = lock(&self.client).take() {
            std::thread::spawn(move || drop(client));
        }
    }
}

/// The partition of a key, as the partitioner `murmur2` of Kafka's own clients has it.
fn partition_of(key: &[u8], partitions: i32) -> i32 {
    let hash = murmur2(key) & 0x7fff_ffff;
    let partitions = u32::try_from(partitions).unwrap_or(1).max(1);
    i32::try_from(hash % partitions).unwrap_or(0)
}

/// Austin Appleby's MurmurHash2 with the seed that Kafka uses.
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

    /// Those of `UtilsTest` in Apache Kafka.
    #[test]
    fn hashes_are_those_of_kafkas_own_clients() {
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
