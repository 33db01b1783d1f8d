//! Receivers of queries and replies.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::Error;
use static_bus_remote::{
    time::later,
    transport::{Receiver, Record, Topic, TransportError},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    append::append,
    dialect::Dialect,
    pending::Pending,
    presence::{Announce, Presence},
    record::decode,
    store::{Session, Work},
    transport::Shared,
    wake::Reader,
};

const WAITING: &str = "select 1 from {p}record where topic_id = $1 and drop_at is not null limit 1";

const TAKE: &str = "delete from {p}record where id {found} select id from {p}record {by record_topic} where topic_id {is $1} \
     and drop_at is not null order by topic_id, id {limit $2} {skip} {end} returning id, key, headers, body, expires_at - {now}";

/// On a database with functions.
const RECEIVE: &str = "select * from {p}receive($1, $2, $3)";

/// A receiver of a topic in a database; made by [`listen`](static_bus_remote::Transport::listen).
pub struct SqlReceiver<D: Dialect> {
    shared: Arc<Shared<D>>,
    topic: Topic,
    number: i64,
    reader: Reader,
    presence: Presence,
    pending: tokio::sync::Mutex<Pending<Arc<Record>>>,
    is_closed: AtomicBool,
    closing: Notify,
}

impl<D: Dialect> SqlReceiver<D> {
    pub(crate) async fn open(shared: Arc<Shared<D>>, topic: Topic) -> Result<Self, TransportError> {
        let announce = Announce {
            topic: topic.clone(),
            number: None,
            grace: shared.receiver_grace,
        };
        let number = shared.store.transact(announce.clone()).await?;
        let announce = Announce {
            number: Some(number),
            ..announce
        };
        Ok(SqlReceiver {
            reader: shared.wakers.receiver(number),
            presence: Presence::enter(shared.clone(), announce),
            shared,
            topic,
            number,
            pending: tokio::sync::Mutex::new(Pending::new()),
            is_closed: AtomicBool::new(false),
            closing: Notify::new(),
        })
    }
}

impl<D: Dialect> Receiver for SqlReceiver<D> {
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Arc<Record>>, TransportError> {
        let end = later(Instant::now(), wait);
        let mut pending = self.pending.lock().await;
        loop {
            if self.is_closed.load(Ordering::Acquire) {
                return Err(self.shared.store.closed("receiver"));
            }
            let take = || take(self.shared.clone(), self.number, max);
            let taken = pending.take(&self.shared.store, max, take).await?;
            let now = Instant::now();
            if taken.len() == max {
                self.reader.wake_next();
            }
            if !taken.is_empty() || max == 0 || now >= end {
                return Ok(taken);
            }
            let until = end.min(now + self.shared.poll);
            tokio::select! {
                biased;
                () = self.closing.notified() => {}
                _ = timeout_at(until, self.reader.woken()) => {}
            }
        }
    }

    async fn close(&self) -> Result<(), TransportError> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.closing.notify_one();
        let left = self.presence.leave(&self.shared).await;
        let rest = self.pending.lock().await.rest(&self.shared.store).await?;
        let rest: Vec<_> = rest
            .into_iter()
            .map(|record| (self.topic.clone(), Arc::unwrap_or_clone(record)))
            .collect();
        if !rest.is_empty() {
            let (results, topics) = append(&self.shared.store, rest, usize::MAX).await;
            results.into_iter().collect::<Result<(), _>>()?;
            topics
                .into_iter()
                .for_each(|topic| self.shared.wakers.wake(topic));
        }
        left
    }
}

/// Removes records of a topic, and returns those that have not expired.
async fn take<D: Dialect>(
    shared: Arc<Shared<D>>,
    topic: i64,
    max: usize,
) -> Result<Vec<Arc<Record>>, TransportError> {
    let (store, take) = (&shared.store, Take { topic, max });
    loop {
        // On SQLite a transaction that writes is alone.
        if !D::CONCURRENT && store.read(WAITING, &[topic.into()]).await?.is_empty() {
            return Ok(Vec::new());
        }
        let Removed { any, records } = store.transact(take).await?;
        if !any || !records.is_empty() {
            return Ok(records);
        }
        // All had expired.
    }
}

/// Records that were removed.
struct Removed {
    any: bool,
    /// Those that have not expired.
    records: Vec<Arc<Record>>,
}

#[derive(Clone, Copy)]
struct Take {
    topic: i64,
    max: usize,
}

impl<D: Dialect> Work<D> for Take {
    type Output = Removed;

    fn is_durable(&self) -> bool {
        false
    }

    fn is_call(&self) -> bool {
        D::FUNCTIONS
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Self::Output, Error> {
        let arguments = [
            self.topic.into(),
            (self.max as i64).into(),
            session.lock_timeout.into(),
        ];
        let mut taken = Vec::new();
        let rows = match D::FUNCTIONS {
            true => session.fetch(RECEIVE, &arguments).await?,
            false => session.fetch(TAKE, &arguments[..2]).await?,
        };
        for row in rows {
            taken.push((row.int(0)?, decode(&row, 1)?));
        }
        let any = !taken.is_empty();
        taken.sort_unstable_by_key(|(id, _)| *id);
        taken.retain(|(_, record)| record.expires != Some(Duration::ZERO));
        let records = taken.into_iter().map(|(_, record)| Arc::new(record));
        Ok(Removed {
            any,
            records: records.collect(),
        })
    }
}

impl<D: Dialect> fmt::Debug for SqlReceiver<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlReceiver").finish_non_exhaustive()
    }
}
