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
    record::{decode, size},
    room::{Bounds, Room},
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
    room: Arc<Room>,
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
            room: Arc::new(Room::new()),
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
            let store = &self.shared.store;
            let most = self.room.bounds(max, store.deadline()).max;
            let take = || take(self.shared.clone(), self.room.clone(), self.number, max);
            let taken = pending.take(store, max, take).await?;
            let now = Instant::now();
            if taken.len() >= most {
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
    room: Arc<Room>,
    topic: i64,
    max: usize,
) -> Result<Vec<Arc<Record>>, TransportError> {
    let store = &shared.store;
    loop {
        // On SQLite a transaction that writes is alone.
        if !D::CONCURRENT && store.read(WAITING, &[topic.into()]).await?.is_empty() {
            return Ok(Vec::new());
        }
        let bounds = room.bounds(max, store.deadline());
        let removed = store.transact(Take { topic, bounds }).await;
        let removed = removed.inspect_err(|_| room.failed(bounds))?;
        let is_none = removed.is_empty();
        room.answered(bounds, removed.iter().map(|record| size(record)));
        let is_live = |record: &Arc<Record>| record.expires != Some(Duration::ZERO);
        let live: Vec<_> = removed.into_iter().filter(is_live).collect();
        if is_none || !live.is_empty() {
            return Ok(live);
        }
        // All had expired.
    }
}

/// Removes records, and returns them.
struct Take {
    topic: i64,
    bounds: Bounds,
}

impl<D: Dialect> Work<D> for Take {
    type Output = Vec<Arc<Record>>;

    fn is_durable(&self) -> bool {
        false
    }

    fn time(&self, _: Duration) -> Duration {
        self.bounds.time
    }

    fn is_call(&self) -> bool {
        D::FUNCTIONS
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Self::Output, Error> {
        let arguments = [
            self.topic.into(),
            (self.bounds.max as i64).into(),
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
        taken.sort_unstable_by_key(|(id, _)| *id);
        let records = taken.into_iter().map(|(_, record)| Arc::new(record));
        Ok(records.collect())
    }
}

impl<D: Dialect> fmt::Debug for SqlReceiver<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlReceiver").finish_non_exhaustive()
    }
}
