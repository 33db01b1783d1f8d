//! The lane of a command or an event: from the broker, through the handler, and back.
//!
//! A lane is one task. It holds up to a window of messages, and starts handlers as far as there are slots.
//! Meanwhile it receives the next batch and acknowledges the last one.
//!
//! ```text
//!           ┌ claim later ┐              ┌ attempt later ┐
//!  intake ──┴─────────────┴─ ready ── handlers ──────────┴─ acknowledgements
//!                              │          └─ dead letter ──┘
//!                              └─ behind another message of its key
//! ```

mod acknowledgements;
mod claims;
mod closing;
mod dead_lettering;
mod intake;
mod item;
mod key_queues;
mod leases;
mod schedule;
mod triage;

use std::{collections::VecDeque, error::Error, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use self::{
    acknowledgements::Acknowledgements,
    claims::Claims,
    dead_lettering::DeadLettering,
    intake::Intake,
    item::Item,
    key_queues::KeyQueues,
    leases::Leases,
    schedule::{Schedule, Step},
    triage::{Decision, Triage, TriageConfig},
};
use super::{
    Deadlines, Draining, LaneContext, ShutdownReport,
    failure::{self, Failure},
    handlers::{Handled, Handlers, STRIDE},
    health::Task,
    running::Running,
    served::Work,
};
use crate::{
    error_text::error_text,
    time::later,
    transport::{Consumer, Lease, Scope},
};
use static_bus::asynchronous::BusError;

/// The number of messages that are parked, or handled and not acknowledged, at which a lane receives fewer.
const PARKED: usize = 16 * 1024;
/// The largest number of messages in a batch.
const BATCH: usize = 512;

pub(super) struct Lane<C: Consumer> {
    context: LaneContext,
    consumer: Arc<C>,
    intake: Intake<C>,
    claims: Claims<C>,
    leases: Leases<C>,
    queues: KeyQueues<C::Receipt>,
    /// Messages that no other of their key precedes.
    arrived: VecDeque<Triage<C::Receipt>>,
    ready: VecDeque<Item<C::Receipt>>,
    schedule: Schedule<C::Receipt>,
    handlers: Handlers<Item<C::Receipt>>,
    dead_letters: DeadLettering<C::Receipt>,
    acknowledgements: Acknowledgements<C>,
    /// The number of messages of the lane, from intake to acknowledgement.
    held: usize,
    /// `true` if the broker has refused the output of a handler, and no handler has succeeded since.
    sending_fails: bool,
    is_closing: bool,
    /// The messages of the shutdown.
    report: ShutdownReport,
    /// Messages that fail during the shutdown, and are released at its end.
    released: Vec<Lease<C::Receipt>>,
}

impl<C: Consumer> Lane<C> {
    pub(super) fn new(
        context: LaneContext,
        consumer: Arc<C>,
        begun: Arc<Running<C::Receipt>>,
    ) -> Self {
        let LaneContext {
            served,
            settings,
            report,
            ..
        } = &context;
        let config = TriageConfig {
            message: served.message,
            group: served.group.clone(),
            deduplicates: settings.deduplication.is_some(),
        };
        let draining = context.draining.clone();
        Lane {
            intake: Intake::new(
                consumer.clone(),
                config,
                settings.retries.isolate_after(),
                settings.lease,
                report.clone(),
                draining,
            ),
            claims: Claims::new(consumer.clone(), report.clone()),
            leases: Leases::new(consumer.clone(), settings.lease, report.clone()),
            queues: KeyQueues::new(),
            arrived: VecDeque::new(),
            ready: VecDeque::new(),
            schedule: Schedule::new(),
            handlers: Handlers::new(&context, begun),
            dead_letters: DeadLettering::new(
                context.outbound.clone(),
                context.member.clone(),
                report.clone(),
            ),
            acknowledgements: Acknowledgements::new(consumer.clone(), report.clone()),
            held: 0,
            sending_fails: false,
            is_closing: false,
            report: ShutdownReport::default(),
            released: Vec::new(),
            context,
            consumer,
        }
    }

    pub(super) async fn run(mut self) -> ShutdownReport {
        loop {
            let deadlines = *self.context.draining.borrow();
            if let Some(deadlines) = deadlines {
                return self.close(deadlines).await;
            }
            if self.may_receive() {
                self.intake.start(self.room().min(BATCH));
            }
            self.start_handlers();
            self.claims.start();
            self.intake.start_releasing();
            self.step(None).await;
        }
    }

    /// Waits for the next event, or until this time, and reacts to it.
    async fn step(&mut self, until: Option<Instant>) {
        let is_open = !self.is_closing;
        let is_gathering = is_open && self.may_start() && self.acknowledgements.is_gathering();
        if !is_gathering {
            self.acknowledgements.start();
        }
        let timers = [
            self.schedule.next_time(),
            self.may_receive()
                .then(|| self.intake.not_before())
                .flatten(),
            self.intake.release_not_before().filter(|_| is_open),
            self.acknowledgements.not_before().filter(|_| !is_gathering),
            until,
        ];
        let next = timers.into_iter().flatten().min();
        // In a fixed order, so that a run can be repeated. The order starves nothing: what comes before the handlers
        // happens once for each call or timer that the lane starts.
        tokio::select! {
            biased;
            _ = self.context.draining.changed(), if is_open => {}
            () = at(next) => self.run_due(),
            received = self.intake.received() => self.enter(received),
            claimed = self.claims.claimed() => self.on_claimed(claimed),
            acknowledged = self.acknowledgements.acknowledged() => {
                self.held -= acknowledged.len();
                self.leases.remove(&acknowledged);
            }
            item = self.dead_letters.written() => self.on_dead_letter(item),
            handled = self.handlers.next() => {
                if let Some(handled) = handled {
                    self.on_handled(handled);
                }
            }
            () = tokio::task::yield_now(), if is_open && self.may_start() => {}
        }
    }

    // ----- intake

    /// The number of messages that may be received. Parked messages leave room for others, or they would block
    /// the lane; so do those that are handled, as some brokers take long to acknowledge.
    fn room(&self) -> usize {
        let window = self.handlers.window();
        let waiting = self.held - self.queues.parked() - self.acknowledgements.len();
        let room = window.saturating_sub(waiting);
        room.min(window.saturating_add(PARKED).saturating_sub(self.held))
    }

    /// Returns `true` if a batch may be received. A message that is isolated is alone here, but for parked ones.
    fn may_receive(&self) -> bool {
        let is_alone = self.held <= self.queues.parked();
        !self.is_closing
            && self.intake.may_receive()
            && (is_alone || !self.intake.is_isolating())
            && self.room() >= self.handlers.smallest_batch()
    }

    fn enter(&mut self, received: Vec<Triage<C::Receipt>>) {
        let is_alone = self.held <= self.queues.parked();
        if self.intake.is_isolating() && !is_alone {
            // Its handler could not begin before others have ended: it is received again then.
            let received = received.into_iter();
            let leases = received.map(|triage| triage.into_item().into_lease());
            return self.intake.release(leases.collect());
        }
        self.held += received.len();
        self.leases.add(received.iter().map(Triage::lease));
        for triage in received {
            self.arrived.extend(self.queues.enter(triage));
        }
    }

    fn on_claimed(&mut self, claimed: Vec<Triage<C::Receipt>>) {
        self.leases.add(claimed.iter().map(Triage::lease));
        self.arrived.extend(claimed);
    }

    fn sort_arrived(&mut self) {
        let give_up_after = self.context.settings.retries.give_up_after();
        while let Some(Triage { item, decision }) = self.arrived.pop_front() {
            match decision {
                Decision::Handle if item.delivered_before() >= give_up_after => {
                    self.dead_letter(item);
                }
                Decision::Handle => self.ready.push_back(item),
                Decision::ClaimLater => {
                    let next = self.queues.exchange(item);
                    if next.is_handled() {
                        self.arrived.push_front(next);
                        continue;
                    }
                    let delay = self.context.settings.lease / 4;
                    let bounds = (Duration::from_millis(20), Duration::from_secs(1));
                    let item = next.into_item();
                    self.park(delay.clamp(bounds.0, bounds.1), Step::Claim, item);
                }
                Decision::Duplicate => {
                    self.context.meter.duplicates.increment(1);
                    self.settle(item);
                }
                Decision::OtherGroup => self.settle(item),
                Decision::Unreadable(reason) => self.unreadable(item, &reason),
            }
        }
    }

    fn park(&mut self, delay: Duration, step: Step, item: Item<C::Receipt>) {
        self.queues.park(&item);
        let time = later(Instant::now(), delay);
        self.schedule.add(time, step, item);
    }

    fn run_due(&mut self) {
        let now = Instant::now();
        while let Some((step, item)) = self.schedule.pop_due(now) {
            self.queues.unpark(&item);
            match step {
                Step::Attempt => self.ready.push_back(item),
                Step::Claim => self.claims.add(item),
            }
        }
    }

    // ----- handlers

    fn may_start(&self) -> bool {
        !self.arrived.is_empty() || !self.ready.is_empty() && self.handlers.may_start()
    }

    fn start_handlers(&mut self) {
        for _ in 0..STRIDE {
            self.sort_arrived();
            if self.ready.is_empty() {
                return self.handlers.cancel_request();
            }
            let Some(slot) = self.handlers.slot() else {
                return;
            };
            let Some(mut item) = self.ready.pop_front() else {
                return;
            };
            if self.leases.has_run_out(&item.lease.receipt, item.received) {
                self.give_back(item);
                continue;
            }
            let scope = self.consumer.begin(&item.lease.receipt);
            let message = item.message.clone();
            match self
                .context
                .served
                .decode(message, item.codec, scope.clone())
            {
                Ok(work) => {
                    let work = match scope {
                        Some(scope) if C::FINISHES => self.finished(work, &item, scope),
                        _ => work,
                    };
                    item.begin();
                    if let Some(handled) = self.handlers.start(slot, item, work, None) {
                        self.on_handled(handled);
                    }
                }
                Err(reason) => {
                    drop(slot);
                    self.unreadable(item, &reason);
                }
            }
        }
    }

    /// The handler, and the end of its attempt.
    fn finished(&self, work: Work, item: &Item<C::Receipt>, scope: Scope) -> Work {
        let (consumer, lease) = (self.consumer.clone(), item.lease.clone());
        let message = self.context.served.message;
        Box::pin(async move {
            let output = work.await.map_err(|error| {
                let find = |error: &(dyn Error + 'static)| consumer.failure(&scope, error);
                let mut failures = failure::causes(&error, &find).into_iter().flatten();
                match failures.find(|failure| failure.kind().is_transient()) {
                    Some(failure) if error.is_retryable() => BusError::Transport {
                        message,
                        source: failure.with_source(error).into(),
                    },
                    _ => error,
                }
            })?;
            let finished = consumer.finish(&lease, &scope).await;
            finished.map_err(|error| BusError::Transport {
                message,
                source: error.into(),
            })?;
            Ok(output)
        })
    }

    fn on_handled(&mut self, handled: Handled<Item<C::Receipt>>) {
        let Handled { message, result } = handled;
        self.report.finished += usize::from(self.is_closing);
        match result {
            Ok(_) => {
                if std::mem::take(&mut self.sending_fails) {
                    self.context.report.trouble(Task::Send, None);
                }
                self.settle(message);
            }
            Err(failure) => self.on_failed(message, failure),
        }
    }

    fn on_failed(&mut self, mut item: Item<C::Receipt>, failure: Failure) {
        if failure.cannot_send {
            self.sending_fails = true;
            let trouble = Some(failure.error.clone());
            self.context.report.trouble(Task::Send, trouble);
        }
        let failed = item.fail_attempt(failure.error, failure.is_by_broker);
        let retries = self.context.settings.retries;
        let is_last = !failure.is_by_broker && failed >= retries.max_attempts;
        if !failure.retryable || is_last {
            return self.dead_letter(item);
        }
        self.context.meter.retried.increment(1);
        match self.is_closing {
            true => self.released.push(item.into_lease()),
            false => self.park(retries.delay(failed), Step::Attempt, item),
        }
    }

    fn unreadable(&mut self, mut item: Item<C::Receipt>, reason: &str) {
        item.fail(error_text(format_args!("it cannot be read: {reason}")));
        self.dead_letter(item);
    }

    // ----- settling

    /// Acknowledges a message. The next of its key may be handled.
    fn settle(&mut self, item: Item<C::Receipt>) {
        self.next_of_key(&item);
        self.acknowledgements.add(item.into_lease());
    }

    /// Writes the dead letter of a message, which is acknowledged when the broker has accepted it.
    fn dead_letter(&mut self, item: Item<C::Receipt>) {
        let LaneContext {
            served, settings, ..
        } = &self.context;
        let place = self.consumer.place(&item.lease.receipt);
        let letter = item.dead_letter(served, place, &settings.service);
        self.dead_letters.start(item, letter);
    }

    fn on_dead_letter(&mut self, item: Item<C::Receipt>) {
        self.context.meter.dead_lettered.increment(1);
        self.next_of_key(&item);
        self.acknowledgements.add_unclaimed(item.into_lease());
    }

    /// Leaves a message whose lease has run out to the worker that has it now, and those of its key behind it.
    fn give_back(&mut self, item: Item<C::Receipt>) {
        let key = item.key().cloned();
        let behind = key.as_ref().map(|key| self.queues.remove(key));
        let behind = behind.into_iter().flatten().map(Item::into_lease);
        let mut leases: Vec<_> = behind.collect();
        leases.insert(0, item.into_lease());
        self.held -= leases.len();
        self.leases.remove(&leases);
        self.intake.give_back(key, leases);
    }

    fn next_of_key(&mut self, item: &Item<C::Receipt>) {
        let next = item.key().and_then(|key| self.queues.next(key));
        match next {
            // Its claim was refused when it arrived, which may be long ago.
            Some(Triage {
                item,
                decision: Decision::ClaimLater,
            }) => self.claims.add(item),
            Some(next) => self.arrived.push_back(next),
            None => {}
        }
    }
}

/// Waits until a time; forever if there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
