//! The report of a replay.

use super::Time;
use alloc::vec::Vec;
use core::{fmt, ptr};
use std::time::Duration;

/// The messages that a [`Replay`](super::Replay) delivered, and the time it took. `Display` prints a
/// table.
///
/// Everything but `wall` depends on the input alone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// Inputs by message, in order of first appearance.
    pub inputs: Vec<Count>,
    /// Scheduled messages by message, in order of first appearance.
    pub scheduled: Vec<Count>,
    /// The simulated times of the first and the last event; `None` when there was none.
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
            write!(f, ", time {first} to {last}")?;
        }
        write!(f, ", in {:.3?}: {speed:.0} events per second", self.wall)?;
        if self.stopped {
            f.write_str("; stopped early")?;
        }
        Ok(())
    }
}

/// The counters of a running replay.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) events: u64,
    first: Time,
    pub(super) last: Time,
    pub(super) wall: Duration,
    pub(super) stopped: bool,
    inputs: Counts,
    scheduled: Counts,
}

impl Tally {
    #[inline]
    pub(super) fn count_input(&mut self, time: Time, name: &'static str) {
        self.inputs.add(name);
        self.count(time);
    }

    #[inline]
    pub(super) fn count_scheduled(&mut self, time: Time, name: &'static str) {
        self.scheduled.add(name);
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

    pub(super) fn report(&self) -> Report {
        Report {
            inputs: self.inputs.0.clone(),
            scheduled: self.scheduled.0.clone(),
            span: (self.events > 0).then_some((self.first, self.last)),
            wall: self.wall,
            stopped: self.stopped,
        }
    }
}

/// Counters in order of first appearance. A program has few messages, so the list is short.
#[derive(Debug, Default)]
struct Counts(Vec<Count>);

impl Counts {
    /// Updates the counter of `name`. Visits every counter without branching, because the position is
    /// unpredictable and a search would cost more.
    #[inline]
    fn add(&mut self, name: &'static str) {
        let mut known = false;
        for count in &mut self.0 {
            let same = ptr::eq(count.name, name);
            count.count += u64::from(same);
            known |= same;
        }
        if !known {
            self.add_by_content(name);
        }
    }

    /// Compares by content, because equal names may have different addresses; adds a counter for a new
    /// name.
    #[cold]
    fn add_by_content(&mut self, name: &'static str) {
        match self.0.iter_mut().find(|known| known.name == name) {
            Some(known) => known.count += 1,
            None => self.0.push(Count { name, count: 1 }),
        }
    }
}
