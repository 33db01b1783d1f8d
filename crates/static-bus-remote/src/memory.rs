//! The broker engine within one process, for development, for tests, and for a monolith that is to be
//! split later.

mod builder;
mod claims;
mod consumer;
mod entry;
mod group;
mod inspection;
mod lines;
mod log;
mod queue;
mod quiet;
mod scheduled;
mod waiters;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, Mutex},
};

use tokio::{task::coop::consume_budget, time::Instant};

use self::{
    builder::Settings,
    log::Log,
    queue::Queue,
    quiet::{Activity, answered_by},
};
use super::{
    lock::lock,
    transport::{
        DEAD_LETTER_HEADROOM, DeadLetterRecord, Kind, Record, Subscription, Topic, Transport,
        TransportError, TransportErrorKind,
    },
};

pub use builder::MemoryBrokerBuilder;
pub use consumer::MemoryConsumer;
pub use group::Receipt;
pub use queue::MemoryReceiver;
pub use quiet::{InFlight, InFlightState, NotQuiet};

/// A broker within this process. Clones share it. When the last clone, consumer and receiver are dropped, it is
/// gone with everything in it.
///
/// It keeps the promises of every engine, as long as the process lives:
///
/// - Queries and replies are delivered at most once, and dropped when they have
///   [expired](Record::expires). A query without a receiver is
///   [refused](MemoryBrokerBuilder::receiver_grace).
/// - A command waits until a group consumes it; an event goes to every group that exists. A record is
///   freed when every group has settled it. Groups are never removed, and a group without members keeps its
///   records.
/// - A group gets records in the order in which they were appended. A record that was released, or
///   whose lease ran out, comes before those that were appended after it.
/// - All records of a key go to one member, until it has settled all that it was given or its
///   last lease of the key has run out. Then they go to any member, in order.
/// - The clock is that of tokio: in a test that has paused it, leases, deadlines and delays of scheduled messages pass
///   without waiting. A [time](crate::Due::at) becomes a delay, by the clock of the system, when the message is appended.
///
/// Each operation costs O(log n) for each record, under a lock for each topic. Only `receive` needs a runtime, for
/// a timer while it waits.
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
/// // The topic has no group yet: the command waits.
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
    /// The topics of commands and events.
    logs: Mutex<HashMap<Topic, Arc<Log>>>,
    /// The topics of queries and replies.
    queues: Mutex<HashMap<Topic, Arc<Queue>>>,
    dead: Mutex<DeadLetters>,
    activity: Arc<Activity>,
    settings: Settings,
}

#[derive(Default)]
struct DeadLetters {
    appended: u64,
    records: BTreeMap<String, Record>,
}

impl MemoryBroker {
    /// An empty broker.
    ///
    /// ```
    /// use static_bus_remote::{MemoryBroker, Transport};
    ///
    /// assert_eq!(MemoryBroker::new().address(), "memory");
    /// ```
    pub fn new() -> Self {
        MemoryBroker::default()
    }

    /// The configuration of a broker.
    pub fn builder() -> MemoryBrokerBuilder {
        MemoryBrokerBuilder::default()
    }

    fn log(&self, topic: &Topic) -> Option<Arc<Log>> {
        lock(&self.0.logs).get(topic).cloned()
    }

    fn log_or_new(&self, topic: &Topic) -> Arc<Log> {
        self.log(topic).unwrap_or_else(|| {
            let log = || Arc::new(Log::new(topic.kind, self.0.activity.clone()));
            let mut logs = lock(&self.0.logs);
            logs.entry(topic.clone()).or_insert_with(log).clone()
        })
    }

    /// # Errors
    /// The reason why a record is refused.
    fn accepts(&self, (topic, record): &(Topic, Record)) -> Result<(), TransportError> {
        let Settings {
            max_record: max,
            receiver_grace: grace,
        } = self.0.settings;
        let max = match topic.kind {
            Kind::DeadLetter => max.saturating_add(DEAD_LETTER_HEADROOM),
            _ => max,
        };
        let key = record.key.as_ref().map_or(0, |key| key.len());
        let size = record.headers.as_str().len() + record.body.len() + key;
        if size > max {
            let reason = format!(
                "the record of {topic} has {size} bytes, and the limit is {max}: send less, or raise `max_record`"
            );
            let kind = TransportErrorKind::TooLarge;
            return Err(TransportError::new(kind, ADDRESS, reason));
        }
        if record.due.is_some() && !matches!(topic.kind, Kind::Command | Kind::Event) {
            return Err(TransportError::never_due(ADDRESS, topic));
        }
        let queue = || lock(&self.0.queues).get(topic).cloned();
        let has_receiver = || queue().is_some_and(|q| q.has_receiver(Instant::now(), grace));
        if topic.kind == Kind::Query && !has_receiver() {
            return Err(TransportError::no_receiver(ADDRESS, topic));
        }
        Ok(())
    }

    pub(crate) fn append_now(
        &self,
        records: Vec<(Topic, Record)>,
    ) -> Vec<Result<(), TransportError>> {
        let results: Vec<_> = records.iter().map(|one| self.accepts(one)).collect();
        let accepted = records.into_iter().zip(&results);
        let accepted = accepted.filter_map(|(one, result)| result.is_ok().then_some(one));
        let mut records = accepted.peekable();
        while let Some((topic, first)) = records.next() {
            if let Some(due) = first.due.clone() {
                let record = Record {
                    scope: None,
                    ..first
                };
                self.log_or_new(&topic).schedule(&due, record);
                continue;
            }
            let is_same = |(next, record): &(Topic, Record)| *next == topic && record.due.is_none();
            let same = std::iter::from_fn(|| records.next_if(is_same));
            let run = std::iter::once(first).chain(same.map(|(_, record)| record));
            // The attempt of a handler.
            let run = run.map(|record| Record {
                scope: None,
                ..record
            });
            match topic.kind {
                Kind::Query => self.queue(&topic).append(run),
                Kind::Reply => self.reply(&topic, run.collect()),
                Kind::Command => self.log_or_new(&topic).append(run),
                // An event of which no group exists is dropped.
                Kind::Event => match self.log(&topic) {
                    Some(log) => log.append(run),
                    None => run.for_each(drop),
                },
                Kind::DeadLetter => lock(&self.0.dead).append(run),
            }
        }
        self.0.activity.note();
        results
    }

    /// Appends replies. Their queries are answered then.
    fn reply(&self, topic: &Topic, replies: Vec<Record>) {
        let ids = answered_by(&replies, topic.kind);
        self.queue(topic).append(replies.into_iter());
        self.0.activity.answered(&ids);
    }

    fn queue(&self, topic: &Topic) -> Arc<Queue> {
        let mut queues = lock(&self.0.queues);
        let queue = || Arc::new(Queue::new(topic.clone(), self.0.activity.clone()));
        queues.entry(topic.clone()).or_insert_with(queue).clone()
    }
}

impl Transport for MemoryBroker {
    type Consumer = MemoryConsumer;
    type Receiver = MemoryReceiver;

    fn address(&self) -> &str {
        ADDRESS
    }

    async fn check(&self) -> Result<(), TransportError> {
        Ok(())
    }

    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        consume_budget().await;
        self.append_now(records)
    }

    async fn consume(&self, subscription: Subscription) -> Result<MemoryConsumer, TransportError> {
        consume_budget().await;
        let topic = &subscription.topic;
        match topic.kind {
            Kind::Command | Kind::Event => {
                let log = self.log_or_new(topic);
                Ok(MemoryConsumer::join(log, subscription))
            }
            _ => Err(TransportError::not_consumed(ADDRESS, topic)),
        }
    }

    async fn listen(&self, topic: Topic) -> Result<MemoryReceiver, TransportError> {
        consume_budget().await;
        match topic.kind {
            Kind::Query | Kind::Reply => Ok(MemoryReceiver::new(self.queue(&topic))),
            _ => Err(TransportError::not_received(ADDRESS, &topic)),
        }
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

    fn check_scheduling(&self) -> Result<(), TransportError> {
        Ok(())
    }

    async fn cancel(&self, topic: &Topic, key: &str) -> Result<bool, TransportError> {
        consume_budget().await;
        Ok(self.log(topic).is_some_and(|log| log.cancel(key)))
    }
}

impl DeadLetters {
    fn append(&mut self, records: impl Iterator<Item = Record>) {
        for record in records {
            self.appended += 1;
            // All have one width, so that they sort as strings.
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

fn closed(reason: &'static str) -> TransportError {
    TransportError::new(TransportErrorKind::Closed, ADDRESS, reason)
}
