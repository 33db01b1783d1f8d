//! The loop that feeds a bus.

use super::report::Tally;
use super::{Report, Settle, Time, Timeline};
use crate::mailbox::{Cascade, CascadeError};
use core::ops::ControlFlow;
use core::{error::Error, fmt};
use std::time::{Duration, Instant};

/// Drives a bus from a stream of inputs and a timeline. Nobody needs to write its parameters.
///
/// Inputs are enums that [`mailbox!`](crate::mailbox!) declares, like the messages of a timeline, so
/// both are delivered by direct calls. Before each input everything that is due at or before its time
/// is delivered from the timeline; so at one time, timers go before inputs. After every message the
/// bus is settled: it is quiescent when the next one arrives.
///
/// A replay that has stopped, for whatever reason, goes on when it is run again; no message is lost.
///
/// ```
/// use std::cell::RefCell;
/// use static_bus::{prelude::*, sim::{Replay, Stream, Timeline, merge}};
///
/// struct Price(u32);
/// event!(Price);
/// struct Review;
/// event!(Review);
/// mailbox! { enum Input { event Price } }
/// mailbox! { enum Timers { event Review } }
///
/// let seen = RefCell::new(vec![]);
/// let bus = BusBuilder::new()
///     .subscribe_fn(|price: &Price| seen.borrow_mut().push(price.0))
///     .subscribe_fn(|_: &Review| seen.borrow_mut().push(0))
///     .build();
/// let timeline = Timeline::<Timers>::new();
/// timeline.schedule(20, Review);
///
/// let prices = [(10, 101), (20, 102), (30, 103)];
/// let prices = prices.map(|(time, price)| (time, Input::from(Price(price))));
/// let report = Replay::new(&bus, &timeline, merge([Stream::new("prices", prices)])).run()?;
///
/// assert_eq!(*seen.borrow(), [101, 0, 102, 103]);
/// assert_eq!(report.events(), 4);
/// assert_eq!(report.span, Some((10, 30)));
/// # Ok::<_, static_bus::sim::ReplayError<static_bus::sim::Unsorted>>(())
/// ```
#[derive(Debug)]
pub struct Replay<'a, B, C, I, M> {
    bus: &'a B,
    timeline: &'a Timeline<C>,
    inputs: I,
    /// Read, and not yet due.
    next: Option<(Time, M)>,
    until: Option<Time>,
    tally: Tally,
}

impl<'a, B, C, I, M, E> Replay<'a, B, C, I, M>
where
    B: Settle,
    C: Cascade<B>,
    M: Cascade<B>,
    I: Iterator<Item = Result<(Time, M), E>>,
{
    /// A replay of sorted inputs, as [`merge`](super::merge) makes them. It reads one input ahead.
    pub fn new(
        bus: &'a B,
        timeline: &'a Timeline<C>,
        inputs: impl IntoIterator<IntoIter = I>,
    ) -> Self {
        Replay {
            bus,
            timeline,
            inputs: inputs.into_iter(),
            next: None,
            until: None,
            tally: Tally::default(),
        }
    }

    /// Ends each run at a time: what is later is not delivered, and the timeline is advanced to it.
    /// A later time lets the next run go on.
    ///
    /// Without this a run ends with the last input, and what is scheduled for later stays in the
    /// timeline.
    pub fn until(&mut self, time: Time) -> &mut Self {
        self.until = Some(time);
        self
    }

    /// Runs to the end.
    ///
    /// # Errors
    ///
    /// See [`ReplayError`]. What was delivered until then is in [`report`](Replay::report).
    pub fn run(&mut self) -> Result<Report, ReplayError<E>> {
        self.run_with(|_| ControlFlow::Continue(()))
    }

    /// Runs to the end, or until the callback breaks; the report tells which.
    ///
    /// The callback is called after every 65,536 events, inputs and scheduled messages together, when
    /// the bus is quiescent.
    ///
    /// ```
    /// # use static_bus::{prelude::*, sim::{Replay, Stream, Timeline, Unsorted, merge}};
    /// # struct Tick;
    /// # event!(Tick);
    /// # mailbox! { enum Input { event Tick } }
    /// use std::ops::ControlFlow;
    ///
    /// # let bus = BusBuilder::new().build();
    /// # let timeline = Timeline::<Input>::new();
    /// let ticks = (0..200_000).map(|time| (time, Input::from(Tick)));
    /// let mut replay = Replay::new(&bus, &timeline, merge([Stream::new("ticks", ticks)]));
    /// let report = replay.run_with(|progress| match progress.time {
    ///     100_000.. => ControlFlow::Break(()),
    ///     _ => ControlFlow::Continue(()),
    /// })?;
    /// assert!(report.stopped);
    /// assert_eq!(report.events(), 2 * 65_536);
    ///
    /// assert_eq!(replay.run()?.events(), 200_000); // goes on where it stopped
    /// # Ok::<_, static_bus::sim::ReplayError<Unsorted>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`ReplayError`]. What was delivered until then is in [`report`](Replay::report).
    pub fn run_with(
        &mut self,
        mut progress: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Report, ReplayError<E>> {
        let start = Instant::now();
        let wall_before = self.tally.wall;
        let pause = self.feed(&mut |tally: &Tally| {
            progress(&Progress {
                events: tally.events,
                time: tally.last,
                wall: wall_before + start.elapsed(),
            })
        });
        self.tally.wall = wall_before + start.elapsed();
        self.tally.stopped = matches!(pause, Err(Pause::Stopped));
        match pause {
            Err(Pause::Failed(error)) => Err(error),
            _ => Ok(self.report()),
        }
    }

    /// What was delivered so far, in all runs of this replay together.
    pub fn report(&self) -> Report {
        self.tally.report()
    }

    fn feed(&mut self, progress: &mut impl Callback) -> Result<(), Pause<E>> {
        // A run that ended in a cascade error has left messages in the mailbox.
        self.bus.settle()?;
        match self.feed_inputs(progress) {
            Ok(()) | Err(Pause::NextIsLater) => {}
            pause => return pause,
        }
        let end = self.until.unwrap_or(self.timeline.now());
        self.deliver_due(end, progress)?;
        self.timeline.reach(end);
        Ok(())
    }

    /// The loop. `next` is looked at outside, so that an input stays in registers inside.
    fn feed_inputs(&mut self, progress: &mut impl Callback) -> Result<(), Pause<E>> {
        if let Some((time, input)) = self.next.take() {
            self.step(time, input, progress)?;
        }
        while let Some(input) = self.inputs.next() {
            let (time, input) = input.map_err(ReplayError::Input)?;
            self.step(time, input, progress)?;
        }
        Ok(())
    }

    // Twice in `feed_inputs`, and worth it: a call would pass the input through memory.
    #[inline(always)]
    fn step(&mut self, time: Time, input: M, progress: &mut impl Callback) -> Result<(), Pause<E>> {
        if self.until.is_some_and(|end| time > end) {
            self.next = Some((time, input));
            return Err(Pause::NextIsLater);
        }
        let now = self.timeline.now();
        if time < now {
            return Err(ReplayError::Late { time, now }.into());
        }
        if self.timeline.may_be_due(time)
            && let Err(pause) = self.deliver_due(time, progress)
        {
            self.next = Some((time, input));
            return Err(pause);
        }
        self.timeline.reach(time);
        self.tally.count_input(time, input.name());
        input.deliver(self.bus);
        self.bus.settle()?;
        self.report_progress(progress)
    }

    /// Delivers what is scheduled for `time` or earlier.
    fn deliver_due(&mut self, time: Time, progress: &mut impl Callback) -> Result<(), Pause<E>> {
        while let Some(message) = self.timeline.take_due(time) {
            let name = message.name();
            self.tally.count_scheduled(self.timeline.now(), name);
            message.deliver(self.bus);
            self.bus.settle()?;
            self.report_progress(progress)?;
        }
        Ok(())
    }

    #[inline]
    fn report_progress(&self, progress: &mut impl Callback) -> Result<(), Pause<E>> {
        if !self.tally.events.is_multiple_of(PROGRESS_INTERVAL) {
            return Ok(());
        }
        match progress(&self.tally) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Pause::Stopped),
        }
    }
}

/// What the loop calls to report progress.
trait Callback: FnMut(&Tally) -> ControlFlow<()> {}
impl<F: FnMut(&Tally) -> ControlFlow<()>> Callback for F {}

/// How many events lie between two calls of the progress callback.
const PROGRESS_INTERVAL: u64 = 65_536;

/// Why the loop ended before the inputs did.
enum Pause<E> {
    /// The next input is later than the end of the run.
    NextIsLater,
    /// The progress callback said so.
    Stopped,
    Failed(ReplayError<E>),
}

impl<E> From<ReplayError<E>> for Pause<E> {
    fn from(error: ReplayError<E>) -> Self {
        Pause::Failed(error)
    }
}

impl<E> From<CascadeError> for Pause<E> {
    fn from(error: CascadeError) -> Self {
        Pause::Failed(ReplayError::Cascade(error))
    }
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Inputs and scheduled messages delivered so far.
    pub events: u64,
    /// The simulated time.
    pub time: Time,
    /// How long the replay has been running.
    pub wall: Duration,
}

/// Why a replay ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError<E> {
    /// The stream of inputs yielded an error. Every input before it was delivered.
    Input(E),
    /// A cascade passed the bus's limit. What was not delivered is still queued, and another run
    /// continues with it.
    Cascade(CascadeError),
    /// An input is earlier than the simulated time, so it comes too late. It was not delivered, and
    /// another run continues after it.
    #[non_exhaustive]
    Late {
        /// The input's time.
        time: Time,
        /// The simulated time.
        now: Time,
    },
}

impl<E: fmt::Display> fmt::Display for ReplayError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Input(error) => error.fmt(f),
            ReplayError::Cascade(error) => error.fmt(f),
            ReplayError::Late { time, now } => write!(
                f,
                "an input of time {time} comes when the simulated time is {now}: \
                 sort the inputs, and start them no earlier than the timeline is"
            ),
        }
    }
}

impl<E: Error> Error for ReplayError<E> {}
