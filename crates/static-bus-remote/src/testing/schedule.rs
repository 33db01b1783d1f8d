//! The decisions on faults.

use std::{collections::HashMap, time::Duration};

use fastrand::Rng;

use super::faults::{Fault, FaultKind, Faults, InjectedFault};

/// The decisions on faults of one run: from a seed, or from a list.
pub(super) struct Schedule {
    source: Source,
    /// The numbers of decisions by their calls. A number means the same in a run with other faults, as far as possible.
    decisions: HashMap<(String, FaultKind), u64>,
    injected: Vec<InjectedFault>,
    is_stopped: bool,
}

enum Source {
    Seed {
        rng: Rng,
        faults: Faults,
        /// The probability of a fault at a decision.
        chance: f64,
    },
    List(Vec<InjectedFault>),
}

impl Source {
    fn of_seed(seed: u64, faults: Faults) -> Self {
        let mut rng = Rng::with_seed(seed);
        let faults = faults.some(&mut rng);
        // Runs are of different lengths: some seeds have their faults early, others spread them.
        let chance = 0.5_f64.powi(rng.i32(2..=6));
        Source::Seed {
            rng,
            faults,
            chance,
        }
    }
}

/// A call, or a record of a call, that a fault may strike.
pub(super) struct Decision<'a> {
    pub at: Duration,
    pub lease: Duration,
    /// Not empty. Decisions on calls differ from those on their records in the first.
    pub kinds: &'a [FaultKind],
    pub call: String,
}

impl Schedule {
    pub fn of_seed(seed: u64, faults: Faults) -> Self {
        Schedule::new(Source::of_seed(seed, faults))
    }

    pub fn of_list(faults: Vec<InjectedFault>) -> Self {
        Schedule::new(Source::List(faults))
    }

    /// Replaces the faults of a seed. Those of a list stay.
    pub fn set_faults(&mut self, seed: u64, faults: Faults) {
        if let Source::Seed { .. } = self.source {
            self.source = Source::of_seed(seed, faults);
        }
    }

    fn new(source: Source) -> Self {
        Schedule {
            source,
            decisions: HashMap::new(),
            injected: Vec::new(),
            is_stopped: false,
        }
    }

    /// The fault at this decision, if it has one.
    pub fn decide(&mut self, decision: Decision<'_>) -> Option<Fault> {
        if self.is_stopped {
            return None;
        }
        let Decision {
            at,
            lease,
            kinds,
            call,
        } = decision;
        let numbers = &mut self.decisions;
        let number = numbers.entry((call.clone(), kinds[0])).or_default();
        *number += 1;
        let number = *number;
        let fault = match &mut self.source {
            Source::Seed {
                rng,
                faults,
                chance,
            } => {
                let is_due = self.injected.len() < faults.at_most && rng.f64() < *chance;
                is_due.then(|| FaultKind::any(kinds, *faults, lease, rng))?
            }
            Source::List(faults) => {
                let is_here = |fault: &&InjectedFault| {
                    fault.number == number
                        && fault.call == call
                        && kinds.contains(&fault.fault.kind())
                };
                faults.iter().find(is_here).map(|fault| fault.fault)
            }
        }?;
        self.injected.push(InjectedFault {
            at,
            fault,
            call,
            number,
        });
        Some(fault)
    }

    pub fn stop(&mut self) {
        self.is_stopped = true;
    }

    pub fn injected(&self) -> &[InjectedFault] {
        &self.injected
    }
}
