//! Whether a worker lives and is ready.

use std::sync::{Arc, Mutex, PoisonError};

use crate::TransportError;

/// Whether a worker lives and whether it is ready, as a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// It runs. If not, start it again.
    pub live: bool,
    /// It runs and gets messages. If not, wait: it tries again by itself.
    pub ready: bool,
    /// What stands in the way, a line each, without secrets.
    pub reasons: Vec<String>,
}

/// What each lane has last reported.
#[derive(Clone)]
pub(super) struct Reports(Arc<[Entry]>);
struct Entry {
    name: String,
    /// By [`Task`]: one that goes well does not hide that another does not.
    troubles: Mutex<[Option<String>; TASKS.len()]>,
}

/// Where one lane reports.
#[derive(Clone)]
pub(super) struct Report {
    reports: Reports,
    lane: usize,
}

/// What a lane asks of the broker.
#[derive(Clone, Copy)]
pub(super) enum Task {
    Receive,
    Claim,
    Renew,
    Acknowledge,
    Bury,
    /// By a handler.
    Send,
}
const TASKS: [&str; 6] = [
    "messages cannot be received",
    "deduplication keys cannot be claimed",
    "leases cannot be renewed",
    "messages cannot be acknowledged",
    "dead letters cannot be written",
    "handlers cannot send",
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

    pub(super) fn health(&self, live: bool, broker: Option<TransportError>) -> Health {
        let mut reasons = Vec::new();
        if !live {
            reasons.push("the worker has stopped".to_owned());
        }
        reasons.extend(broker.map(|error| error.to_string()));
        for Entry { name, troubles } in &*self.0 {
            let troubles = troubles.lock().unwrap_or_else(PoisonError::into_inner);
            for (task, trouble) in TASKS.iter().zip(&*troubles) {
                let trouble = trouble.as_deref();
                reasons.extend(trouble.map(|text| format!("{name}: {task}: {text}")));
            }
        }
        Health {
            live,
            ready: reasons.is_empty(),
            reasons,
        }
    }
}

impl Report {
    /// How a task goes.
    pub(super) fn of(&self, task: Task, result: Result<(), TransportError>) {
        self.trouble(task, result.err().map(|error| error.to_string()));
    }

    /// What stands in the way of a task, if anything does.
    pub(super) fn trouble(&self, task: Task, trouble: Option<String>) {
        let troubles = self.reports.0[self.lane].troubles.lock();
        troubles.unwrap_or_else(PoisonError::into_inner)[task as usize] = trouble;
    }
}
