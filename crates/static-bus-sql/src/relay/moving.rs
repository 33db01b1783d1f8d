//! The task of a relay.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics::{Counter, Gauge, counter, gauge};
use sqlx::Error;
use static_bus_remote::{
    lock::lock,
    retry::{self, Backoff},
    transport::{Record, Topic, Transport, TransportError},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{Reports, partitions::Hold};
use crate::{
    bounds::{BYTES, first, places, time_of, transfer},
    dialect::{Argument, Dialect},
    list,
    outbox::{MoveDue, RELAY, next_due, topic},
    record::{decode, duration},
    scheduler::BATCH,
    store::{Row, Session, Work},
    transport::Shared,
    wake::Reader,
};

/// The first messages of each partition, up to a number of them and of bytes, or one with more: whatever waits behind them is not looked
/// at.
const FIRST: &str = concat!(
    "select place, size ",
    first!(
        "select o.id as place, o.id as number, {size o} as size from {firsts $1} order by o.id {limit $3}";
        "$4"
    )
);
const READ: &str = "select id, partition_id, kind, name, key, headers, body, null from {p}outbox where id {in $1} order by id";
/// The number of messages of a partition that are read at a time, at least.
const FEWEST: i64 = 100;

const REMOVE: &str = "delete from {p}outbox where id in (select {int} from {each $1})";

/// The messages of the outbox.
#[derive(Default)]
pub(super) struct Backlog {
    pub lag: i64,
    /// The age of the oldest in milliseconds.
    pub oldest: i64,
}

impl Backlog {
    pub const QUERY: &str = "select count(*), coalesce({now} - min(appended_at), 0) from \
         (select appended_at from {p}outbox order by id limit 100000) as counted";

    pub fn of<D: Dialect>(rows: &[Row<D>]) -> Result<Self, Error> {
        let row = rows.first().ok_or(Error::RowNotFound)?;
        Ok(Backlog {
            lag: row.int(0)?,
            oldest: row.int(1)?,
        })
    }
}

/// The task of a relay.
pub(super) struct Moving<T, D: Dialect> {
    broker: T,
    shared: Arc<Shared<D>>,
    hold: Hold,
    reports: Arc<Mutex<Reports>>,
    reader: Reader,
    /// The partitions that it holds.
    held: Vec<i64>,
    /// The time until which it may move their messages, and that at which it renews them.
    until: Instant,
    renew: Instant,
    /// The time at which it looks for messages that are due.
    look: Instant,
    /// The partitions that wait after a failure.
    blocked: BTreeMap<i64, (Backoff, Instant)>,
    lag: Gauge,
    oldest: Gauge,
    relayed: Counter,
}

/// A message of the outbox.
struct Message {
    id: i64,
    partition: i64,
    topic: Topic,
    record: Record,
}

impl<T: Transport, D: Dialect> Moving<T, D> {
    pub fn new(
        broker: T,
        shared: Arc<Shared<D>>,
        member: i64,
        lease: Duration,
        reports: Arc<Mutex<Reports>>,
    ) -> Self {
        let now = Instant::now();
        Moving {
            broker,
            reader: shared.wakers.member(RELAY, 0),
            shared,
            hold: Hold { member, lease },
            reports,
            held: Vec::new(),
            until: now,
            renew: now,
            look: now,
            blocked: BTreeMap::new(),
            lag: gauge!("static_bus_outbox_lag"),
            oldest: gauge!("static_bus_outbox_oldest_seconds"),
            relayed: counter!("static_bus_relayed_total"),
        }
    }

    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut backoff = retry::reconnect();
        while !*stopped.borrow() {
            let moved = self.step().await;
            lock(&self.reports).database = moved.as_ref().err().map(ToString::to_string);
            let may_be_more = match moved {
                Ok(may_be_more) => may_be_more,
                Err(_) => {
                    let delay = backoff.next_delay();
                    tokio::select! {
                        _ = stopped.changed() => return,
                        () = sleep(delay) => continue,
                    }
                }
            };
            backoff.reset();
            if may_be_more {
                continue;
            }
            let pause = self.pause();
            tokio::select! {
                _ = stopped.changed() => return,
                woken = timeout(pause, self.reader.woken()) => if woken.is_ok() {
                    // The message may be due before those that were known.
                    self.look = Instant::now();
                },
            }
        }
    }

    /// The time until there is something to do, unless messages come.
    fn pause(&self) -> Duration {
        let now = Instant::now();
        let blocked = self.blocked.values().map(|(_, until)| *until);
        let next = blocked.chain([self.renew, self.look]).min();
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    /// Moves some messages. Returns whether there may be more.
    async fn step(&mut self) -> Result<bool, TransportError> {
        let now = Instant::now();
        if now >= self.renew {
            self.hold(Duration::ZERO).await?;
            self.renew = now + self.hold.lease / 4;
            self.measure().await?;
        }
        if now >= self.look {
            self.look = now + self.move_due().await?;
        }
        let is_free = |partition: &&i64| {
            self.blocked
                .get(partition)
                .is_none_or(|(_, until)| *until <= now)
        };
        let free: Vec<_> = self.held.iter().filter(is_free).copied().collect();
        if free.is_empty() {
            return Ok(false);
        }
        let of_each = FEWEST.max(BATCH / free.len() as i64);
        let free = list::numbers(free);
        let [of_each, batch, bytes] = [of_each, BATCH, BYTES as i64].map(Argument::from);
        let bounds = [(&free).into(), of_each, batch, bytes];
        let store = self.shared.store.clone();
        let first = store.read(FIRST, &bounds).await?;
        if first.is_empty() {
            return Ok(false);
        }
        let (first, size) = store.checked(places(&first))?;
        if Instant::now() + transfer(size) > self.until {
            self.hold(transfer(size)).await?;
        }
        let time = time_of(store.deadline(), size);
        let rows = store.read_within(time, READ, &[(&first).into()]).await?;
        let messages: Result<Vec<_>, _> = rows.iter().map(message).collect();
        let mut messages = store.checked(messages)?;
        messages.retain(|message| self.held.contains(&message.partition));
        let moved = self.append(messages).await;
        if !moved.is_empty() {
            self.relayed.increment(moved.len() as u64);
            self.shared.store.transact(Remove(moved)).await?;
        }
        Ok(true)
    }

    /// Holds its share of the partitions for the lease and this time.
    async fn hold(&mut self, time: Duration) -> Result<(), TransportError> {
        let Hold { member, lease } = self.hold;
        let lease = lease + time;
        let now = Instant::now();
        self.held = self.shared.store.transact(Hold { member, lease }).await?;
        self.until = now + lease;
        let held = &self.held;
        self.blocked.retain(|partition, _| held.contains(partition));
        lock(&self.reports).holds(held);
        Ok(())
    }

    /// Moves some messages that are due to the other rows. Returns the time until the next look.
    async fn move_due(&self) -> Result<Duration, TransportError> {
        let Shared { store, poll, .. } = &*self.shared;
        let next = match next_due(store).await? {
            Some(Duration::ZERO) if store.transact(MoveDue).await? => Duration::ZERO,
            Some(Duration::ZERO) | None => *poll,
            Some(next) => next,
        };
        Ok(next.min(*poll))
    }

    /// Appends messages to the broker, and returns the numbers of those that it has. Of each key there is one message in a call: if it
    /// fails, the next one does not overtake it.
    async fn append(&mut self, messages: Vec<Message>) -> Vec<i64> {
        let mut calls: Vec<Vec<Message>> = Vec::new();
        let mut of_key = HashMap::new();
        for message in messages {
            let call = match &message.record.key {
                Some(key) => {
                    let next = of_key.entry(key.clone()).or_insert(0);
                    *next += 1;
                    *next - 1
                }
                None => 0,
            };
            if call == calls.len() {
                calls.push(Vec::new());
            }
            calls[call].push(message);
        }
        let (mut moved, mut accepted, mut refused) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        for mut call in calls {
            if Instant::now() >= self.until {
                // Others may have the partitions. Those that were moved are removed all the same.
                self.renew = self.until;
                break;
            }
            call.retain(|message| !refused.contains_key(&message.partition));
            if call.is_empty() {
                continue;
            }
            let place = |message: &Message| (message.id, message.partition, message.topic.clone());
            let places: Vec<_> = call.iter().map(place).collect();
            let records = call.into_iter();
            let records = records.map(|message| (message.topic, message.record));
            let results = self.broker.append(records.collect()).await;
            for ((id, partition, topic), result) in places.into_iter().zip(results) {
                match result {
                    Ok(()) => {
                        moved.push(id);
                        accepted.insert(partition);
                    }
                    Err(error) => {
                        let reason = format!("row {id} of the outbox, {topic}: {error}");
                        refused.entry(partition).or_insert(reason);
                    }
                }
            }
        }
        accepted.retain(|partition| !refused.contains_key(partition));
        for partition in &accepted {
            self.blocked.remove(partition);
            lock(&self.reports).broker.remove(partition);
        }
        for (partition, reason) in refused {
            self.block(partition, reason);
        }
        moved
    }

    fn block(&mut self, partition: i64, reason: String) {
        let (backoff, until) = self
            .blocked
            .entry(partition)
            .or_insert_with(|| (retry::reconnect(), Instant::now()));
        *until = Instant::now() + backoff.next_delay();
        lock(&self.reports).broker.insert(partition, reason);
    }

    async fn measure(&self) -> Result<(), TransportError> {
        let store = &self.shared.store;
        let backlog = Backlog::of(&store.read(Backlog::QUERY, &[]).await?);
        let Backlog { lag, oldest } = store.checked(backlog)?;
        self.lag.set(lag as f64);
        self.oldest.set(duration(oldest).as_secs_f64());
        Ok(())
    }
}

fn message<D: Dialect>(row: &Row<D>) -> Result<Message, Error> {
    Ok(Message {
        id: row.int(0)?,
        partition: row.int(1)?,
        topic: topic(row, 2)?,
        record: decode(row, 4)?,
    })
}

/// Removes messages that the broker has.
struct Remove(Vec<i64>);

impl<D: Dialect> Work<D> for Remove {
    type Output = ();

    /// A message that is moved again is a duplicate.
    fn is_durable(&self) -> bool {
        false
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<(), Error> {
        let moved = list::numbers(&self.0);
        session.fetch(REMOVE, &[(&moved).into()]).await.map(drop)
    }
}
