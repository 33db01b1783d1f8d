//! Queries that wait for their answers.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use super::transport::{Consumer, Record, TransportError, TransportErrorKind};

/// How many replies are received at a time, and how long an idle process waits before it asks again.
const REPLIES: usize = 256;
const WAIT: Duration = Duration::from_secs(5);

/// The queries that wait, by their ids; not more than `max`.
pub(crate) struct Pending {
    max: usize,
    waiting: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
}

pub(crate) enum Answer {
    Reply(Arc<Record>),
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

    /// Begins to wait for the answer to a query; `None` if too many wait.
    pub(crate) fn expect(self: &Arc<Self>, id: &str) -> Option<Waiting> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting();
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

    /// Gives an answer to the one that waits for it. A late one is dropped.
    fn answer(&self, id: &str, answer: Answer) {
        if let Some(sender) = self.waiting().remove(id) {
            _ = sender.send(answer);
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query that waits; its place is free again when this is dropped.
pub(crate) struct Waiting {
    pending: Arc<Pending>,
    id: String,
    receiver: oneshot::Receiver<Answer>,
}
impl Waiting {
    /// What the engine calls when it knows whether the query has left.
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
        self.pending.waiting().remove(&self.id);
    }
}

/// Hands each reply to the query that waits for it, until the client is gone.
pub(crate) async fn hand_out<C: Consumer>(
    inbox: C,
    pending: Arc<Pending>,
    gone: oneshot::Receiver<Infallible>,
) {
    tokio::select! {
        _ = gone => {}
        () = hand_out_all(&inbox, &pending) => {}
    }
    _ = inbox.close().await;
}

async fn hand_out_all<C: Consumer>(inbox: &C, pending: &Pending) {
    let mut backoff = super::retry::reconnect();
    loop {
        match inbox.receive(REPLIES, WAIT).await {
            Ok(deliveries) => {
                backoff.reset();
                for delivery in deliveries {
                    let of = delivery.record.headers.get("causationid");
                    if let Some(query) = of.map(std::borrow::Cow::into_owned) {
                        pending.answer(&query, Answer::Reply(delivery.record));
                    }
                }
            }
            Err(_) => tokio::time::sleep(backoff.next_delay()).await,
        }
    }
}
