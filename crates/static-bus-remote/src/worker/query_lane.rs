//! The lane of a query: from the broker, through the handler, to a reply.

mod replies;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::replies::Replies;
use super::{
    Deadlines, Draining, LaneContext, ShutdownReport,
    call::Call,
    failure::Failure,
    handlers::{Handled, Handlers, STRIDE},
    health::Task,
    running::Running,
};
use crate::{
    Codec,
    envelope::attribute,
    received::Received,
    reply::Status,
    transport::{Receiver, Record, TransportError},
};

/// The time that one request for queries waits.
const WAIT: Duration = Duration::from_secs(5);
/// The largest number of queries in a batch.
const BATCH: usize = 512;

/// A lane without leases, order and retries: a query that is lost is a timeout at its caller.
pub(super) struct QueryLane<R> {
    context: LaneContext,
    receiver: Arc<R>,
    receiving: Call<Vec<Arc<Record>>>,
    ready: VecDeque<Query>,
    handlers: Handlers<Arc<Received>>,
    replies: Arc<Replies>,
    /// The result of a lane that closes.
    shutdown: Option<ShutdownReport>,
}

struct Query {
    message: Arc<Received>,
    codec: Codec,
}

impl<R: Receiver> QueryLane<R> {
    pub(super) fn new(context: LaneContext, receiver: R, begun: Arc<Running<()>>) -> Self {
        let LaneContext {
            report, outbound, ..
        } = &context;
        QueryLane {
            replies: Replies::new(outbound.clone(), report.clone()),
            receiving: Call::new(report.clone(), Task::Receive),
            handlers: Handlers::new(&context, begun),
            receiver: Arc::new(receiver),
            ready: VecDeque::new(),
            shutdown: None,
            context,
        }
    }

    pub(super) async fn run(mut self) -> ShutdownReport {
        loop {
            let deadlines = *self.context.draining.borrow();
            if let Some(deadlines) = deadlines {
                return self.close(deadlines).await;
            }
            if self.may_receive() && self.receiving.may_start() {
                let receiver = self.receiver.clone();
                let draining = self.context.draining.clone();
                let max = self.room().min(BATCH);
                self.receiving.start(receive(receiver, max, draining));
            }
            if self.start_handlers() {
                // The replies go to the broker before the next request for queries: their callers wait.
                tokio::task::yield_now().await;
            }
            self.step(None).await;
        }
    }

    /// Waits for the next event, or until this time, and reacts to it.
    async fn step(&mut self, until: Option<Instant>) {
        let not_before = self.receiving.not_before();
        let not_before = not_before.filter(|_| self.may_receive());
        let next = until.or(not_before);
        let is_open = self.shutdown.is_none();
        let may_start = !self.ready.is_empty() && self.handlers.may_start();
        // In a fixed order, as in the other lane.
        tokio::select! {
            biased;
            _ = self.context.draining.changed(), if is_open => {}
            received = self.receiving.ended() => self.enter(received.unwrap_or_default()),
            handled = self.handlers.next() => {
                if let Some(handled) = handled {
                    self.on_handled(handled);
                }
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            () = tokio::task::yield_now(), if is_open && may_start => {}
        }
    }

    /// The number of queries that may be received.
    fn room(&self) -> usize {
        let waiting = self.ready.len() + self.handlers.len();
        self.handlers.window().saturating_sub(waiting)
    }

    fn may_receive(&self) -> bool {
        let is_open = self.shutdown.is_none() && !self.receiving.is_under_way();
        is_open && self.room() >= self.handlers.smallest_batch()
    }

    fn enter(&mut self, records: Vec<Arc<Record>>) {
        for record in records {
            let message = Arc::new(Received::new(record));
            // Without an envelope there is no address for a reply.
            if message.check().is_err() {
                continue;
            }
            let value = |attribute| message.value(attribute).unwrap_or_default();
            if value(attribute::TYPE) != self.context.served.message {
                self.replies.send(&message, Status::NoHandler);
                continue;
            }
            let codec = Codec::of(&value(attribute::CONTENT_TYPE));
            match codec {
                Ok(codec) => self.ready.push_back(Query { message, codec }),
                Err(error) => self.unreadable(&message, &error.to_string()),
            }
        }
    }

    /// Starts handlers. Returns `true` if a query was answered.
    fn start_handlers(&mut self) -> bool {
        let mut has_answered = false;
        for _ in 0..STRIDE {
            if self.ready.is_empty() {
                self.handlers.cancel_request();
                break;
            }
            let Some(slot) = self.handlers.slot() else {
                break;
            };
            let Some(query) = self.ready.pop_front() else {
                break;
            };
            let Query { message, codec } = query;
            let deadline = message.deadline();
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                continue;
            }
            match self.context.served.decode(message.clone(), codec, None) {
                Ok(work) => {
                    if let Some(handled) = self.handlers.start(slot, message, work, left) {
                        self.on_handled(handled);
                        has_answered = true;
                    }
                }
                Err(reason) => self.unreadable(&message, &reason),
            }
        }
        has_answered
    }

    fn on_handled(&mut self, handled: Handled<Arc<Received>>) {
        if let Some(report) = &mut self.shutdown {
            report.finished += 1;
        }
        self.replies.send(&handled.message, status(handled.result));
    }

    fn unreadable(&self, query: &Arc<Received>, reason: &str) {
        let error = format_args!("it cannot be read: {reason}");
        self.replies
            .send(query, status(Err(Failure::new(error, false))));
    }

    /// Lets running handlers finish until the deadline, and refuses the other queries.
    async fn close(mut self, deadlines: Deadlines) -> ShutdownReport {
        let Deadlines {
            intake,
            handlers,
            settling,
            ..
        } = deadlines;
        self.handlers.cancel_request();
        if self.receiving.is_under_way()
            && let Ok(received) = timeout_at(intake, self.receiving.ended()).await
        {
            self.enter(received.unwrap_or_default());
        }
        self.receiving.cancel();
        let waiting = std::mem::take(&mut self.ready);
        for query in &waiting {
            self.refuse(&query.message);
        }
        self.shutdown = Some(ShutdownReport {
            released: waiting.len(),
            ..ShutdownReport::default()
        });
        while self.handlers.len() > 0 && Instant::now() < handlers {
            self.step(Some(handlers)).await;
        }
        self.handlers.cancel();
        while self.handlers.len() > 0 && Instant::now() < settling {
            self.step(Some(settling)).await;
        }
        let cancelled = self.handlers.drain_cancelled();
        for query in &cancelled {
            self.refuse(query);
        }
        _ = timeout_at(settling, self.receiver.close()).await;
        ShutdownReport {
            cancelled: cancelled.len(),
            ..self.shutdown.unwrap_or_default()
        }
    }

    /// Tells the caller that the query is not handled here: a query cannot be given back.
    fn refuse(&self, query: &Arc<Received>) {
        let error = "the worker is shutting down";
        self.replies
            .send(query, status(Err(Failure::new(error, true))));
    }
}

/// Receives up to `max` queries. It stops waiting for them when the worker drains.
async fn receive<R: Receiver>(
    receiver: Arc<R>,
    max: usize,
    mut draining: Draining,
) -> Result<Vec<Arc<Record>>, (Vec<Arc<Record>>, TransportError)> {
    let received = tokio::select! {
        biased;
        received = receiver.receive(max, WAIT) => received,
        _ = draining.changed() => Ok(Vec::new()),
    };
    received.map_err(|error| (Vec::new(), error))
}

fn status(result: Result<Bytes, Failure>) -> Status {
    match result {
        Ok(body) => Status::Answered(body),
        Err(failure) => Status::Failed {
            error: failure.error,
            retryable: failure.retryable,
        },
    }
}
