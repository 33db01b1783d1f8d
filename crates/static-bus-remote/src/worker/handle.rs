//! A running worker.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    FAREWELL,
    health::{Health, Reports},
};
use crate::{Transport, time::later};

/// A running worker. Dropping it stops it at once: running handlers are cancelled, and other workers handle its
/// messages when their leases have run out.
#[must_use = "a worker that is dropped stops"]
pub struct WorkerHandle<T> {
    pub(super) transport: T,
    pub(super) member: Arc<str>,
    pub(super) lanes: Vec<JoinHandle<ShutdownReport>>,
    /// It ends when the lanes have ended and everything that they sent has left.
    pub(super) sending: JoinHandle<()>,
    pub(super) measuring: JoinHandle<()>,
    pub(super) reports: Reports,
    pub(super) drain: watch::Sender<Option<Instant>>,
}

/// The messages of a worker at its shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The number of handlers that ended during the shutdown.
    pub finished: usize,
    /// The number of handlers that were cancelled at the deadline. Their messages were released, or, if they are
    /// queries, refused.
    pub cancelled: usize,
    /// The number of messages that were released, or refused, before their handler began.
    pub released: usize,
}

impl<T: Transport> WorkerHandle<T> {
    /// The name of this worker among the members of its groups: its service and a unique id. On Redis the tool
    /// `static-bus` shows it as the holder of records.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// The health of the worker and its broker.
    pub async fn health(&self) -> Health {
        let broker = self.transport.check().await;
        let alive = self.lanes.iter().all(|lane| !lane.is_finished());
        self.reports.health(alive, broker.err())
    }

    /// Stops the worker. It receives nothing more, lets running handlers finish until `patience` is over, and
    /// releases all other messages, for other workers to handle at once. Other queries are refused.
    pub async fn shutdown(mut self, patience: Duration) -> ShutdownReport {
        self.drain
            .send_replace(Some(later(Instant::now(), patience)));
        let mut total = ShutdownReport::default();
        for lane in &mut self.lanes {
            if let Ok(of_lane) = lane.await {
                total.finished += of_lane.finished;
                total.cancelled += of_lane.cancelled;
                total.released += of_lane.released;
            }
        }
        _ = timeout(FAREWELL, &mut self.sending).await;
        total
    }
}

impl<T> Drop for WorkerHandle<T> {
    fn drop(&mut self) {
        self.measuring.abort();
        for lane in &self.lanes {
            lane.abort();
        }
    }
}
