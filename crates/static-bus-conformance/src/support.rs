//! Helpers of the cases: calls with a deadline, readers, records with an id, a tally of records.

mod any_reader;
mod connection;
pub(super) mod jobs;
mod member;
mod reader;
mod tally;

use std::{fmt::Write, panic, pin::pin, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use super::{Outcome, Skipped};
use static_bus_remote::transport::{
    Consumer, Delivery, Kind, Lease, Record, Subscription, Topic, Transport, TransportError,
};

use reader::{AtMostOnce, HasRecord, Leased};

pub(super) use any_reader::AnyReader;
pub(super) use connection::{Connection, connect};
pub(super) use member::Member;
pub(super) use reader::{Listener, Reader, Source};
pub(super) use tally::Tally;

/// The longest time for a call, and for records to come.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
/// The longest time for "at once", on a busy machine.
pub(super) const AT_ONCE: Duration = Duration::from_secs(10);
/// A lease that outlasts every case.
pub(super) const LONG: Duration = Duration::from_secs(600);
/// The time until a member that joins has its share of the partitions.
pub(super) const JOINING: Duration = Duration::from_secs(2);
/// The time for which a reader waits for records that must not come.
pub(super) const SILENCE: Duration = Duration::from_millis(300);

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not done after {DEADLINE:?}"),
    }
}

pub(super) async fn must<T>(
    what: &str,
    future: impl Future<Output = Result<T, TransportError>>,
) -> T {
    match within(what, future).await {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Waits for all tasks, and passes a panic of a task on.
pub(super) async fn join_all<T: 'static>(mut tasks: JoinSet<T>) -> Vec<T> {
    let mut results = Vec::new();
    while let Some(result) = tasks.join_next().await {
        match result {
            Ok(value) => results.push(value),
            Err(error) => panic::resume_unwind(error.into_panic()),
        }
    }
    results
}

pub(super) fn topic(kind: Kind, name: impl Into<String>) -> Topic {
    Topic {
        kind,
        name: name.into().into(),
    }
}

/// A record with its id in the headers and in the body.
pub(super) fn record(id: usize) -> Record {
    Record {
        headers: [("id", id.to_string().as_str())].into_iter().collect(),
        body: format!("body of {id}").into(),
        ..Record::default()
    }
}

pub(super) fn keyed(id: usize, key: &str) -> Record {
    Record {
        key: Some(key.into()),
        ..record(id)
    }
}

pub(super) fn id(record: &Record) -> usize {
    let named = record.headers.get("id").and_then(|id| id.parse().ok());
    let Some(id) = named else {
        panic!("a record without its headers: {record:?}")
    };
    let body = format!("body of {id}");
    assert!(
        record.body == body.as_bytes(),
        "record {id} has the body of another record: {:?}",
        record.body
    );
    id
}

pub(super) fn ids(received: &[impl HasRecord]) -> Vec<usize> {
    received.iter().map(|one| id(one.record())).collect()
}

/// Appends records to one topic. Every result has to be `Ok`.
pub(super) async fn append<T: Transport>(
    transport: &T,
    topic: &Topic,
    records: impl IntoIterator<Item = Record>,
) {
    let mut records = records.into_iter().map(|r| (topic.clone(), r)).peekable();
    while records.peek().is_some() {
        let some: Vec<_> = records.by_ref().take(500).collect();
        for result in within("append", transport.append(some)).await {
            result.unwrap_or_else(|error| panic!("append: {error}"));
        }
    }
}

pub(super) fn subscription(topic: &Topic, group: &str, member: &str) -> Subscription {
    Subscription::new(topic.clone(), group.to_owned(), member).with_lease(LONG)
}

/// Joins a group with a lease that outlasts every case.
pub(super) async fn join<T: Transport>(
    connection: &Connection<T>,
    topic: &Topic,
    group: &str,
    member: &str,
) -> Member<T::Consumer> {
    join_as(connection, subscription(topic, group, member)).await
}

pub(super) async fn join_as<T: Transport>(
    connection: &Connection<T>,
    subscription: Subscription,
) -> Member<T::Consumer> {
    let name = Arc::clone(&subscription.member);
    let joining = connection.consume(subscription);
    let consumer = must(&format!("{name} joins"), joining).await;
    Reader::new(name, Leased(consumer), connection.sharing())
}

/// Opens a receiver.
pub(super) async fn listen<T: Transport>(
    connection: &Connection<T>,
    topic: &Topic,
    name: &str,
) -> Listener<T::Receiver> {
    let opening = connection.listen(topic.clone());
    let receiver = must(&format!("{name} listens"), opening).await;
    Reader::new(name, AtMostOnce(receiver), connection.sharing())
}

/// Opens a receiver of queries or replies, or joins a group of commands or events.
pub(super) async fn read<T: Transport>(
    connection: &Connection<T>,
    topic: &Topic,
    name: &str,
) -> AnyReader<T> {
    match topic.kind {
        Kind::Query | Kind::Reply => AnyReader::Listener(listen(connection, topic, name).await),
        _ => AnyReader::Member(join(connection, topic, "handlers", name).await),
    }
}

/// Renews leases while `check` runs. Returns `None` if the machine was too busy to renew them in time: the result
/// of `check` does not depend on the engine alone then.
pub(super) async fn while_renewed<C: Consumer, T>(
    member: &Member<C>,
    leases: &[Lease<C::Receipt>],
    lease: Duration,
    check: impl Future<Output = T>,
) -> Option<T> {
    let mut check = pin!(check);
    let mut renewed = Instant::now();
    let mut late = false;
    loop {
        tokio::select! {
            found = &mut check => {
                late |= renewed.elapsed() > lease / 2;
                return (!late).then_some(found);
            }
            () = tokio::time::sleep(lease / 10) => {
                let start = Instant::now();
                member.renew(leases).await;
                late |= renewed.elapsed() > lease / 2;
                renewed = start;
            }
        }
    }
}

/// Repeats a check that needs timely renewals until one has a result, up to five times.
pub(super) async fn tries<T: Clone, F>(on: &T, check: impl Fn(T, usize) -> F) -> Outcome
where
    F: Future<Output = Option<()>>,
{
    for n in 0..5 {
        if check(on.clone(), n).await.is_some() {
            return Ok(());
        }
    }
    Err(Skipped("the machine is too busy to renew leases in time"))
}

pub(super) fn leases<R: Clone>(deliveries: &[Delivery<R>]) -> Vec<Lease<R>> {
    let lease = |delivery: &Delivery<R>| Lease {
        receipt: delivery.receipt.clone(),
        claim: None,
    };
    deliveries.iter().map(lease).collect()
}

pub(super) fn claimed<R: Clone>(delivery: &Delivery<R>, key: &str) -> Lease<R> {
    Lease {
        receipt: delivery.receipt.clone(),
        claim: Some(key.into()),
    }
}

/// All members receive and acknowledge until every expected record has come, and receive once more after that.
pub(super) async fn drain<C: Consumer>(members: Vec<Member<C>>, tally: &Arc<Tally>, max: usize) {
    let mut tasks = JoinSet::new();
    for member in members {
        let tally = Arc::clone(tally);
        tasks.spawn(async move {
            while !tally.complete() {
                let got = member.receive(max, Duration::from_millis(250)).await;
                tally.saw(&got);
                member.acknowledge(&got).await;
            }
            tally.saw(&member.receive(max, SILENCE).await);
        });
    }
    join_all(tasks).await;
}

/// Ids for a text: `1, 2, 5 to 90`, with at most twenty ranges.
pub(super) fn list(ids: impl IntoIterator<Item = usize>) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == id => *last = id,
            _ => runs.push((id, id)),
        }
    }
    let mut text = String::new();
    for (at, (first, last)) in runs.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        let _ = match last - first {
            _ if at == 20 => {
                let _ = write!(text, " and {} more", runs.len() - at);
                break;
            }
            0 => write!(text, "{comma}{first}"),
            1 => write!(text, "{comma}{first}, {last}"),
            _ => write!(text, "{comma}{first} to {last}"),
        };
    }
    text
}

/// Pseudo-random numbers, the same in each run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: usize) -> Self {
        Dice(seed as u64 + 1)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        // Knuth's MMIX generator. Only its high bits are random enough.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}
