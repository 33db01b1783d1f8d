//! The queries of a client that wait for their replies.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use foldhash::HashMap;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    lock::lock,
    outbound::gone,
    reply::Reply,
    transport::{Receiver, TransportError, TransportErrorKind},
};

/// The largest number of replies in a batch, and the time that one request for replies waits.
const REPLIES: usize = 256;
const WAIT: Duration = Duration::from_secs(5);

/// The waiting queries, by their ids; at most `max`.
pub(crate) struct Pending {
    max: usize,
    /// The address of the broker.
    address: Arc<str>,
    /// `None` when no reply is received any more.
    waiting: Mutex<Option<HashMap<Uuid, oneshot::Sender<Answer>>>>,
}

pub(crate) enum Answer {
    Reply(Reply),
    Refused(TransportError),
}

impl Pending {
    pub(crate) fn new(max: usize, address: &str) -> Self {
        Pending {
            max,
            address: address.into(),
            waiting: Mutex::new(Some(HashMap::default())),
        }
    }

    pub(crate) fn receiving(self: &Arc<Self>) -> Receiving {
        Receiving(self.clone())
    }

    /// Adds a query.
    ///
    /// # Errors
    /// If too many wait, or no reply is received any more.
    pub(crate) fn expect(self: &Arc<Self>, id: Uuid) -> Result<Waiting, TransportError> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        let Some(waiting) = &mut *waiting else {
            return Err(gone(self.address.clone()));
        };
        if waiting.len() >= self.max {
            return Err(self.too_many());
        }
        waiting.insert(id, sender);
        Ok(Waiting {
            pending: self.clone(),
            id,
            receiver,
        })
    }

    fn too_many(&self) -> TransportError {
        let max = self.max;
        let reason = format!(
            "{max} queries wait for their answers already: send fewer at a time, or raise `max_pending`"
        );
        // Transient: replies and timeouts make room.
        TransportError::new(
            TransportErrorKind::Unreachable,
            self.address.clone(),
            reason,
        )
    }

    /// Passes an answer to its query. A late answer is dropped.
    fn answer(&self, id: Uuid, answer: Answer) {
        if let Some(sender) = self.remove(id) {
            _ = sender.send(answer);
        }
    }

    fn remove(&self, id: Uuid) -> Option<oneshot::Sender<Answer>> {
        lock(&self.waiting).as_mut()?.remove(&id)
    }
}

/// A waiting query. It is removed when this is dropped.
pub(crate) struct Waiting {
    pending: Arc<Pending>,
    id: Uuid,
    receiver: oneshot::Receiver<Answer>,
}
impl Waiting {
    /// The callback for the result of sending the query.
    pub(crate) fn refuse(&self) -> Box<dyn FnOnce(Result<(), TransportError>) + Send> {
        let (pending, id) = (self.pending.clone(), self.id);
        Box::new(move |result| {
            if let Err(error) = result {
                pending.answer(id, Answer::Refused(error));
            }
        })
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        let answer = (&mut self.receiver).await;
        answer.unwrap_or_else(|_| Answer::Refused(gone(self.pending.address.clone())))
    }
}
impl Drop for Waiting {
    fn drop(&mut self) {
        self.pending.remove(self.id);
    }
}

/// Fails all queries when it is dropped, and those that follow: with the task that receives replies, or its runtime.
pub(crate) struct Receiving(Arc<Pending>);

impl Drop for Receiving {
    fn drop(&mut self) {
        lock(&self.0.waiting).take();
    }
}

/// Passes each reply to the query that waits for it, until the client is gone.
pub(crate) async fn pass_replies<R: Receiver>(
    replies: R,
    receiving: Receiving,
    client: oneshot::Receiver<Infallible>,
) {
    tokio::select! {
        biased;
        _ = client => {}
        () = pass_all(&replies, &receiving.0) => {}
    }
    _ = replies.close().await;
}

async fn pass_all<R: Receiver>(replies: &R, pending: &Pending) {
    let mut backoff = super::retry::reconnect();
    loop {
        match replies.receive(REPLIES, WAIT).await {
            Ok(records) => {
                backoff.reset();
                for record in records {
                    let reply = Reply::new(record);
                    if let Some(query) = reply.query() {
                        pending.answer(query, Answer::Reply(reply));
                    }
                }
            }
            Err(_) => tokio::time::sleep(backoff.next_delay()).await,
        }
    }
}
