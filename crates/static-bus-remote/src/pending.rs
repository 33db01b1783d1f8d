//! The queries of a client that wait for their replies.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    lock::lock,
    reply::Reply,
    transport::{Receiver, TransportError, TransportErrorKind},
};

/// The largest number of replies in a batch, and the time that one request for replies waits.
const REPLIES: usize = 256;
const WAIT: Duration = Duration::from_secs(5);

/// The waiting queries, by their ids; at most `max`.
pub(crate) struct Pending {
    max: usize,
    waiting: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
}

pub(crate) enum Answer {
    Reply(Reply),
    Refused(TransportError),
}

impl Pending {
    pub(crate) fn new(max: usize) -> Self {
        Pending {
            max,
            waiting: Mutex::default(),
        }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Adds a query; `None` if too many wait.
    pub(crate) fn expect(self: &Arc<Self>, id: &str) -> Option<Waiting> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= self.max {
            return None;
        }
        waiting.insert(id.to_owned(), sender);
        drop(waiting);
        Some(Waiting {
            pending: self.clone(),
            id: id.to_owned(),
            receiver,
        })
    }

    /// Passes an answer to its query. A late answer is dropped.
    fn answer(&self, id: &str, answer: Answer) {
        if let Some(sender) = lock(&self.waiting).remove(id) {
            _ = sender.send(answer);
        }
    }
}

/// A waiting query. It is removed when this is dropped.
pub(crate) struct Waiting {
    pending: Arc<Pending>,
    id: String,
    receiver: oneshot::Receiver<Answer>,
}
impl Waiting {
    /// The callback for the result of sending the query.
    pub(crate) fn refuse(&self) -> Box<dyn FnOnce(Result<(), TransportError>) + Send> {
        let (pending, id) = (self.pending.clone(), self.id.clone());
        Box::new(move |result| {
            if let Err(error) = result {
                pending.answer(&id, Answer::Refused(error));
            }
        })
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        let gone = || {
            Answer::Refused(TransportError::new(
                TransportErrorKind::Closed,
                "",
                "the client has stopped",
            ))
        };
        (&mut self.receiver).await.unwrap_or_else(|_| gone())
    }
}
impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.pending.waiting).remove(&self.id);
    }
}

/// Passes each reply to the query that waits for it, until the client is gone.
pub(crate) async fn pass_replies<R: Receiver>(
    replies: R,
    pending: Arc<Pending>,
    gone: oneshot::Receiver<Infallible>,
) {
    tokio::select! {
        _ = gone => {}
        () = pass_all(&replies, &pending) => {}
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
                    let query = reply.query().into_owned();
                    pending.answer(&query, Answer::Reply(reply));
                }
            }
            Err(_) => tokio::time::sleep(backoff.next_delay()).await,
        }
    }
}
