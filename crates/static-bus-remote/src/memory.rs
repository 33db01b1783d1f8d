//! The broker engine in this process, for development, for tests, and for a monolith that is to be
//! split later.

mod claims;
mod consumer;
mod group;
mod lines;
mod log;
mod waiters;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::{task::coop::consume_budget, time::Instant};

use self::log::Log;
use super::{
    lock::lock,
    transport::{
        Capabilities, DeadLetterRecord, Kind, Record, Subscription, Topic, Transport,
        TransportError, TransportErrorKind,
    },
};

pub use consumer::{MemoryConsumer, Receipt};

/// A broker in this process. Clones share it; when the last clone and the last consumer are dropped,
/// it is gone with everything in it.
///
/// It promises what every engine promises, as long as the process lives:
///
/// - Queries and replies are handed out at most once, and dropped when they are past
///   [`Record::expires`].
/// - A command waits until a group consumes it, an event goes to every group that exists. A record is
///   freed when every group has settled it; groups are never removed, and one without members keeps
///   what it is given.
/// - A group gets records in the order in which they were appended. One that was given back, or
///   whose lease ran out, comes before those that were appended after it.
/// - All records of a key go to one member, until it has settled all it was given or its
///   last lease of the key has run out. Then they go to any member, in order.
/// - The clock is tokio's: in a test that has paused it, leases and deadlines pass without waiting.
///
/// Each operation costs O(log n) for each record, under a lock for each topic. Only
/// [`receive`](super::transport::Consumer::receive) needs a runtime, for a timer while it waits.
///
/// ```
/// use std::time::Duration;
/// use static_bus_remote::{MemoryBroker, Transport, transport::*};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), TransportError> {
/// let broker = MemoryBroker::new();
/// let topic = Topic { kind: Kind::Command, name: "orders.place".into() };
///
/// // Nobody consumes yet: the command is kept.
/// let record = Record { body: "one book".into(), ..Record::default() };
/// broker.append(vec![(topic.clone(), record)]).await.remove(0)?;
///
/// let consumer = broker.consume(Subscription::new(topic, "handlers", "worker-1")).await?;
/// let received = consumer.receive(10, Duration::from_secs(1)).await?;
/// assert_eq!(received[0].record.body, "one book");
/// assert_eq!(consumer.backlog().await?.pending, 1);
///
/// let lease = Lease { receipt: received[0].receipt.clone(), claim: None };
/// consumer.acknowledge(&[lease]).await?;
/// assert_eq!(consumer.backlog().await?, Backlog::default());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryBroker(Arc<Broker>);

#[derive(Default)]
struct Broker {
    topics: RwLock<HashMap<Topic, Arc<Log>>>,
    dead: Mutex<DeadLetters>,
}

#[derive(Default)]
struct DeadLetters {
    appended: u64,
    records: BTreeMap<String, Record>,
}

impl MemoryBroker {
    /// A broker with nothing in it.
    ///
    /// ```
    /// use static_bus_remote::{MemoryBroker, Transport, transport::Capabilities};
    ///
    /// let broker = MemoryBroker::new();
    /// assert_eq!(broker.address(), "memory");
    /// assert_eq!(broker.capabilities(), Capabilities::IN_PROCESS);
    /// ```
    pub fn new() -> Self {
        MemoryBroker::default()
    }

    fn log(&self, topic: &Topic) -> Option<Arc<Log>> {
        let topics = self.0.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(topic).cloned()
    }

    fn log_or_new(&self, topic: &Topic) -> Arc<Log> {
        self.log(topic).unwrap_or_else(|| {
            let topics = self.0.topics.write();
            let mut topics = topics.unwrap_or_else(PoisonError::into_inner);
            let log = topics
                .entry(topic.clone())
                .or_insert_with(|| Arc::new(Log::new(topic.kind)));
            log.clone()
        })
    }
}

impl Transport for MemoryBroker {
    type Consumer = MemoryConsumer;

    fn address(&self) -> &str {
        ADDRESS
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::IN_PROCESS
    }

    async fn check(&self) -> Result<(), TransportError> {
        Ok(())
    }

    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        consume_budget().await;
        let results = vec![Ok(()); records.len()];
        let mut records = records.into_iter().peekable();
        while let Some((topic, first)) = records.next() {
            let same = std::iter::from_fn(|| records.next_if(|(next, _)| *next == topic));
            let run = std::iter::once(first).chain(same.map(|(_, record)| record));
            match topic.kind {
                Kind::DeadLetter => lock(&self.0.dead).append(run),
                // No group has asked for it: it is dropped.
                Kind::Event => match self.log(&topic) {
                    Some(log) => log.append(run),
                    None => run.for_each(drop),
                },
                _ => self.log_or_new(&topic).append(run),
            }
        }
        results
    }

    async fn consume(&self, subscription: Subscription) -> Result<MemoryConsumer, TransportError> {
        consume_budget().await;
        if subscription.topic.kind == Kind::DeadLetter {
            return Err(error(
                TransportErrorKind::Refused,
                "dead letters have no consumers: read them with `dead_letters`",
            ));
        }
        let log = self.log_or_new(&subscription.topic);
        Ok(MemoryConsumer::join(log, subscription))
    }

    async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterRecord>, TransportError> {
        consume_budget().await;
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let dead = lock(&self.0.dead);
        let found = dead.records.range::<str, _>((after, Bound::Unbounded));
        let found = found.take(limit).map(|(position, record)| {
            let (position, record) = (position.clone(), record.clone());
            DeadLetterRecord { position, record }
        });
        Ok(found.collect())
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        consume_budget().await;
        let mut dead = lock(&self.0.dead);
        for position in positions {
            dead.records.remove(position);
        }
        Ok(())
    }
}

impl DeadLetters {
    fn append(&mut self, records: impl Iterator<Item = Record>) {
        for record in records {
            self.appended += 1;
            // Of one width, so that they sort as strings.
            let position = format!("{:020}", self.appended);
            self.records.insert(position, record);
        }
    }
}

impl std::fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryBroker").finish_non_exhaustive()
    }
}

const ADDRESS: &str = "memory";

fn error(kind: TransportErrorKind, reason: &'static str) -> TransportError {
    TransportError::new(kind, ADDRESS, reason)
}

/// `now + after`, or so far away that it makes no difference.
fn later(now: Instant, after: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    now + after.min(FAR)
}
