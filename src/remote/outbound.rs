//! The way out: everything that a process sends one by one is gathered into batches.

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::transport::{Record, Topic, Transport, TransportError};

/// At most this many records go into one call of the engine.
const BATCH: usize = 512;

/// Appends records that many callers give one by one in as few round trips as it can: while
/// one batch is on its way, the next one gathers. A lone record leaves at once.
#[derive(Clone)]
pub(crate) struct Outbound {
    queue: mpsc::UnboundedSender<Item>,
}

/// Called with what became of a record.
type Done = Box<dyn FnOnce(Result<(), TransportError>) + Send>;

struct Item {
    topic: Topic,
    record: Record,
    done: Done,
}

impl Outbound {
    /// Starts the task that sends; it ends when the last clone is gone and everything has left.
    pub(crate) fn start<T: Transport>(transport: T) -> (Self, JoinHandle<()>) {
        let (queue, waiting) = mpsc::unbounded_channel();
        let sending = tokio::spawn(send_all(transport, waiting));
        (Outbound { queue }, sending)
    }

    /// Appends a record; returns when the broker has it.
    pub(crate) async fn append(&self, topic: Topic, record: Record) -> Result<(), TransportError> {
        let (tell, told) = oneshot::channel();
        self.hand_over(topic, record, Box::new(|result| _ = tell.send(result)));
        told.await
            .unwrap_or_else(|_| Err(TransportError::new("", "the runtime is shutting down")))
    }

    /// Hands a record over and does not wait; `done` is called when the broker has it or refuses.
    pub(crate) fn hand_over(&self, topic: Topic, record: Record, done: Done) {
        let item = Item {
            topic,
            record,
            done,
        };
        // Fails only when the runtime is shutting down, and the task with it.
        _ = self.queue.send(item);
    }
}

async fn send_all<T: Transport>(transport: T, mut waiting: mpsc::UnboundedReceiver<Item>) {
    let mut items = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut items, BATCH).await > 0 {
        let mut done = Vec::with_capacity(items.len());
        let records = items.drain(..).map(|item| {
            done.push(item.done);
            (item.topic, item.record)
        });
        let results = transport.append(records.collect()).await;
        for (done, result) in done.into_iter().zip(results) {
            done(result);
        }
    }
}
