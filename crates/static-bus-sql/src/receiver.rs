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
    bounds::{Bounds, first},
    dialect::{Argument, Dialect},
    pending::Pending,
    presence::{Announce, Presence},
    record::decode,
    store::{Session, Work},
    transport::Shared,
    wake::Reader,
};

const WAITING: &str = "select 1 from {p}record where topic_id = $1 and drop_at is not null limit 1";

/// On a database where records of any size arrive in time.
const TAKE: &str = concat!(
    "delete from {p}record where id {found} select place ",
    first!(
        "select id as place, id as number, {size r} as size from {p}record as r {by record_topic} \
         where topic_id {is $1} and drop_at is not null order by topic_id, id {limit $2}";
        "$3"
    ),
    " {end} returning id, key, headers, body, expires_at - {now}"
);

/// On a database with functions. Returns one row with a size alone if the first record has more bytes than the bound.
const RECEIVE: &str = "select * from {p}receive($1, $2, $3, $4)";

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
            let store = &self.shared.store;
            let take = || take(self.shared.clone(), self.number, max);
            let taken = pending.take(store, max, take).await?;
            let now = Instant::now();
            let bounds = Bounds::new(max, store.deadline());
            if bounds.may_have_cut(taken.iter().map(|record| &**record)) {
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
    let store = &shared.store;
    let mut bounds = Bounds::new(max, store.deadline());
    loop {
        // On SQLite a transaction that writes is alone.
        if !D::CONCURRENT && store.read(WAITING, &[topic.into()]).await?.is_empty() {
            return Ok(Vec::new());
        }
        match store.transact(Take { topic, bounds }).await? {
            Removed::Some(removed) => {
                let is_none = removed.is_empty();
                let is_live = |record: &Arc<Record>| record.expires != Some(Duration::ZERO);
                let live: Vec<_> = removed.into_iter().filter(is_live).collect();
                if is_none || !live.is_empty() {
                    return Ok(live);
                }
                // All had expired.
            }
            Removed::Large(size) => bounds = bounds.of_size(size),
        }
    }
}

/// Removes records, and returns them.
struct Take {
    topic: i64,
    bounds: Bounds,
}

enum Removed {
    Some(Vec<Arc<Record>>),
    /// Nothing: the first record has this number of bytes, which is more than the bound.
    Large(usize),
}

impl<D: Dialect> Work<D> for Take {
    type Output = Removed;

    fn is_durable(&self) -> bool {
        false
    }

    fn time(&self, deadline: Duration) -> Duration {
        deadline + self.bounds.transfer
    }

    fn is_call(&self) -> bool {
        D::FUNCTIONS
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Removed, Error> {
        let Bounds { max, bytes, .. } = self.bounds;
        let [topic, max, bytes] = [self.topic, max as i64, bytes as i64].map(Argument::from);
        let rows = match D::FUNCTIONS {
            true => {
                let arguments = [topic, max, bytes, session.lock_timeout.into()];
                session.fetch(RECEIVE, &arguments).await?
            }
            false => session.fetch(TAKE, &[topic, max, bytes]).await?,
        };
        let mut removed = Vec::with_capacity(rows.len());
        for row in rows {
            match row.some_int(0)? {
                Some(id) => removed.push((id, decode(&row, 1)?)),
                None => return Ok(Removed::Large(row.int(4)? as usize)),
            }
        }
        removed.sort_unstable_by_key(|(id, _)| *id);
        let records = removed.into_iter().map(|(_, record)| Arc::new(record));
        Ok(Removed::Some(records.collect()))
    }
}

impl<D: Dialect> fmt::Debug for SqlReceiver<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlReceiver").finish_non_exhaustive()
    }
}
