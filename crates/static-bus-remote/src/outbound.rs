//! The way out: everything that a process sends one by one is gathered into batches.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use super::transport::{Record, Topic, Transport, TransportError, TransportErrorKind};

/// At most this many records go into one call of the engine.
const BATCH: usize = 512;
/// At most this many wait; then those who send more wait for room.
const ROOM: usize = 16 * BATCH;
/// A call that fails after this long failed because the broker does not answer.
const HANGS: Duration = Duration::from_secs(1);

/// Appends records that many callers give one by one in as few round trips as it can: while
/// one batch is on its way, the next one gathers. A lone record leaves at once.
#[derive(Clone)]
pub(crate) struct Outbound {
    queue: mpsc::Sender<Item>,
}

/// Called with what became of a record.
type Done = Box<dyn FnOnce(Result<(), TransportError>) + Send>;

struct Item {
    topic: Topic,
    record: Record,
    done: Done,
    since: Instant,
}

impl Outbound {
    /// Starts the task that sends; it ends when the last clone is gone and everything has left.
    pub(crate) fn start<T: Transport>(transport: T) -> (Self, JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(ROOM);
        let sending = tokio::spawn(send_all(transport, waiting));
        (Outbound { queue }, sending)
    }

    /// Appends a record; returns when the broker has it.
    pub(crate) async fn append(&self, topic: Topic, record: Record) -> Result<(), TransportError> {
        let (tell, told) = oneshot::channel();
        let done = Box::new(|result| _ = tell.send(result));
        self.hand_over(topic, record, done).await;
        told.await.unwrap_or_else(|_| {
            let reason = "the runtime is shutting down";
            Err(TransportError::new(TransportErrorKind::Closed, "", reason))
        })
    }

    /// Hands a record over when there is room, and does not wait for the broker; `done` is called when the
    /// broker has it or refuses.
    pub(crate) async fn hand_over(&self, topic: Topic, record: Record, done: Done) {
        // Fails only when the runtime is shutting down, and the task with it.
        _ = self.queue.send(Item::new(topic, record, done)).await;
    }

    /// Hands over a record that is dropped if there is no room, or the broker does not take it.
    pub(crate) fn try_hand_over(&self, topic: Topic, record: Record) {
        let item = Item::new(topic, record, Box::new(|_| {}));
        _ = self.queue.try_send(item);
    }
}

impl Item {
    fn new(topic: Topic, record: Record, done: Done) -> Self {
        Item {
            topic,
            record,
            done,
            since: Instant::now(),
        }
    }
}

async fn send_all<T: Transport>(transport: T, mut waiting: mpsc::Receiver<Item>) {
    let mut items = Vec::with_capacity(BATCH);
    let mut hangs: Option<(Instant, TransportError)> = None;
    while waiting.recv_many(&mut items, BATCH).await > 0 {
        // Those that have waited through a call that got no answer have waited long enough.
        if let Some((began, error)) = &hangs {
            for item in items.extract_if(.., |item| item.since <= *began) {
                (item.done)(Err(error.clone()));
            }
            if items.is_empty() {
                continue;
            }
        }
        let mut done = Vec::with_capacity(items.len());
        let records = items.drain(..).map(|item| {
            done.push(item.done);
            (item.topic, item.record)
        });
        let began = Instant::now();
        let results = transport.append(records.collect()).await;
        hangs = match results.iter().find_map(|result| result.as_ref().err()) {
            Some(error) if began.elapsed() >= HANGS && results.iter().all(Result::is_err) => {
                Some((began, error.clone()))
            }
            _ => None,
        };
        for (done, result) in done.into_iter().zip(results) {
            done(result);
        }
    }
}
