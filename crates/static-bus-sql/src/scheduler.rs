//! The task that gives records their places in the topics of this process's consumers when they are due.

use std::{sync::Arc, time::Duration};

use sqlx::Error;
use static_bus_remote::transport::TransportError;
use tokio::time::{sleep, timeout};

use super::{
    append::{announce, deliveries},
    bounds::BYTES,
    dialect::{Argument, Dialect},
    list,
    record::duration,
    store::{Session, Store, Work},
    wake::Wakers,
};

/// The number under which schedulers wait: topics have greater ones.
pub(crate) const SCHEDULER: i64 = -1;

/// The largest number of records of a transaction.
pub(crate) const BATCH: i64 = 500;

/// The shortest time between two looks, which each record that is scheduled causes.
const SHORTEST: Duration = Duration::from_millis(20);

/// Of each topic, the time in milliseconds until the next record is due.
const NEXT: &str = "select {int}, (select min(s.due_at) from {p}scheduled as s where s.topic_id = {int}) - {now} \
     from {each $1}";

/// The records that are due, in order. Those that another transaction cancels or replaces are left out.
const DUE: &str = "select id from (select id, sum(size) over (order by due_at, id) - size as before from \
     (select id, due_at, length(body) as size from {p}scheduled where topic_id = $1 and due_at <= {now} \
     order by due_at, id {limit $2} {skip}) as due) as sized where before < $3";

const APPEND: &str = "insert into {p}record (topic_id, strand, key, headers, body, appended_at, expires_at) \
     select topic_id, strand, key, headers, body, {now}, {now} + expires_after from {p}scheduled \
     where id {in $1} order by due_at, id returning id";

const DELIVER: &str = deliveries!("r.id {in $1}");

const REMOVE: &str = "delete from {p}scheduled where id {in $1}";

/// Moves what is due, until it is dropped.
pub(crate) async fn run<D: Dialect>(store: Arc<Store<D>>, wakers: Arc<Wakers>, poll: Duration) {
    let scheduler = wakers.receiver(SCHEDULER);
    loop {
        // An error of the database is that of other calls as well.
        let pause = move_due(&store, &wakers, poll).await.unwrap_or(poll);
        sleep(SHORTEST).await;
        _ = timeout(pause.saturating_sub(SHORTEST), scheduler.woken()).await;
    }
}

/// Moves all that is due. Returns the time until there is more, at most that of `poll`.
async fn move_due<D: Dialect>(
    store: &Arc<Store<D>>,
    wakers: &Wakers,
    poll: Duration,
) -> Result<Duration, TransportError> {
    loop {
        let topics = wakers.consumed();
        if topics.is_empty() {
            return Ok(poll);
        }
        let topics = list::numbers(topics);
        let (mut pause, mut has_moved) = (poll, false);
        for row in store.read(NEXT, &[(&topics).into()]).await? {
            let (topic, left) = (row.int(0), row.some_int(1));
            let (topic, left) = (store.checked(topic)?, store.checked(left)?);
            match left {
                Some(left) if left > 0 => pause = pause.min(duration(left)),
                Some(_) if store.transact(Move { topic }).await? => {
                    wakers.wake(topic);
                    has_moved = true;
                }
                // Nothing waits, or other transactions hold what is due.
                _ => {}
            }
        }
        if !has_moved {
            return Ok(pause);
        }
    }
}

/// Moves records of a topic that are due. Returns whether there were any.
struct Move {
    topic: i64,
}

impl<D: Dialect> Work<D> for Move {
    type Output = bool;

    /// Records of which a crash undoes the move are moved again.
    fn is_durable(&self) -> bool {
        false
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<bool, Error> {
        // Records of one key keep their order: one scheduler at a time moves those of a topic.
        session.lock("scheduled", self.topic).await?;
        let arguments = [self.topic, BATCH, BYTES as i64].map(Argument::from);
        let due = session.fetch(DUE, &arguments).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let due: Result<Vec<_>, _> = due.iter().map(|row| row.int(0)).collect();
        let due = list::numbers(due?);
        let appended = session.fetch(APPEND, &[(&due).into()]).await?;
        let appended: Result<Vec<_>, _> = appended.iter().map(|row| row.int(0)).collect();
        let appended = list::numbers(appended?);
        session.fetch(DELIVER, &[(&appended).into()]).await?;
        session.fetch(REMOVE, &[(&due).into()]).await?;
        announce(session, &[self.topic].into()).await?;
        Ok(true)
    }
}
