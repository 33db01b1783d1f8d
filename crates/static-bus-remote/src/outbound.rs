//! The outbound queues: records that are sent one by one are appended in batches.

use std::{
    array,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use foldhash::fast::FixedState;

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use super::transport::{Kind, Record, Topic, Transport, TransportError, TransportErrorKind};

/// The largest number of records in one call of the engine.
const BATCH: usize = 512;
/// The capacity of a queue. When it is full, senders wait.
const CAPACITY: usize = 16 * BATCH;
/// The number of queues of commands, events and dead letters, each with one call of the engine at a time: while the broker
/// serves one, the next is prepared.
const QUEUES: usize = 2;
/// The duration from which a failed call is taken as one without an answer.
const NO_ANSWER: Duration = Duration::from_secs(1);

/// Queues of records, each of which a task appends in as few round trips as possible: while one batch is appended, the
/// next one gathers. A lone record is appended at once. The records of a key are in one queue, in order.
#[derive(Clone)]
pub(crate) struct Outbound {
    queues: [Queue; QUEUES],
    /// The queue of queries and replies. Nobody waits until one is appended, so a few large batches are better than two
    /// calls at a time.
    passing: Queue,
    /// The queue of the next record without a key.
    turn: Arc<AtomicUsize>,
    address: Arc<str>,
}

#[derive(Clone)]
struct Queue {
    items: mpsc::Sender<Item>,
    /// The number of calls that were begun.
    calls: Arc<AtomicU64>,
}

/// The callback for the result of a record.
type Callback = Box<dyn FnOnce(Result<(), TransportError>) + Send>;

struct Item {
    topic: Topic,
    record: Record,
    done: Done,
    /// The number of calls that were begun before.
    after: u64,
}

/// A callback that is called once: with an error, when it is dropped.
struct Done {
    callback: Option<Callback>,
    address: Arc<str>,
}

impl Done {
    fn call(mut self, result: Result<(), TransportError>) {
        if let Some(callback) = self.callback.take() {
            callback(result);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(callback) = self.callback.take() {
            callback(Err(gone(self.address.clone())));
        }
    }
}

/// The error of a call whose task has ended with its runtime.
pub(crate) fn gone(address: Arc<str>) -> TransportError {
    let reason = "the tokio runtime on which this was connected has shut down: connect again";
    TransportError::new(TransportErrorKind::Closed, address, reason)
}

impl Outbound {
    /// Starts the tasks. The handle ends when the last clone is dropped and the queues are empty.
    pub(crate) fn start<T: Transport>(transport: T) -> (Self, JoinHandle<()>) {
        let mut tasks = JoinSet::new();
        let mut start = || {
            let (items, waiting) = mpsc::channel(CAPACITY);
            let calls = Arc::<AtomicU64>::default();
            tasks.spawn(send_all(transport.clone(), waiting, calls.clone()));
            Queue { items, calls }
        };
        let outbound = Outbound {
            queues: array::from_fn(|_| start()),
            passing: start(),
            turn: Arc::default(),
            address: transport.address().into(),
        };
        let ended = async { _ = tasks.join_all().await };
        (outbound, tokio::spawn(ended))
    }

    /// Appends a record, and waits for the result.
    pub(crate) async fn append(&self, topic: Topic, record: Record) -> Result<(), TransportError> {
        let (tell, told) = oneshot::channel();
        let done = Box::new(|result| _ = tell.send(result));
        self.hand_over(topic, record, done).await;
        told.await
            .unwrap_or_else(|_| Err(gone(self.address.clone())))
    }

    /// Adds a record when the queue has room. `done` is called with the result, once.
    pub(crate) async fn hand_over(&self, topic: Topic, record: Record, done: Callback) {
        // If the runtime of the task is gone, the item is dropped, and `done` called.
        let queue = self.queue(&topic, &record);
        _ = queue
            .items
            .send(self.item(queue, topic, record, done))
            .await;
    }

    /// Adds a record, or drops it if the queue is full. `done` is called with the result, once.
    pub(crate) fn try_hand_over(&self, topic: Topic, record: Record, done: Callback) {
        let queue = self.queue(&topic, &record);
        let item = self.item(queue, topic, record, done);
        if let Err(TrySendError::Full(item)) = queue.items.try_send(item) {
            let reason = format!("{CAPACITY} messages wait to be sent already");
            let kind = TransportErrorKind::Unreachable;
            let error = TransportError::new(kind, self.address.clone(), reason);
            item.done.call(Err(error));
        }
    }

    fn queue(&self, topic: &Topic, record: &Record) -> &Queue {
        if matches!(topic.kind, Kind::Query | Kind::Reply) {
            return &self.passing;
        }
        let number = match &record.key {
            Some(key) => FixedState::default().hash_one(key) as usize,
            None => self.turn.fetch_add(1, Ordering::Relaxed),
        };
        &self.queues[number % QUEUES]
    }

    fn item(&self, queue: &Queue, topic: Topic, record: Record, done: Callback) -> Item {
        Item {
            topic,
            record,
            done: Done {
                callback: Some(done),
                address: self.address.clone(),
            },
            after: queue.calls.load(Ordering::Acquire),
        }
    }
}

/// Returns `true` for a failure that says nothing about the record: the broker did not answer.
fn is_unanswered(result: &Result<(), TransportError>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.kind() == TransportErrorKind::Unreachable)
}

async fn send_all<T: Transport>(
    transport: T,
    mut waiting: mpsc::Receiver<Item>,
    calls: Arc<AtomicU64>,
) {
    let mut items = Vec::with_capacity(BATCH);
    let mut unanswered: Option<(u64, TransportError)> = None;
    while waiting.recv_many(&mut items, BATCH).await > 0 {
        // Records from before a call without an answer are not tried: each would wait as long again.
        if let Some((call, error)) = &unanswered {
            for item in items.extract_if(.., |item| item.after < *call) {
                item.done.call(Err(error.clone()));
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
        let call = calls.fetch_add(1, Ordering::AcqRel) + 1;
        let began = Instant::now();
        let results = transport.append(records.collect()).await;
        unanswered = match results.first() {
            Some(Err(error))
                if began.elapsed() >= NO_ANSWER && results.iter().all(is_unanswered) =>
            {
                Some((call, error.clone()))
            }
            _ => None,
        };
        for (done, result) in done.into_iter().zip(results) {
            done.call(result);
        }
    }
}
