//! The outbox: messages for another broker, in the transactions of a database.

mod consumer;
mod rows;
mod scheduled;

use std::{fmt, sync::Arc};

use sqlx::Transaction;
use static_bus_remote::transport::{
    DeadLetterRecord, Inspect, Record, Scope, Subscription, Topic, TopicState, Transactional,
    Transport, TransportError,
};

use super::{
    dialect::Dialect,
    inbox::{Attempt, Cancel, Destination, transact},
    relay::Relay,
    transport::{Shared, SqlTransport},
    within::{append_within, cancel_within},
};

pub use consumer::OutboxConsumer;
pub(crate) use rows::{Insert, PARTITIONS, RELAY};
pub(crate) use scheduled::{MoveDue, SCHEDULED_LAG, cancel_in_outbox, next_due, topic};

/// A broker with an outbox in a database, made by [`SqlTransport::outbox`]: the transport of clients and workers whose messages are sent
/// and handled in transactions of the database, while another broker carries them.
///
/// Messages that are sent in a transaction are rows of the outbox. A [`Relay`] moves them to the broker after the commit: at least once,
/// with the id under which they were sent, so that workers recognise duplicates, and in order for each key. Messages that are due later are
/// rows as well, by the clock of the database, until they are due: so they can be sent on every broker, and cancelled. All other messages go
/// to the broker directly.
///
/// A handler that asks for its [transaction](super::transaction) has its effect once: the deduplication key of its message is a row of
/// the transaction, in the inbox of the database. The worker needs deduplication. A key is remembered for as long as the worker
/// remembers it.
pub struct Outbox<T, D: Dialect> {
    broker: T,
    shared: Arc<Shared<D>>,
}

impl<D: Dialect> SqlTransport<D> {
    /// Another broker, with an outbox and an inbox in this database: see [`Outbox`].
    pub fn outbox<T: Transport>(&self, broker: T) -> Outbox<T, D> {
        Outbox {
            broker,
            shared: self.shared.clone(),
        }
    }
}

impl<T: Transport, D: Dialect> Outbox<T, D> {
    /// The relay from this outbox to the broker. One process that runs it is enough; several share the work, and take over from each
    /// other.
    pub fn relay(&self) -> Relay<T, D> {
        Relay::new(self.broker.clone(), self.shared.clone())
    }

    /// Runs a future with a transaction, as [`SqlTransport::transact`] does.
    ///
    /// # Errors
    /// As there.
    pub async fn transact<O, E>(
        &self,
        future: impl Future<Output = Result<O, E>>,
    ) -> Result<Result<O, E>, TransportError> {
        transact(&self.shared, Destination::Outbox, future).await
    }
}

impl<T: Transport, D: Dialect> Transport for Outbox<T, D> {
    type Consumer = OutboxConsumer<T::Consumer, D>;
    type Receiver = T::Receiver;

    fn address(&self) -> &str {
        self.broker.address()
    }

    /// Checks the broker and the database.
    async fn check(&self) -> Result<(), TransportError> {
        self.broker.check().await?;
        self.shared.check().await
    }

    /// Those of the broker and of the database.
    async fn warnings(&self) -> Vec<String> {
        let mut warnings = self.broker.warnings().await;
        warnings.extend(self.shared.warnings().await);
        warnings
    }

    /// Records that are due later go to the outbox.
    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        let is_later: Vec<_> = records
            .iter()
            .map(|(_, record)| record.due.is_some())
            .collect();
        let (later, now): (Vec<_>, _) = records
            .into_iter()
            .partition(|(_, record)| record.due.is_some());
        let later = match later.is_empty() {
            true => Vec::new(),
            false => scheduled::append(&self.shared, later).await,
        };
        let now = match now.is_empty() {
            true => Vec::new(),
            false => self.broker.append(now).await,
        };
        let (mut later, mut now) = (later.into_iter(), now.into_iter());
        let results = is_later.into_iter().map(|is_later| match is_later {
            true => later.next(),
            false => now.next(),
        });
        results.flatten().collect()
    }

    fn keep(&self, topic: &Topic, record: &Record) -> Option<Result<(), TransportError>> {
        let attempt: &Attempt<D> = record.scope.as_ref()?.get()?;
        attempt.keep(&self.shared, Destination::Outbox, topic, record)
    }

    async fn consume(&self, subscription: Subscription) -> Result<Self::Consumer, TransportError> {
        OutboxConsumer::join(&self.broker, self.shared.clone(), subscription).await
    }

    async fn listen(&self, topic: Topic) -> Result<T::Receiver, TransportError> {
        self.broker.listen(topic).await
    }

    async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterRecord>, TransportError> {
        self.broker.dead_letters(after, limit).await
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        self.broker.remove_dead_letters(positions).await
    }

    fn check_scheduling(&self) -> Result<(), TransportError> {
        Ok(())
    }

    /// A message that is due is on its way to the broker, and cannot be cancelled.
    async fn cancel(&self, topic: &Topic, key: &str) -> Result<bool, TransportError> {
        let cancel = Cancel {
            from: Destination::Outbox,
            topic: topic.clone(),
            key: key.into(),
        };
        self.shared.store.transact(cancel).await
    }

    fn keep_cancellation(
        &self,
        scope: &Scope,
        topic: &Topic,
        key: &str,
    ) -> Option<Result<(), TransportError>> {
        let attempt: &Attempt<D> = scope.get()?;
        attempt.keep_cancellation(&self.shared, Destination::Outbox, topic, key)
    }
}

/// The transaction is one of the database of the outbox, of any connection to it.
impl<'c, T: Transport, D: Dialect> Transactional<Transaction<'c, D>> for Outbox<T, D> {
    async fn append_within(
        &self,
        transaction: &mut Transaction<'c, D>,
        records: Vec<(Topic, Record)>,
    ) -> Result<(), TransportError> {
        append_within(&self.shared, Destination::Outbox, transaction, records).await
    }

    async fn cancel_within(
        &self,
        transaction: &mut Transaction<'c, D>,
        topic: &Topic,
        key: &str,
    ) -> Result<bool, TransportError> {
        cancel_within(&self.shared, Destination::Outbox, transaction, topic, key).await
    }
}

/// The state of the broker, with the messages that are due later of the outbox. Topics are found among the first 100,000 of these.
impl<T: Inspect, D: Dialect> Inspect for Outbox<T, D> {
    async fn topics(&self) -> Result<Vec<Topic>, TransportError> {
        let mut topics = self.broker.topics().await?;
        topics.extend(scheduled::topics(&self.shared.store).await?);
        topics.sort();
        topics.dedup();
        Ok(topics)
    }

    async fn inspect(&self, topics: &[Topic]) -> Result<Vec<TopicState>, TransportError> {
        let mut known = self.broker.inspect(topics).await?.into_iter().peekable();
        let mut states = Vec::with_capacity(topics.len());
        for topic in topics {
            let state = known.next_if(|state| state.topic == *topic);
            states.extend(scheduled::with_scheduled(&self.shared.store, topic, state).await?);
        }
        Ok(states)
    }
}

impl<T: Clone, D: Dialect> Clone for Outbox<T, D> {
    fn clone(&self) -> Self {
        Outbox {
            broker: self.broker.clone(),
            shared: self.shared.clone(),
        }
    }
}

impl<T: Transport, D: Dialect> fmt::Debug for Outbox<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("broker", &self.broker.address())
            .field("database", self.shared.store.address())
            .finish_non_exhaustive()
    }
}
