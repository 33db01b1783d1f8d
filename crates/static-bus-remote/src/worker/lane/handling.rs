//! Through: what is ready is begun, and what comes of it is judged.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    task::{Id, JoinError},
    time::Instant,
};

use super::{
    Consumer, Due, Item, Lane, Slot, Task,
    failure::{Failure, text_of},
};
use crate::{reply, worker::serve::Work};
use static_bus::asynchronous::BusError;

/// How many handlers that finish at once are run before the lane looks around.
const STRIDE: usize = 128;
/// A handler that took longer without waiting gets a task of its own, and so do those after it.
const LONG: Duration = Duration::from_micros(200);

impl<C: Consumer> Lane<C> {
    pub(super) fn can_start(&self) -> bool {
        !self.next.is_empty()
            || !self.ready.is_empty()
                && self.in_running.len() < self.with.served.limit
                && (self.own_slot.is_some()
                    || self.spare_slot.is_some()
                    || self.asking_for_slot.is_none())
    }

    pub(super) fn start_ready(&mut self) {
        for _ in 0..STRIDE {
            self.sort_next();
            if self.ready.is_empty() || self.in_running.len() >= self.with.served.limit {
                // Others may need the slot that this lane has asked for.
                (self.spare_slot, self.asking_for_slot) = (None, None);
                return;
            }
            let Some(slot) = self.slot() else { return };
            let Some(item) = self.ready.pop_front() else {
                return;
            };
            self.start(item, slot);
        }
    }

    fn slot(&mut self) -> Option<Slot> {
        if let Some(slot) = self.own_slot.take().or_else(|| self.spare_slot.take()) {
            return Some(slot);
        }
        if self.asking_for_slot.is_none() {
            let slots = self.with.slots.clone();
            if let Ok(permit) = slots.clone().try_acquire_owned() {
                return Some(Slot::Shared(permit));
            }
            self.asking_for_slot = Some(Box::pin(async move {
                match slots.acquire_owned().await {
                    Ok(permit) => Slot::Shared(permit),
                    Err(_) => std::future::pending().await,
                }
            }));
        }
        None
    }

    /// Frees a slot.
    fn vacate(&mut self, slot: Slot) {
        if let Slot::Own = slot {
            self.own_slot = Some(slot);
        }
    }

    fn start(&mut self, mut item: Item<C::Receipt>, slot: Slot) {
        // Only a query has a caller who waits: of a command, an attribute of that name means nothing.
        let deadline = item.deadline.filter(|_| self.is_query());
        let left = deadline.map(|at| at.duration_since(Timestamp::now()));
        if left.is_some_and(|left| !left.is_positive()) {
            self.vacate(slot);
            return self.settle(item);
        }
        let mut work = match self.begin(&item) {
            Ok(work) => work,
            Err(error) => {
                self.vacate(slot);
                return self.unreadable(item, error);
            }
        };
        item.begun += 1;
        let started = Instant::now();
        if self.long > 0 {
            self.long -= 1;
        } else if let Poll::Ready(result) = try_at_once(&mut work) {
            self.quick = started.elapsed() <= LONG;
            if !self.quick {
                self.long = STRIDE;
            }
            self.vacate(slot);
            return self.on_handled(item, result, started);
        } else {
            self.quick = false;
        }
        let message = self.with.served.message;
        let work = async move {
            match left.and_then(|left| Duration::try_from(left).ok()) {
                Some(after) => tokio::time::timeout(after, work)
                    .await
                    .unwrap_or(Err(BusError::Timeout { message, after })),
                None => work.await,
            }
        };
        let id = self.running.spawn(work).id();
        self.in_running.insert(id, (item, slot, started));
    }

    /// Reads a message. What runs then is the user's, as its handler is, and may panic.
    fn begin(&self, item: &Item<C::Receipt>) -> Result<Work, String> {
        let begin = || self.with.served.begin(item.record.clone(), item.codec);
        match catch_unwind(AssertUnwindSafe(begin)) {
            Ok(begun) => begun.map_err(|error| error.to_string()),
            Err(panic) => Err(format!("a panic: {}", text_of(&*panic))),
        }
    }

    pub(super) fn on_ended(&mut self, ended: Result<(Id, Result<Bytes, BusError>), JoinError>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result.map_err(Failure::from)),
            Err(error) => (error.id(), Err(Failure::panicked(error))),
        };
        if let Some((item, slot, started)) = self.in_running.remove(&id) {
            self.vacate(slot);
            self.on_handled(item, result, started);
        }
    }

    fn on_handled(
        &mut self,
        mut item: Item<C::Receipt>,
        result: Result<Bytes, Failure>,
        started: Instant,
    ) {
        let meter = &self.with.meter;
        meter.handler_seconds.record(started.elapsed());
        match &result {
            Ok(_) => meter.processed.increment(1),
            Err(_) => meter.failed.increment(1),
        }
        self.ended.finished += usize::from(self.closing);
        if self.is_query() {
            self.reply(
                &item,
                result.map_or_else(Failure::outcome, reply::Outcome::Answer),
            );
            return self.settle(item);
        }
        let failure = match result {
            Ok(_) => {
                if std::mem::take(&mut self.sending_fails) {
                    self.with.report.trouble(Task::Send, None);
                }
                return self.settle(item);
            }
            Err(failure) => failure,
        };
        if failure.cannot_send {
            self.sending_fails = true;
            self.with
                .report
                .trouble(Task::Send, Some(failure.error.clone()));
        }
        self.with.consumer.failed(&item.lease.receipt);
        item.fail(failure.error);
        let retries = self.with.settings.retries;
        let failed = if failure.by_broker {
            item.begun -= 1;
            item.failed_by_broker = item.failed_by_broker.saturating_add(1);
            item.failed_by_broker
        } else {
            item.failed_by_broker = 0;
            item.attempts()
        };
        if !failure.retryable || !failure.by_broker && failed >= retries.max_attempts {
            return self.bury(item);
        }
        self.with.meter.retried.increment(1);
        if self.closing {
            return self.back.push(item.lease);
        }
        self.wait(retries.delay(failed), Due::Attempt, item);
    }

    pub(super) fn unreadable(&mut self, mut item: Item<C::Receipt>, error: String) {
        if self.is_query() {
            let failure = Failure {
                error: format!("it cannot be read: {error}"),
                retryable: false,
                by_broker: false,
                cannot_send: false,
            };
            self.reply(&item, failure.outcome());
            return self.settle(item);
        }
        item.fail(format!("it cannot be read: {error}"));
        self.bury(item);
    }
}

/// Runs a handler as far as it comes without waiting. What comes of it after that has to be polled
/// again, by somebody who is woken.
fn try_at_once(work: &mut Work) -> Poll<Result<Bytes, Failure>> {
    let mut context = Context::from_waker(Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut context)));
    match polled {
        Ok(polled) => polled.map_err(Failure::from),
        Err(panic) => Poll::Ready(Err(Failure::of_panic(&*panic))),
    }
}
