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

use super::{closed, entry::Entry};
use crate::{
    lock::lock,
    time::later,
    transport::{Receiver, Record, TransportError},
};

/// Records that no receiver has taken yet, shared by all receivers of a topic.
#[derive(Default)]
pub(super) struct Queue {
    content: Mutex<Content>,
    /// Wakes one receiver. One that leaves records behind wakes the next.
    arrived: Notify,
}

#[derive(Default)]
struct Content {
    entries: VecDeque<Entry>,
    /// The length at which expired records are removed.
    sweep: usize,
}

/// Half of the smallest length at which expired records are removed.
const SWEEP: usize = 512;

impl Queue {
    pub fn append(&self, records: impl Iterator<Item = Record>) {
        let now = Instant::now();
        let mut content = lock(&self.content);
        for record in records {
            content.push(Entry::new(record, now), now);
        }
        drop(content);
        self.arrived.notify_one();
    }

    fn take(&self, max: usize) -> Vec<Arc<Record>> {
        let now = Instant::now();
        let mut taken = Vec::new();
        let mut content = lock(&self.content);
        while taken.len() < max
            && let Some(entry) = content.entries.pop_front()
        {
            if !entry.is_expired(now) {
                taken.push(entry.record);
            }
        }
        if !content.entries.is_empty() {
            self.arrived.notify_one();
        }
        taken
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
pub struct MemoryReceiver {
    queue: Arc<Queue>,
    is_closed: AtomicBool,
    closing: Notify,
}

impl MemoryReceiver {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        MemoryReceiver {
            queue,
            is_closed: AtomicBool::new(false),
            closing: Notify::new(),
        }
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
                () = self.closing.notified() => {}
                _ = timeout_at(end, self.queue.arrived.notified()) => {}
            }
        }
    }

    async fn close(&self) -> Result<(), TransportError> {
        consume_budget().await;
        self.is_closed.store(true, Ordering::Release);
        self.closing.notify_one();
        Ok(())
    }
}

impl fmt::Debug for MemoryReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryReceiver").finish_non_exhaustive()
    }
}
