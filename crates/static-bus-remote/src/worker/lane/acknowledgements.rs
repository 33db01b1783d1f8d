//! The acknowledgement of messages that are done.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    transport::{Consumer, Lease, TransportError},
    worker::{
        call::Call,
        health::{Report, Task},
    },
};

/// The time for which a batch gathers while further messages are handled at once: each call costs the broker as much as some
/// messages.
const GATHERING: Duration = Duration::from_millis(5);

/// The messages that are done and not acknowledged. While one batch is acknowledged, the next one gathers.
pub(super) struct Acknowledgements<C: Consumer> {
    consumer: Arc<C>,
    next: Batch<C::Receipt>,
    acknowledging: Call<Batch<C::Receipt>>,
    /// The number of messages of both batches.
    len: usize,
}

struct Batch<R> {
    /// The time of the first message.
    since: Instant,
    done: Vec<Lease<R>>,
    /// Claims that are given up when their records are acknowledged.
    unclaimed: Vec<Lease<R>>,
}

impl<C: Consumer> Acknowledgements<C> {
    pub fn new(consumer: Arc<C>, report: Report) -> Self {
        Acknowledgements {
            consumer,
            next: Batch::new(),
            acknowledging: Call::new(report, Task::Acknowledge),
            len: 0,
        }
    }

    /// The number of messages that are not acknowledged.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds a message. Its deduplication key is confirmed.
    pub fn add(&mut self, lease: Lease<C::Receipt>) {
        self.len += 1;
        if self.next.done.is_empty() {
            self.next.since = Instant::now();
        }
        self.next.done.push(lease);
    }

    /// Adds a message that was not handled. Its deduplication key is given up: a replay of the message, or another
    /// with the key, may be handled.
    pub fn add_unclaimed(&mut self, mut lease: Lease<C::Receipt>) {
        if lease.claim.is_some() {
            self.next.unclaimed.push(lease.clone());
            lease.claim = None;
        }
        self.add(lease);
    }

    /// Returns `true` if a batch has begun to gather, and others may join it.
    pub fn is_gathering(&self) -> bool {
        !self.next.done.is_empty() && self.next.since.elapsed() < GATHERING
    }

    /// The time from which a batch may be acknowledged; `None` if there is none, or one is under way.
    pub fn not_before(&self) -> Option<Instant> {
        let not_before = self.acknowledging.not_before();
        not_before.filter(|_| !self.next.done.is_empty())
    }

    /// Acknowledges what has gathered, unless a batch is under way or has just failed.
    pub fn start(&mut self) {
        if self.next.done.is_empty() || !self.acknowledging.may_start() {
            return;
        }
        let batch = std::mem::replace(&mut self.next, Batch::new());
        self.acknowledging
            .start(acknowledge(self.consumer.clone(), batch));
    }

    /// Waits for the end of the batch under way; forever if there is none. Returns the acknowledged leases; those
    /// of a failed batch are acknowledged again.
    pub async fn acknowledged(&mut self) -> Vec<Lease<C::Receipt>> {
        match self.acknowledging.ended().await {
            Ok(batch) => {
                self.len -= batch.done.len();
                batch.done
            }
            Err(mut failed) => {
                failed.done.append(&mut self.next.done);
                failed.unclaimed.append(&mut self.next.unclaimed);
                self.next = failed;
                Vec::new()
            }
        }
    }
}

impl<R> Batch<R> {
    fn new() -> Self {
        Batch {
            since: Instant::now(),
            done: Vec::new(),
            unclaimed: Vec::new(),
        }
    }
}

async fn acknowledge<C: Consumer>(
    consumer: Arc<C>,
    batch: Batch<C::Receipt>,
) -> Result<Batch<C::Receipt>, (Batch<C::Receipt>, TransportError)> {
    if let Err(error) = consumer.acknowledge(&batch.done).await {
        return Err((batch, error));
    }
    if !batch.unclaimed.is_empty() {
        // If this fails, the claims end with their leases.
        _ = consumer.release(&batch.unclaimed).await;
    }
    Ok(batch)
}
