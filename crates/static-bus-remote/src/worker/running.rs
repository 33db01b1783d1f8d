//! The handlers that run at present, for the health of a worker.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use foldhash::HashMap;
use tokio::time::Instant;

use super::served::Served;
use crate::{lock::lock, received::Received};

/// A handler that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningHandler {
    /// The message that the worker serves, with the subscriber of an event: `event orders.placed for inventory`.
    pub served: String,
    /// The id of the message; empty if it has none.
    pub id: String,
    /// The ordering key of the message. Later messages with the key wait for the handler.
    pub key: Option<Arc<str>>,
    /// The location of the message in the terms of the broker, such as `partition 3, offset 1042`.
    pub place: Option<String>,
    /// The time for which it has run.
    pub running_for: Duration,
}

impl fmt::Display for RunningHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunningHandler {
            served,
            id,
            key,
            place,
            running_for,
        } = self;
        write!(f, "{served}: the handler of message {id}")?;
        if let Some(key) = key {
            write!(f, " with key {key:?}")?;
        }
        if let Some(place) = place {
            write!(f, " at {place}")?;
        }
        write!(f, " has run for {running_for:?}")
    }
}

/// A message that a handler may run for.
pub(super) trait InHand {
    /// Its name at the broker.
    type Receipt: Clone + Send + 'static;

    fn received(&self) -> &Arc<Received>;

    fn receipt(&self) -> Self::Receipt;
}

/// A query is gone from the broker when it is received.
impl InHand for Arc<Received> {
    type Receipt = ();

    fn received(&self) -> &Arc<Received> {
        self
    }

    fn receipt(&self) {}
}

/// The running handlers of a lane, shared with the [handle](super::WorkerHandle) of the worker: a handler may block
/// the lane.
pub(super) struct Running<R> {
    served: String,
    place: Box<dyn Fn(&R) -> Option<String> + Send + Sync>,
    begun: Mutex<Begun<R>>,
}

struct Begun<R> {
    next: u64,
    handlers: HashMap<u64, Handler<R>>,
}

struct Handler<R> {
    message: Arc<Received>,
    receipt: R,
    since: Instant,
}

impl<R: Send + 'static> Running<R> {
    pub fn new(
        served: &Served,
        place: impl Fn(&R) -> Option<String> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (next, handlers) = (0, HashMap::default());
        Arc::new(Running {
            served: served.to_string(),
            place: Box::new(place),
            begun: Mutex::new(Begun { next, handlers }),
        })
    }

    /// Notes a handler that begins, until the result is dropped.
    pub fn begin<M: InHand<Receipt = R>>(
        self: &Arc<Self>,
        message: &M,
        since: Instant,
    ) -> Entry<R> {
        let handler = Handler {
            message: message.received().clone(),
            receipt: message.receipt(),
            since,
        };
        let mut begun = lock(&self.begun);
        begun.next += 1;
        let id = begun.next;
        begun.handlers.insert(id, handler);
        let running = self.clone();
        Entry { running, id }
    }
}

/// The note of a handler that runs.
pub(super) struct Entry<R> {
    running: Arc<Running<R>>,
    id: u64,
}

impl<R> Drop for Entry<R> {
    fn drop(&mut self) {
        lock(&self.running.begun).handlers.remove(&self.id);
    }
}

/// The running handlers of any lane.
pub(super) trait RunningFor: Send + Sync {
    /// The handlers that have run for longer than this.
    fn longer_than(&self, limit: Duration) -> Vec<RunningHandler>;
}

impl<R: Send + 'static> RunningFor for Running<R> {
    fn longer_than(&self, limit: Duration) -> Vec<RunningHandler> {
        let now = Instant::now();
        let begun = lock(&self.begun);
        let handlers = begun.handlers.values().filter_map(|handler| {
            let running_for = now.saturating_duration_since(handler.since);
            (running_for > limit).then(|| RunningHandler {
                served: self.served.clone(),
                id: handler
                    .message
                    .envelope()
                    .map(|envelope| envelope.id.into_owned())
                    .unwrap_or_default(),
                key: handler.message.record().key.clone(),
                place: (self.place)(&handler.receipt),
                running_for,
            })
        });
        handlers.collect()
    }
}
