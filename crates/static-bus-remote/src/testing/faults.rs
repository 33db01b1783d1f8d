//! The faults that a broker may inject.

use std::{fmt, time::Duration};

use fastrand::Rng;

/// The kinds of faults of a [`SimBroker`](super::SimBroker), and their greatest number in a run.
///
/// Each is within the contract of an engine: a message whose sender has an `Ok` is not lost, and the messages of
/// an ordering key keep their order.
///
/// ```
/// use static_bus_remote::testing::{Faults, SimBroker};
///
/// let faults = Faults::none().with_kills(true).with_delays(true).at_most(2);
/// let broker = SimBroker::seed(7).with_faults(faults);
/// # _ = broker;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    pub(super) kills: bool,
    pub(super) cut_offs: bool,
    pub(super) failures: bool,
    pub(super) duplicates: bool,
    pub(super) delays: bool,
    pub(super) at_most: usize,
}

impl Default for Faults {
    /// All kinds, and four faults at most.
    fn default() -> Self {
        Faults {
            kills: true,
            cut_offs: true,
            failures: true,
            duplicates: true,
            delays: true,
            at_most: 4,
        }
    }
}

impl Faults {
    /// No kind.
    pub fn none() -> Self {
        Faults {
            kills: false,
            cut_offs: false,
            failures: false,
            duplicates: false,
            delays: false,
            at_most: 4,
        }
    }

    /// Kills of a [process](super::SimBroker::process), before or after one of its calls: its tasks are dropped, and its
    /// leases run out. After 10 ms to 10 s it starts again.
    #[must_use]
    pub fn with_kills(mut self, kills: bool) -> Self {
        self.kills = kills;
        self
    }

    /// Times in which a process is cut off: all its calls fail with
    /// [`Unreachable`](crate::TransportErrorKind::Unreachable), for half a lease to two leases. Its handlers go on, and
    /// leases that it cannot renew run out.
    #[must_use]
    pub fn with_cut_offs(mut self, cut_offs: bool) -> Self {
        self.cut_offs = cut_offs;
        self
    }

    /// Calls of a process that fail with [`Unreachable`](crate::TransportErrorKind::Unreachable), with or without their
    /// effect.
    #[must_use]
    pub fn with_failures(mut self, failures: bool) -> Self {
        self.failures = failures;
        self
    }

    /// Commands and events that are appended twice, with one id.
    #[must_use]
    pub fn with_duplicates(mut self, duplicates: bool) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// Messages that arrive 1 ms to 10 s later. Others overtake them, except those with the same ordering key.
    #[must_use]
    pub fn with_delays(mut self, delays: bool) -> Self {
        self.delays = delays;
        self
    }

    /// The greatest number of faults in a run. Default: 4. A message whose workers are killed five times may
    /// become a dead letter, which is no fault of the modules.
    #[must_use]
    pub fn at_most(mut self, faults: usize) -> Self {
        self.at_most = faults;
        self
    }

    /// A random part of these kinds, or all. A seed that has only some of them finds what others would hide.
    pub(super) fn some(self, rng: &mut Rng) -> Self {
        let part = Faults {
            kills: self.kills && rng.bool(),
            cut_offs: self.cut_offs && rng.bool(),
            failures: self.failures && rng.bool(),
            duplicates: self.duplicates && rng.bool(),
            delays: self.delays && rng.bool(),
            at_most: self.at_most,
        };
        let none = Faults::none().at_most(self.at_most);
        if part == none { self } else { part }
    }

    fn contains(self, kind: FaultKind) -> bool {
        match kind {
            FaultKind::KillBefore | FaultKind::KillAfter => self.kills,
            FaultKind::CutOff => self.cut_offs,
            FaultKind::FailBefore | FaultKind::FailAfter => self.failures,
            FaultKind::Duplicate => self.duplicates,
            FaultKind::Delay => self.delays,
        }
    }
}

/// The kind of a fault, without its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum FaultKind {
    KillBefore,
    KillAfter,
    CutOff,
    FailBefore,
    FailAfter,
    Duplicate,
    Delay,
}

impl FaultKind {
    /// A random fault of these kinds, if one of them is allowed.
    pub fn any(
        kinds: &[FaultKind],
        faults: Faults,
        lease: Duration,
        rng: &mut Rng,
    ) -> Option<Fault> {
        let allowed = kinds.iter().filter(|kind| faults.contains(**kind));
        let allowed: Vec<_> = allowed.copied().collect();
        Some(match rng.choice(allowed)? {
            FaultKind::KillBefore => Fault::KillBefore(between(10, 10_000, rng)),
            FaultKind::KillAfter => Fault::KillAfter(between(10, 10_000, rng)),
            FaultKind::CutOff => Fault::CutOff(lease.mul_f64(0.5 + 1.5 * rng.f64())),
            FaultKind::FailBefore => Fault::FailBefore,
            FaultKind::FailAfter => Fault::FailAfter,
            FaultKind::Duplicate => Fault::Duplicate,
            FaultKind::Delay => Fault::Delay(between(1, 10_000, rng)),
        })
    }
}

/// A random time in milliseconds; its logarithm is evenly distributed.
fn between(least: u32, most: u32, rng: &mut Rng) -> Duration {
    let (least, most) = (f64::from(least).ln(), f64::from(most).ln());
    let millis = (least + (most - least) * rng.f64()).exp();
    Duration::from_millis(millis as u64)
}

/// A fault at a call of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The process is killed before the call has an effect, and starts again after this time.
    KillBefore(Duration),
    /// The process is killed when the call has had its effect, before its result. It starts again after this time.
    KillAfter(Duration),
    /// All calls of the process fail for this time.
    CutOff(Duration),
    /// The call fails, without an effect.
    FailBefore,
    /// The call has its effect, and fails.
    FailAfter,
    /// The message is appended twice.
    Duplicate,
    /// The message arrives after this time.
    Delay(Duration),
}

impl Fault {
    pub(super) fn kind(self) -> FaultKind {
        match self {
            Fault::KillBefore(_) => FaultKind::KillBefore,
            Fault::KillAfter(_) => FaultKind::KillAfter,
            Fault::CutOff(_) => FaultKind::CutOff,
            Fault::FailBefore => FaultKind::FailBefore,
            Fault::FailAfter => FaultKind::FailAfter,
            Fault::Duplicate => FaultKind::Duplicate,
            Fault::Delay(_) => FaultKind::Delay,
        }
    }
}

/// A fault that was injected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InjectedFault {
    /// The simulated time since the broker was made.
    pub at: Duration,
    /// The fault.
    pub fault: Fault,
    /// The process and its call, such as `orders appends event orders.placed`.
    pub call: String,
    /// The number of the call among those with the same text, from 1.
    pub number: u64,
}

impl fmt::Display for InjectedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InjectedFault {
            at,
            fault,
            call,
            number,
        } = self;
        write!(f, "at {at:?}, {call} (number {number}): ")?;
        match fault {
            Fault::KillBefore(down) => write!(
                f,
                "the process is killed before the call, and starts again after {down:?}"
            ),
            Fault::KillAfter(down) => write!(
                f,
                "the process is killed after the call, and starts again after {down:?}"
            ),
            Fault::CutOff(time) => write!(f, "the process is cut off for {time:?}"),
            Fault::FailBefore => f.write_str("the call fails, without an effect"),
            Fault::FailAfter => f.write_str("the call has its effect, and its answer is lost"),
            Fault::Duplicate => f.write_str("the message is appended twice"),
            Fault::Delay(time) => write!(f, "the message arrives {time:?} later"),
        }
    }
}
