//! A running worker.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle, time::timeout_at};

use super::{
    Deadlines, Settings,
    health::{Health, Reports},
    running::RunningFor,
};
use crate::Transport;

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
    pub(super) running: Vec<Arc<dyn RunningFor>>,
    pub(super) settings: Settings,
    pub(super) drain: watch::Sender<Option<Deadlines>>,
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
    /// The number of messages, of those that are counted here and others, whose acknowledgement or release the broker
    /// did not confirm in time. They go to other workers, at the latest when their leases run out: also those that were
    /// handled.
    pub unsettled: usize,
}

impl<T: Transport> WorkerHandle<T> {
    /// The name of this worker among the members of its groups: its service and a unique id. The tool `static-bus` shows
    /// it as the holder of records; on Kafka a further id follows it.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// The health of the worker and its broker.
    pub async fn health(&self) -> Health {
        let broker = self.transport.check().await;
        let warnings = match broker {
            Ok(()) => self.transport.warnings().await,
            Err(_) => Vec::new(),
        };
        let alive = self.lanes.iter().all(|lane| !lane.is_finished());
        let running = self.running.iter();
        let slow = running.flat_map(|lane| lane.longer_than(self.settings.lease));
        self.reports
            .health(alive, broker.err(), warnings, slow.collect())
    }

    /// Stops the worker. It receives nothing more, lets running handlers finish until `patience` is over, and
    /// releases all other messages, for other workers to handle at once. Other queries are refused.
    ///
    /// This takes no longer than `patience` and [`Worker::settle_timeout`](super::Worker::settle_timeout) together,
    /// also if the broker does not answer. Keep the sum below the time after which the process is killed: 20 s of
    /// patience and the default of 5 s are less than the 30 s of Kubernetes.
    pub async fn shutdown(mut self, patience: Duration) -> ShutdownReport {
        let deadlines = Deadlines::new(patience, self.settings.settle_timeout);
        self.drain.send_replace(Some(deadlines));
        let mut total = ShutdownReport::default();
        for lane in &mut self.lanes {
            // A lane that does not end in time is blocked by a handler.
            if let Ok(Ok(of_lane)) = timeout_at(deadlines.end, lane).await {
                total.finished += of_lane.finished;
                total.cancelled += of_lane.cancelled;
                total.released += of_lane.released;
                total.unsettled += of_lane.unsettled;
            }
        }
        _ = timeout_at(deadlines.end, &mut self.sending).await;
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
