//! Where the messages of transactions are written.

use std::{collections::BTreeSet, sync::Arc};

use sqlx::Error;
use static_bus_remote::transport::{Record, Topic};

use crate::{
    append::Append,
    dialect::Dialect,
    outbox::{Insert, RELAY, cancel_in_outbox},
    record::size,
    scheduled::{cancel, cancellation_key, lock},
    store::{Session, Work},
};

/// What is sent in a transaction. The cancellations come first: those of records of the same transaction have been made.
#[derive(Default)]
pub(crate) struct Sent {
    cancelled: Vec<(Topic, Arc<str>)>,
    records: Vec<(Topic, Record)>,
}

impl Sent {
    pub fn add(&mut self, topic: Topic, record: Record) {
        self.records.push((topic, record));
    }

    pub fn cancel(&mut self, topic: &Topic, key: &str) {
        let is_other =
            |(of, record): &(Topic, Record)| of != topic || cancellation_key(record) != Some(key);
        self.records.retain(is_other);
        self.cancelled.push((topic.clone(), key.into()));
    }

    /// The number of bytes of the records.
    pub fn size(&self) -> usize {
        self.records.iter().map(|(_, record)| size(record)).sum()
    }
}

impl From<Vec<(Topic, Record)>> for Sent {
    fn from(records: Vec<(Topic, Record)>) -> Self {
        let cancelled = Vec::new();
        Sent { cancelled, records }
    }
}

/// Where the messages of a transaction are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The database is the broker.
    Queues,
    /// A relay moves them to another broker.
    Outbox,
}

impl Destination {
    /// Writes what is sent. Returns the topics whose readers are to be woken after the commit.
    pub async fn write<D: Dialect>(
        self,
        session: &mut Session<'_, D>,
        sent: Sent,
    ) -> Result<BTreeSet<i64>, Error> {
        let Sent { cancelled, records } = sent;
        if !cancelled.is_empty() {
            let of_records = records
                .iter()
                .filter_map(|(_, record)| cancellation_key(record));
            let keys = cancelled.iter().map(|(_, key)| &**key).chain(of_records);
            lock(session, keys.collect()).await?;
        }
        for (topic, key) in cancelled {
            self.cancel(session, &topic, &key).await?;
        }
        match self {
            _ if records.is_empty() => Ok(BTreeSet::new()),
            Destination::Queues => Ok(Append(records.into()).run(session).await?.topics),
            Destination::Outbox => {
                Insert(records.into()).run(session).await?;
                Ok([RELAY].into())
            }
        }
    }

    /// Removes the record with a cancellation key that is not due. Returns whether there was one.
    pub async fn cancel<D: Dialect>(
        self,
        session: &mut Session<'_, D>,
        topic: &Topic,
        key: &str,
    ) -> Result<bool, Error> {
        match self {
            Destination::Queues => cancel(session, topic, key).await,
            Destination::Outbox => cancel_in_outbox(session, topic, key).await,
        }
    }
}

/// Removes a record that is not due, in a transaction of its own.
pub(crate) struct Cancel {
    pub from: Destination,
    pub topic: Topic,
    pub key: Arc<str>,
}

impl<D: Dialect> Work<D> for Cancel {
    type Output = bool;

    async fn run(&self, session: &mut Session<'_, D>) -> Result<bool, Error> {
        self.from.cancel(session, &self.topic, &self.key).await
    }
}
