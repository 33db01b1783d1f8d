//! The running handlers of a lane.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{Instant, timeout},
};

use super::{
    LaneContext,
    failure::Failure,
    meter::Meter,
    running::{Entry, InHand, Running},
    served::Work,
    slots::{Slot, Slots},
};
use static_bus::asynchronous::BusError;

/// The number of handlers that a lane starts before it does something else.
pub(super) const STRIDE: usize = 128;
/// A handler that took longer without waiting is followed by [`STRIDE`] handlers in tasks of their own.
const LONG: Duration = Duration::from_micros(200);

type TaskResult = Result<Bytes, Failure>;

/// The running handlers of a lane, each with its message.
///
/// A handler is polled once inline. If it does not finish then, it goes on in a task of its own.
pub(super) struct Handlers<M: InHand> {
    message: &'static str,
    limit: usize,
    /// The longest time for a handler; `None` if it is not limited.
    timeout: Option<Duration>,
    begun: Arc<Running<M::Receipt>>,
    meter: Meter,
    slots: Slots,
    tasks: JoinSet<TaskResult>,
    running: HashMap<Id, Task<M>>,
    cancelled: Vec<M>,
    /// `true` if the last handler finished inline.
    finishes_inline: bool,
    /// The number of next handlers that are not polled inline.
    not_inline: usize,
}

/// A handler that runs in a task of its own.
struct Task<M: InHand> {
    message: M,
    started: Instant,
    /// Returned when the handler has ended.
    _slot: Slot,
    _begun: Entry<M::Receipt>,
}

/// A message whose handler has ended.
pub(super) struct Handled<M> {
    pub(super) message: M,
    pub(super) result: TaskResult,
}

impl<M: InHand> Handlers<M> {
    pub(super) fn new(context: &LaneContext, begun: Arc<Running<M::Receipt>>) -> Self {
        Handlers {
            message: context.served.message,
            limit: context.served.settings.limit.get(),
            timeout: context.settings.handler_timeout,
            begun,
            meter: context.meter.clone(),
            slots: Slots::new(context.slots.clone()),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            cancelled: Vec::new(),
            finishes_inline: false,
            not_inline: 0,
        }
    }

    /// The number of messages that the lane should hold at most. Where handlers take time, it is not much more
    /// than may run: other workers could handle those that wait.
    pub(super) fn window(&self) -> usize {
        match self.finishes_inline {
            true => self.limit.max(512).saturating_mul(2),
            false => self.limit.saturating_mul(2),
        }
    }

    /// The smallest number of messages for which a request to the broker is worth its cost.
    pub(super) fn smallest_batch(&self) -> usize {
        self.limit.min(64)
    }

    /// The number of running handlers.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn may_start(&self) -> bool {
        self.running.len() < self.limit && self.slots.may_take()
    }

    /// A slot for the next handler, if one may start.
    pub(super) fn slot(&mut self) -> Option<Slot> {
        if self.running.len() < self.limit {
            return self.slots.take();
        }
        self.slots.cancel_request();
        None
    }

    /// Leaves requested slots to other lanes.
    pub(super) fn cancel_request(&mut self) {
        self.slots.cancel_request();
    }

    /// Starts a handler; `time_left` is the time for which its caller waits. Returns its message if it has finished
    /// already.
    pub(super) fn start(
        &mut self,
        slot: Slot,
        message: M,
        mut work: Work,
        time_left: Option<Duration>,
    ) -> Option<Handled<M>> {
        let started = Instant::now();
        let begun = self.begun.begin(&message, started);
        if self.not_inline > 0 {
            self.not_inline -= 1;
        } else if let Poll::Ready(result) = poll_once(&mut work) {
            let took = started.elapsed();
            self.finishes_inline = took <= LONG;
            if !self.finishes_inline {
                self.not_inline = STRIDE;
            }
            return Some(self.handled(message, result, took));
        } else {
            self.finishes_inline = false;
        }
        let work = limited(work, self.message, time_left, self.timeout);
        let running = Task {
            message,
            started,
            _slot: slot,
            _begun: begun,
        };
        self.running.insert(self.tasks.spawn(work).id(), running);
        None
    }

    /// Waits until a handler has ended, or a slot is granted; forever if neither can happen.
    pub(super) async fn next(&mut self) -> Option<Handled<M>> {
        tokio::select! {
            biased;
            () = self.slots.granted() => None,
            Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
        }
    }

    /// Cancels all handlers. A handler that never waits goes on.
    pub(super) fn cancel(&mut self) {
        self.tasks.abort_all();
    }

    /// Removes the messages of cancelled handlers, and of those that have not ended.
    pub(super) fn drain_cancelled(&mut self) -> Vec<M> {
        let running = self.running.drain().map(|(_, running)| running.message);
        self.cancelled.drain(..).chain(running).collect()
    }

    fn ended(&mut self, ended: Result<(Id, TaskResult), JoinError>) -> Option<Handled<M>> {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) if error.is_cancelled() => {
                let cancelled = self.running.remove(&error.id());
                self.cancelled
                    .extend(cancelled.map(|running| running.message));
                return None;
            }
            Err(error) => (error.id(), Err(Failure::panicked(error))),
        };
        let running = self.running.remove(&id)?;
        let took = running.started.elapsed();
        Some(self.handled(running.message, result, took))
    }

    fn handled(&self, message: M, result: TaskResult, took: Duration) -> Handled<M> {
        self.meter.handler_seconds.record(took);
        match &result {
            Ok(_) => self.meter.processed.increment(1),
            Err(_) => self.meter.failed.increment(1),
        }
        Handled { message, result }
    }
}

/// Runs a handler until its caller stops waiting, and no longer than the worker allows.
async fn limited(
    work: Work,
    message: &'static str,
    time_left: Option<Duration>,
    allowed: Option<Duration>,
) -> TaskResult {
    let Some(after) = time_left.into_iter().chain(allowed).min() else {
        // In the task: the error of a handler is code of the user, and may panic when it is written.
        return work.await.map_err(Failure::from);
    };
    match timeout(after, work).await {
        Ok(result) => result.map_err(Failure::from),
        Err(_) if time_left == Some(after) => Err(BusError::Timeout { message, after }.into()),
        Err(_) => Err(Failure::new(
            format_args!(
                "{message}: its handler was cancelled after {after:?}, its time limit on this worker"
            ),
            true,
        )),
    }
}

/// Polls a handler once. A handler that is not ready has to be polled again with a waker.
fn poll_once(work: &mut Work) -> Poll<TaskResult> {
    let mut context = Context::from_waker(Waker::noop());
    let poll = || work.as_mut().poll(&mut context).map_err(Failure::from);
    match catch_unwind(AssertUnwindSafe(poll)) {
        Ok(polled) => polled,
        Err(panic) => Poll::Ready(Err(Failure::of_panic(&*panic))),
    }
}
