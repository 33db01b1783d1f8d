//! The messages that are in flight, and the wait for their end.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    pin::pin,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::MemoryBroker;
use crate::{
    lock::lock,
    time::later,
    transport::{Kind, Record, Topic},
};

/// Messages of one topic, group and state that are in flight.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct InFlight {
    /// The topic.
    pub topic: Topic,
    /// The group of a command or an event; `None` of others, and of a command that has no group yet.
    pub group: Option<String>,
    /// The state.
    pub state: InFlightState,
    /// The number of messages.
    pub count: usize,
}

/// The state of a message that is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum InFlightState {
    /// It waits in the broker, or in a worker whose handler has not begun.
    Waiting,
    /// Its handler runs. A query that a worker has taken is in this state until its reply is sent, or it expires.
    Handled,
    /// Its handler has ended, and it is not settled: it waits for its next attempt, or for its acknowledgement, or its
    /// dead letter is being written.
    Retried,
}

/// The error of [`MemoryBroker::until_quiet`]: messages that are in flight at the deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotQuiet {
    deadline: Duration,
    in_flight: Vec<InFlight>,
}

impl NotQuiet {
    /// The messages, in the order of their topics, groups and states.
    pub fn in_flight(&self) -> &[InFlight] {
        &self.in_flight
    }
}

impl fmt::Display for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}", self.count, self.topic)?;
        if let Some(group) = &self.group {
            write!(f, " for {group}")?;
        }
        f.write_str(match self.state {
            InFlightState::Waiting => ", waiting",
            InFlightState::Handled => ", being handled",
            InFlightState::Retried => ", to be retried or settled",
        })
    }
}

impl fmt::Display for NotQuiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deadline = self.deadline;
        write!(
            f,
            "messages are in flight after {deadline:?}; serve each of them, and allow for leases and delays:"
        )?;
        for (at, one) in self.in_flight.iter().enumerate() {
            write!(f, "{} {one}", if at > 0 { ";" } else { "" })?;
        }
        Ok(())
    }
}

impl Error for NotQuiet {}

impl MemoryBroker {
    /// Waits until no message is in flight: none waits, is handled, or is to be retried, and each query has its answer
    /// or has expired. Dead letters are not in flight, and neither are replies whose client is gone.
    ///
    /// A message that a client is about to send is unknown to the broker: await the sends first. In tokio's paused time
    /// leases and delays between attempts pass without waiting.
    ///
    /// # Errors
    /// The messages that are still in flight after `deadline`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use static_bus_remote::{MemoryBroker, Transport, memory::InFlightState, transport::*};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = MemoryBroker::new();
    /// broker.until_quiet(Duration::ZERO).await?;
    ///
    /// let topic = Topic { kind: Kind::Command, name: "orders.place".into() };
    /// broker.append(vec![(topic, Record::default())]).await.remove(0)?;
    /// let error = broker.until_quiet(Duration::from_millis(10)).await.unwrap_err();
    /// assert_eq!(error.in_flight()[0].state, InFlightState::Waiting);
    /// assert!(error.to_string().ends_with(": 1 × command orders.place, waiting"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn until_quiet(&self, deadline: Duration) -> Result<(), NotQuiet> {
        let end = later(Instant::now(), deadline);
        self.until_quiet_with(deadline, end, |_| {}).await
    }

    /// The same until `end`, with further messages, each with the time at which it arrives.
    pub(crate) async fn until_quiet_with(
        &self,
        deadline: Duration,
        end: Instant,
        further: impl Fn(&mut dyn FnMut(&Topic, Instant)),
    ) -> Result<(), NotQuiet> {
        let activity = &self.0.activity;
        let _watched = activity.watch();
        loop {
            let mut changed = pin!(activity.changed.notified());
            changed.as_mut().enable();
            let mut scan = self.scan();
            further(&mut |topic, arrives| {
                scan.add(topic, None, InFlightState::Waiting, 1);
                scan.ends(Some(arrives));
            });
            if scan.in_flight.is_empty() {
                // A message may have moved from a topic not seen yet to one seen before.
                if !changed.as_mut().enable() {
                    return Ok(());
                }
                continue;
            }
            if Instant::now() >= end {
                let mut in_flight = scan.in_flight;
                in_flight.sort();
                return Err(NotQuiet {
                    deadline,
                    in_flight,
                });
            }
            let until = scan.next.map_or(end, |next| next.min(end));
            _ = timeout_at(until, changed).await;
        }
    }

    fn scan(&self) -> Scan {
        let mut scan = Scan::new(Instant::now());
        let logs: Vec<_> = lock(&self.0.logs).clone().into_iter().collect();
        for (topic, log) in logs {
            log.scan(&topic, &mut scan);
        }
        // A query moves from its queue to those without an answer: this order sees it.
        let queues: Vec<_> = lock(&self.0.queues).values().cloned().collect();
        for queue in queues {
            queue.scan(&mut scan);
        }
        self.0.activity.scan(&mut scan);
        scan
    }
}

/// A search for messages in flight.
pub(super) struct Scan {
    pub now: Instant,
    in_flight: Vec<InFlight>,
    /// The earliest time at which something may end without a change of the broker.
    next: Option<Instant>,
}

impl Scan {
    fn new(now: Instant) -> Self {
        Scan {
            now,
            in_flight: Vec::new(),
            next: None,
        }
    }

    pub fn add(&mut self, topic: &Topic, group: Option<&str>, state: InFlightState, count: usize) {
        if count > 0 {
            self.in_flight.push(InFlight {
                topic: topic.clone(),
                group: group.map(str::to_owned),
                state,
                count,
            });
        }
    }

    pub fn ends(&mut self, end: Option<Instant>) {
        self.next = self.next.into_iter().chain(end).min();
    }
}

/// The changes of a broker, and its queries without an answer; shared by its topics.
#[derive(Default)]
pub(super) struct Activity {
    /// The number of calls of `until_quiet` under way.
    watchers: AtomicUsize,
    changed: Notify,
    unanswered: Mutex<Unanswered>,
}

/// The queries that a receiver took, by their ids.
#[derive(Default)]
struct Unanswered {
    queries: HashMap<String, (Topic, Instant)>,
    /// The length at which expired queries are removed.
    sweep: usize,
}

/// A call of `until_quiet`.
struct Watched<'a>(&'a Activity);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Activity {
    /// Follows each change, when its lock is released.
    pub fn note(&self) {
        if self.watchers.load(Ordering::SeqCst) > 0 {
            self.changed.notify_waiters();
        }
    }

    fn watch(&self) -> Watched<'_> {
        self.watchers.fetch_add(1, Ordering::SeqCst);
        Watched(self)
    }

    /// Notes a query that a receiver takes, if it has a caller that waits.
    pub fn query_taken(&self, topic: &Topic, query: &Record, now: Instant) {
        let Some(left) = query.expires else { return };
        let (id, caller) = (query.headers.get("id"), query.headers.get("replyto"));
        if let (Some(id), Some(_)) = (id, caller) {
            let Unanswered { queries, sweep } = &mut *lock(&self.unanswered);
            if queries.len() >= *sweep {
                queries.retain(|_, (_, expires)| *expires > now);
                *sweep = 2 * queries.len().max(512);
            }
            queries.insert(id.into_owned(), (topic.clone(), later(now, left)));
        }
    }

    /// Notes the replies that are appended.
    pub fn answered(&self, ids: &[String]) {
        let mut unanswered = lock(&self.unanswered);
        for id in ids {
            unanswered.queries.remove(id);
        }
    }

    fn scan(&self, scan: &mut Scan) {
        let mut unanswered = lock(&self.unanswered);
        let now = scan.now;
        unanswered.queries.retain(|_, (_, expires)| *expires > now);
        let mut counts = HashMap::new();
        for (topic, expires) in unanswered.queries.values() {
            *counts.entry(topic).or_insert(0) += 1;
            scan.ends(Some(*expires));
        }
        for (topic, count) in counts {
            scan.add(topic, None, InFlightState::Handled, count);
        }
    }
}

/// The queries that these records answer.
pub(super) fn answered_by(records: &[Record], kind: Kind) -> Vec<String> {
    if kind != Kind::Reply {
        return Vec::new();
    }
    let ids = records.iter().map(|reply| reply.headers.get("causationid"));
    ids.flatten().map(|id| id.into_owned()).collect()
}
