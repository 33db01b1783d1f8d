//! The outbound queue: records that are sent one by one are appended in batches.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use super::transport::{Record, Topic, Transport, TransportError, TransportErrorKind};

/// The largest number of records in one call of the engine.
const BATCH: usize = 512;
/// The capacity of the queue. When it is full, senders wait.
const CAPACITY: usize = 16 * BATCH;
/// The duration from which a failed call is taken as one without an answer.
const NO_ANSWER: Duration = Duration::from_secs(1);

/// A queue of records that a task appends in as few round trips as possible: while
/// one batch is appended, the next one gathers. A lone record is appended at once.
#[derive(Clone)]
pub(crate) struct Outbound {
    queue: mpsc::Sender<Item>,
}

/// The callback for the result of a record.
type Done = Box<dyn FnOnce(Result<(), TransportError>) + Send>;

struct Item {
    topic: Topic,
    record: Record,
    done: Done,
    since: Instant,
}

impl Outbound {
    /// Starts the task. It ends when the last clone is dropped and the queue is empty.
    pub(crate) fn start<T: Transport>(transport: T) -> (Self, JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(CAPACITY);
        let sending = tokio::spawn(send_all(transport, waiting));
        (Outbound { queue }, sending)
    }

    /// Appends a record, and waits for the result.
    pub(crate) async fn append(&self, topic: Topic, record: Record) -> Result<(), TransportError> {
        let (tell, told) = oneshot::channel();
        let done = Box::new(|result| _ = tell.send(result));
        self.hand_over(topic, record, done).await;
        told.await.unwrap_or_else(|_| {
            let reason = "the runtime is shutting down";
            Err(TransportError::new(TransportErrorKind::Closed, "", reason))
        })
    }

    /// Adds a record when the queue has room. `done` is called with the result.
    pub(crate) async fn hand_over(&self, topic: Topic, record: Record, done: Done) {
        // This fails only when the runtime shuts down, and the task with it.
        _ = self.queue.send(Item::new(topic, record, done)).await;
    }

    /// Adds a record that is dropped if the queue is full. `done` is called with the result otherwise.
    pub(crate) fn try_hand_over(&self, topic: Topic, record: Record, done: Done) {
        _ = self.queue.try_send(Item::new(topic, record, done));
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

/// Returns `true` for a failure that says nothing about the record: the broker did not answer.
fn is_unanswered(result: &Result<(), TransportError>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.kind() == TransportErrorKind::Unreachable)
}

async fn send_all<T: Transport>(transport: T, mut waiting: mpsc::Receiver<Item>) {
    let mut items = Vec::with_capacity(BATCH);
    let mut unanswered: Option<(Instant, TransportError)> = None;
    while waiting.recv_many(&mut items, BATCH).await > 0 {
        // Records from before a call without an answer are not tried: each would wait as long again.
        if let Some((began, error)) = &unanswered {
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
        unanswered = match results.first() {
            Some(Err(error))
                if began.elapsed() >= NO_ANSWER && results.iter().all(is_unanswered) =>
            {
                Some((began, error.clone()))
            }
            _ => None,
        };
        for (done, result) in done.into_iter().zip(results) {
            done(result);
        }
    }
}
