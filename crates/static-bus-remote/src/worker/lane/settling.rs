//! Out: queries are answered, dead letters written, and what is done is acknowledged.

use tokio::{
    task::{Id, JoinError},
    time::Instant,
};

use super::{Consumer, Item, Lane, Settling, Surroundings, Taken, Task};
use crate::{Envelope, TransportError, dead_letters, reply, retry};

impl<C: Consumer> Lane<C> {
    pub(super) fn reply(&self, query: &Item<C::Receipt>, outcome: reply::Outcome) {
        let Ok(envelope) = Envelope::parse(&query.record.headers) else {
            return;
        };
        let reply = reply::write(&envelope, &self.with.settings.service, outcome);
        if let Some((topic, record)) = reply {
            // A reply that is lost is a timeout at the caller.
            self.with.outbound.try_hand_over(topic, record);
        }
    }

    /// The item is done: it is acknowledged, and the next of its key may come.
    pub(super) fn settle(&mut self, item: Item<C::Receipt>) {
        let Item { lease, record, .. } = item;
        if self.is_query() {
            self.here -= 1;
        } else {
            self.handled += 1;
            self.done.push(lease);
        }
        let Some(key) = &record.key else { return };
        let Some(behind) = self.behind.get_mut(key) else {
            return;
        };
        match behind.queue.pop_front() {
            // Its key was not to be had when it came in, which may be long ago.
            Some(Taken::ClaimLater(next)) => self.to_claim.push(next),
            Some(next) => self.next.push_back(next),
            None => _ = self.behind.remove(key),
        }
    }

    /// Makes a dead letter of an item. It is acknowledged when the broker has the dead letter, however
    /// long that takes.
    pub(super) fn bury(&mut self, item: Item<C::Receipt>) {
        let Surroundings {
            consumer,
            served,
            settings,
            member,
            outbound,
            report,
            ..
        } = &self.with;
        let record = dead_letters::write(
            served,
            consumer.place(&item.lease.receipt),
            &settings.service,
            member,
            &item,
        );
        let (outbound, report) = (outbound.clone(), report.clone());
        let burying = self.burying.spawn(async move {
            let mut backoff = retry::reconnect();
            loop {
                let appended = outbound.append(dead_letters::DEAD_LETTERS, record.clone());
                let appended = appended.await;
                let is_done = appended.is_ok();
                report.of(Task::Bury, appended);
                if is_done {
                    return;
                }
                tokio::time::sleep(backoff.next_delay()).await;
            }
        });
        self.in_burying.insert(burying.id(), item);
    }

    pub(super) fn on_buried(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(mut item) = self.in_burying.remove(&id) else {
            return;
        };
        if ended.is_err() {
            return self.bury(item);
        }
        self.with.meter.dead_lettered.increment(1);
        // Its key is that of something handled only if it was: a replay, and another of the key, may run.
        if item.lease.claim.is_some() {
            self.given_up.push(item.lease.clone());
            item.lease.claim = None;
        }
        self.settle(item);
    }

    pub(super) fn start_acknowledging(&mut self) {
        let waits = Instant::now() < self.acknowledge_again;
        if self.acknowledging.is_some() || self.done.is_empty() || waits {
            return;
        }
        let settling = Settling {
            done: std::mem::take(&mut self.done),
            given_up: std::mem::take(&mut self.given_up),
        };
        let consumer = self.with.consumer.clone();
        self.acknowledging = Some(Box::pin(async move {
            let result = consumer.acknowledge(&settling.done).await;
            if result.is_ok() && !settling.given_up.is_empty() {
                // If this fails, the claims end with their leases.
                _ = consumer.release(&settling.given_up).await;
            }
            (settling, result)
        }));
    }

    pub(super) fn on_acknowledged(
        &mut self,
        mut settling: Settling<C::Receipt>,
        result: Result<(), TransportError>,
    ) {
        let failed = result.is_err();
        self.with.report.of(Task::Acknowledge, result);
        if failed {
            self.acknowledge_again = Instant::now() + self.backoff.next_delay();
            settling.done.append(&mut self.done);
            settling.given_up.append(&mut self.given_up);
            (self.done, self.given_up) = (settling.done, settling.given_up);
            return;
        }
        self.here -= settling.done.len();
        self.handled -= settling.done.len();
        self.let_go(&settling.done);
    }
}
