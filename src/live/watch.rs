//! The lateness of timers, and slow messages.

use super::LiveReport;
use super::report::{Lateness, Slow};
use crate::sim::Report;
use crate::time::Time;
use alloc::vec::Vec;
use core::time::Duration;

/// The measurements of a running loop.
#[derive(Debug)]
pub(super) struct Watch {
    budget: Duration,
    /// The position in `slow` of the message that is being delivered.
    current: Option<usize>,
    lateness: Lateness,
    /// Inputs, then scheduled messages, in the order of their lists.
    slow: Vec<Slow>,
    inputs: usize,
}

impl Watch {
    pub(super) fn new(inputs: &[&'static str], scheduled: &[&'static str]) -> Self {
        Watch {
            budget: Duration::MAX,
            current: None,
            lateness: Lateness::default(),
            slow: inputs
                .iter()
                .chain(scheduled)
                .map(|name| Slow::new(name))
                .collect(),
            inputs: inputs.len(),
        }
    }

    pub(super) fn set_budget(&mut self, budget: Duration) {
        self.budget = budget;
    }

    /// Forgets a message whose handler panicked.
    pub(super) fn forget(&mut self) {
        self.current = None;
    }

    pub(super) fn begin_input(&mut self, index: usize) {
        self.current = Some(index);
    }

    pub(super) fn begin_scheduled(&mut self, index: usize, late: Duration) {
        self.current = Some(self.inputs + index);
        self.lateness.add(late);
    }

    /// Ends the measurement of the current message, which took this long since the reading before it.
    pub(super) fn end(&mut self, took: Duration) {
        if let Some(current) = self.current.take()
            && took > self.budget
        {
            self.slow[current].add(took);
        }
    }

    pub(super) fn report(&self, delivered: Report, end: Time) -> LiveReport {
        let slow = self.slow.iter().filter(|slow| slow.count > 0);
        LiveReport {
            delivered,
            end,
            lateness: self.lateness,
            slow: slow.copied().collect(),
        }
    }
}
