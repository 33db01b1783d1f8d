//! The report of a replay.

use crate::time::Time;
use alloc::vec::Vec;
use core::fmt;
use std::time::Duration;

/// The messages that a [`Replay`](super::Replay) delivered, and the time it took. `Display` prints a
/// table.
///
/// Everything but `wall` depends on the input alone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// The inputs that were delivered, by message, in the order in which they are declared.
    pub inputs: Vec<Count>,
    /// The scheduled messages that were delivered, in the same way.
    pub scheduled: Vec<Count>,
    /// The times of the first and the last event; `None` when there was none.
    pub span: Option<(Time, Time)>,
    /// The duration of all runs, on the machine's clock.
    pub wall: Duration,
    /// True if the progress callback ended the last run.
    pub stopped: bool,
}

/// The number of messages with one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// The message's [`NAME`](crate::message::Message::NAME).
    pub name: &'static str,
    /// The number of messages.
    pub count: u64,
}

impl Report {
    /// The number of events: inputs and scheduled messages.
    pub fn events(&self) -> u64 {
        let all = self.inputs.iter().chain(&self.scheduled);
        all.map(|count| count.count).sum()
    }

    /// Events per second of wall time; 0 if no time has passed.
    pub fn events_per_second(&self) -> f64 {
        let seconds = self.wall.as_secs_f64();
        if seconds > 0.0 {
            self.events() as f64 / seconds
        } else {
            0.0
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || self.inputs.iter().chain(&self.scheduled);
        let width = all().map(|count| count.name.len()).max().unwrap_or(0);
        for (kind, counts) in [("input", &self.inputs), ("scheduled", &self.scheduled)] {
            for Count { name, count } in counts {
                writeln!(f, "{kind:9}  {name:width$}  {count:>12}")?;
            }
        }
        let (events, speed) = (self.events(), self.events_per_second());
        write!(f, "{events} events")?;
        if let Some((first, last)) = self.span {
            write!(f, ", {first} to {last}")?;
        }
        write!(f, ", in {:.3?}: {speed:.0} events per second", self.wall)?;
        if self.stopped {
            f.write_str("; stopped early")?;
        }
        Ok(())
    }
}

/// The counters of a running loop.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    first: Time,
    pub(crate) last: Time,
    pub(crate) wall: Duration,
    pub(crate) stopped: bool,
    inputs: Counts,
    scheduled: Counts,
}

impl Tally {
    /// For inputs and scheduled messages of these names.
    pub(crate) fn new(inputs: &'static [&'static str], scheduled: &'static [&'static str]) -> Self {
        Tally {
            events: 0,
            first: Time::MIN,
            last: Time::MIN,
            wall: Duration::ZERO,
            stopped: false,
            inputs: Counts::new(inputs),
            scheduled: Counts::new(scheduled),
        }
    }

    /// Counts an input by the [`index`](crate::mailbox::Names::index) of its name.
    #[inline]
    pub(crate) fn count_input(&mut self, time: Time, index: usize) {
        self.inputs.counts[index] += 1;
        self.count(time);
    }

    /// Counts a scheduled message in the same way.
    #[inline]
    pub(crate) fn count_scheduled(&mut self, time: Time, index: usize) {
        self.scheduled.counts[index] += 1;
        self.count(time);
    }

    #[inline]
    fn count(&mut self, time: Time) {
        if self.events == 0 {
            self.first = time;
        }
        self.last = time;
        self.events += 1;
    }

    pub(crate) fn report(&self) -> Report {
        Report {
            inputs: self.inputs.report(),
            scheduled: self.scheduled.report(),
            span: (self.events > 0).then_some((self.first, self.last)),
            wall: self.wall,
            stopped: self.stopped,
        }
    }
}

/// A counter for each name.
#[derive(Debug)]
struct Counts {
    names: &'static [&'static str],
    counts: Vec<u64>,
}

impl Counts {
    fn new(names: &'static [&'static str]) -> Self {
        let counts = alloc::vec![0; names.len()];
        Counts { names, counts }
    }

    /// The counts that are not zero.
    fn report(&self) -> Vec<Count> {
        let mut counts = Vec::with_capacity(self.names.len());
        let all = self.names.iter().zip(&self.counts);
        let all = all.map(|(&name, &count)| Count { name, count });
        counts.extend(all.filter(|count| count.count > 0));
        counts
    }
}
