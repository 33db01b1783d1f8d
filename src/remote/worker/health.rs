//! Whether a worker lives and is ready.

use std::sync::{Arc, Mutex, PoisonError};

use crate::remote::TransportError;

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
    trouble: Mutex<Option<String>>,
}

/// Where one lane reports.
#[derive(Clone)]
pub(super) struct Report {
    reports: Reports,
    lane: usize,
}

impl Reports {
    pub(super) fn new(names: impl Iterator<Item = String>) -> Self {
        let entry = |name| Entry {
            name,
            trouble: Mutex::default(),
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
        for Entry { name, trouble } in &*self.0 {
            let trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
            reasons.extend(trouble.as_deref().map(|text| format!("{name}: {text}")));
        }
        Health {
            live,
            ready: reasons.is_empty(),
            reasons,
        }
    }
}

impl Report {
    pub(super) fn well(&self) {
        self.set(None);
    }

    pub(super) fn trouble(&self, error: &TransportError) {
        self.set(Some(error.to_string()));
    }

    fn set(&self, trouble: Option<String>) {
        let entry = &self.reports.0[self.lane];
        *entry.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}
