//! The queue of a topic of queries or replies, and its receivers.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::coop::consume_budget,
    time::{Instant, timeout_at},
};

use super::{
    closed,
    entry::Entry,
    quiet::{Activity, InFlightState, Scan},
};
use crate::{
    lock::lock,
    time::later,
    transport::{Kind, Receiver, Record, Topic, TransportError},
};

/// Records that no receiver has taken yet, shared by all receivers of a topic.
pub(super) struct Queue {
    topic: Topic,
    activity: Arc<Activity>,
    content: Mutex<Content>,
    /// Wakes one receiver. One that leaves records behind wakes the next.
    arrived: Notify,
}

#[derive(Default)]
struct Content {
    /// The number of open receivers.
    receivers: usize,
    /// The time at which the last receiver closed.
    left: Option<Instant>,
    entries: VecDeque<Entry>,
    /// The length at which expired records are removed.
    sweep: usize,
}

/// Half of the smallest length at which expired records are removed.
const SWEEP: usize = 512;

impl Queue {
    pub fn new(topic: Topic, activity: Arc<Activity>) -> Self {
        Queue {
            topic,
            activity,
            content: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    pub fn append(&self, records: impl Iterator<Item = Record>) {
        let now = Instant::now();
        let mut content = lock(&self.content);
        for record in records {
            content.push(Entry::new(record, now), now);
        }
        drop(content);
        self.arrived.notify_one();
    }

    /// Returns `true` if a receiver is open, or was at most this long ago.
    pub fn has_receiver(&self, now: Instant, grace: Duration) -> bool {
        let content = lock(&self.content);
        content.receivers > 0 || content.left.is_some_and(|left| now < later(left, grace))
    }

    /// The number of records that no receiver has taken.
    pub fn len(&self) -> usize {
        lock(&self.content).entries.len()
    }

    fn take(&self, max: usize) -> Vec<Arc<Record>> {
        let now = Instant::now();
        let mut taken = Vec::new();
        let mut content = lock(&self.content);
        while taken.len() < max
            && let Some(entry) = content.entries.pop_front()
        {
            let record = entry.into_received(now);
            if self.topic.kind == Kind::Query
                && let Some(query) = &record
            {
                self.activity.query_taken(&self.topic, query, now);
            }
            taken.extend(record);
        }
        if !content.entries.is_empty() {
            self.arrived.notify_one();
        }
        drop(content);
        self.activity.note();
        taken
    }
}

impl Queue {
    /// Adds the records that wait. Replies whose client is gone do not.
    pub fn scan(&self, scan: &mut Scan) {
        let content = lock(&self.content);
        if self.topic.kind == Kind::Reply && content.receivers == 0 {
            return;
        }
        let (now, waiting) = (scan.now, content.entries.iter());
        let waiting = waiting.filter(|entry| !entry.is_expired(now));
        let mut count = 0;
        for entry in waiting {
            count += 1;
            scan.ends(entry.expires);
        }
        scan.add(&self.topic, None, InFlightState::Waiting, count);
    }
}

impl Content {
    fn push(&mut self, entry: Entry, now: Instant) {
        if self.entries.len() >= self.sweep {
            self.entries.retain(|entry| !entry.is_expired(now));
            self.sweep = 2 * self.entries.len().max(SWEEP);
        }
        self.entries.push_back(entry);
    }
}

/// A receiver of a [`MemoryBroker`](super::MemoryBroker).
///
/// ```
/// use std::time::Duration;
/// use static_bus_remote::{MemoryBroker, Transport, transport::*};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), TransportError> {
/// let broker = MemoryBroker::new();
/// let topic = Topic { kind: Kind::Query, name: "users.get".into() };
/// let (one, two) = (broker.listen(topic.clone()).await?, broker.listen(topic.clone()).await?);
///
/// let query = Record { body: "7".into(), ..Record::default() };
/// broker.append(vec![(topic.clone(), query)]).await.remove(0)?;
/// assert_eq!(one.receive(10, Duration::ZERO).await?[0].body, "7");
/// assert_eq!(two.receive(10, Duration::ZERO).await?.len(), 0); // at most once
///
/// let error = broker.consume(Subscription::new(topic, "handlers", "one")).await.unwrap_err();
/// assert_eq!(error.kind(), TransportErrorKind::Refused); // queries have no groups
/// # Ok(())
/// # }
/// ```
pub struct MemoryReceiver {
    queue: Arc<Queue>,
    is_closed: AtomicBool,
    closing: Notify,
}

impl MemoryReceiver {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        lock(&queue.content).receivers += 1;
        MemoryReceiver {
            queue,
            is_closed: AtomicBool::new(false),
            closing: Notify::new(),
        }
    }

    fn leave(&self) {
        if !self.is_closed.swap(true, Ordering::AcqRel) {
            let mut content = lock(&self.queue.content);
            content.receivers -= 1;
            content.left = Some(Instant::now());
            drop(content);
            self.queue.activity.note();
        }
    }
}

impl Drop for MemoryReceiver {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Receiver for MemoryReceiver {
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Arc<Record>>, TransportError> {
        consume_budget().await;
        let end = later(Instant::now(), wait);
        loop {
            if self.is_closed.load(Ordering::Acquire) {
                // The wake-up that this receiver may have used up belongs to another.
                self.queue.arrived.notify_one();
                let reason = "this receiver is closed: listen again to receive more";
                return Err(closed(reason));
            }
            let taken = self.queue.take(max);
            if !taken.is_empty() || max == 0 || Instant::now() >= end {
                return Ok(taken);
            }
            tokio::select! {
                biased;
                () = self.closing.notified() => {}
                _ = timeout_at(end, self.queue.arrived.notified()) => {}
            }
        }
    }

    async fn close(&self) -> Result<(), TransportError> {
        consume_budget().await;
        self.leave();
        self.closing.notify_one();
        Ok(())
    }
}

impl fmt::Debug for MemoryReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryReceiver").finish_non_exhaustive()
    }
}
