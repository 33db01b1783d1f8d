//! The health of a worker.

use std::sync::{Arc, Mutex};

use super::running::RunningHandler;
use crate::{TransportError, lock::lock};

/// The health of a worker, for liveness and readiness probes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// `true` if the worker runs. A worker that does not has to be started again.
    pub live: bool,
    /// `true` if the worker runs and gets messages. A worker that is not ready becomes ready by itself.
    pub ready: bool,
    /// The reasons why it is not ready, one line each, without secrets.
    pub reasons: Vec<String>,
    /// What an operator should know of the broker before calls fail, one line each, without secrets: see
    /// [`Transport::warnings`](crate::Transport::warnings). It is no reason to be not ready.
    pub warnings: Vec<String>,
    /// The handlers that have run for longer than [a lease](super::Worker::lease), the longest first, up to 100. They
    /// are no reason to be not ready: long handlers are allowed, and a stuck one holds up only the messages with its
    /// key, and one of the handlers that may run at a time.
    pub slow_handlers: Vec<RunningHandler>,
}

/// The largest number of slow handlers in a report.
const SLOW: usize = 100;

/// The last report of each lane.
#[derive(Clone)]
pub(super) struct Reports(Arc<[Entry]>);
struct Entry {
    name: String,
    /// By [`Task`]: success of one does not hide the failure of another.
    troubles: Mutex<[Option<String>; TASKS.len()]>,
}

/// The report of one lane.
#[derive(Clone)]
pub(super) struct Report {
    reports: Reports,
    lane: usize,
}

/// A task of a lane that needs the broker.
#[derive(Clone, Copy)]
pub(super) enum Task {
    Receive,
    Claim,
    Release,
    Renew,
    RenewInTime,
    Acknowledge,
    WriteDeadLetter,
    /// Of a handler.
    Send,
    Reply,
}
const TASKS: [&str; 9] = [
    "messages cannot be received",
    "deduplication keys cannot be claimed",
    "messages cannot be released",
    "leases cannot be renewed",
    "leases were renewed late",
    "messages cannot be acknowledged",
    "dead letters cannot be written",
    "handlers cannot send",
    "replies cannot be sent",
];

impl Reports {
    pub(super) fn new(names: impl Iterator<Item = String>) -> Self {
        let entry = |name| Entry {
            name,
            troubles: Mutex::default(),
        };
        Reports(names.map(entry).collect())
    }

    pub(super) fn of(&self, lane: usize) -> Report {
        Report {
            reports: self.clone(),
            lane,
        }
    }

    pub(super) fn health(
        &self,
        live: bool,
        broker: Option<TransportError>,
        warnings: Vec<String>,
        mut slow_handlers: Vec<RunningHandler>,
    ) -> Health {
        slow_handlers.sort_by_key(|handler| std::cmp::Reverse(handler.running_for));
        slow_handlers.truncate(SLOW);
        let mut reasons = Vec::new();
        if !live {
            reasons.push("the worker has stopped".to_owned());
        }
        reasons.extend(broker.map(|error| error.to_string()));
        for Entry { name, troubles } in &*self.0 {
            let troubles = lock(troubles);
            for (task, trouble) in TASKS.iter().zip(&*troubles) {
                let trouble = trouble.as_deref();
                reasons.extend(trouble.map(|text| format!("{name}: {task}: {text}")));
            }
        }
        Health {
            live,
            ready: reasons.is_empty(),
            reasons,
            warnings,
            slow_handlers,
        }
    }
}

impl Report {
    /// Sets the result of a task.
    pub(super) fn of(&self, task: Task, result: Result<(), TransportError>) {
        self.trouble(task, result.err().map(|error| error.to_string()));
    }

    /// Sets the trouble of a task.
    pub(super) fn trouble(&self, task: Task, trouble: Option<String>) {
        lock(&self.reports.0[self.lane].troubles)[task as usize] = trouble;
    }
}
