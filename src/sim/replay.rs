//! The replay loop, which delivers inputs and scheduled messages to a bus.

use super::Report;
use super::report::Tally;
use crate::mailbox::{Cascade, CascadeError};
use crate::time::{Settle, Time, Timeline};
use core::ops::ControlFlow;
use core::{error::Error, fmt};
use std::time::{Duration, Instant};

/// Drives a bus from a stream of inputs and a timeline. There is no need to write its parameters.
///
/// Inputs are enums declared with [`mailbox!`](crate::mailbox!), like the messages of a timeline, so
/// both are delivered by direct calls. Before each input, the timeline delivers every message due at or
/// before the input's time; at equal times, scheduled messages precede inputs. After every message the
/// bus is settled, so it is quiescent when the next one arrives.
///
/// A replay that has stopped for any reason continues when it is run again; no message is lost. If a
/// handler panics, the message that it was handling counts as delivered.
///
/// ```
/// use std::cell::RefCell;
/// use static_bus::{prelude::*, sim::{Replay, Stream, merge}, time::{Time, Timeline}};
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
/// timeline.schedule(Time::from_secs(20), Review);
///
/// let prices = [(10, 101), (20, 102), (30, 103)];
/// let prices = prices.map(|(time, price)| (Time::from_secs(time), Input::from(Price(price))));
/// let report = Replay::new(&bus, &timeline, merge([Stream::new("prices", prices)])).run()?;
///
/// assert_eq!(*seen.borrow(), [101, 0, 102, 103]);
/// assert_eq!(report.events(), 4);
/// assert_eq!(report.span, Some((Time::from_secs(10), Time::from_secs(30))));
/// # Ok::<_, static_bus::sim::ReplayError<static_bus::sim::Unsorted>>(())
/// ```
#[derive(Debug)]
pub struct Replay<'a, B, C, I, M> {
    bus: &'a B,
    timeline: &'a Timeline<C>,
    inputs: I,
    /// The input that was read and is not yet due.
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
    /// A replay of sorted inputs, such as those of [`merge`](super::merge). It reads one input ahead.
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
            tally: Tally::new(M::NAMES, C::NAMES),
        }
    }

    /// Ends each run at `time`: later messages are not delivered, and the timeline is advanced to `time`.
    /// The next run continues after a call with a later time.
    ///
    /// Without this call a run ends with the last input, and messages scheduled for later stay in the
    /// timeline.
    pub fn until(&mut self, time: Time) -> &mut Self {
        self.until = Some(time);
        self
    }

    /// Runs to the end.
    ///
    /// # Errors
    ///
    /// See [`ReplayError`]. [`report`](Replay::report) counts the messages delivered until then.
    pub fn run(&mut self) -> Result<Report, ReplayError<E>> {
        self.run_with(|_| ControlFlow::Continue(()))
    }

    /// Runs to the end, or until the callback breaks, which sets `stopped` in the report.
    ///
    /// The callback is called after every 65,536 events, inputs and scheduled messages together, when
    /// the bus is quiescent.
    ///
    /// ```
    /// # use static_bus::{prelude::*, sim::{Replay, Stream, Unsorted, merge}, time::{Time, Timeline}};
    /// # struct Tick;
    /// # event!(Tick);
    /// # mailbox! { enum Input { event Tick } }
    /// use std::ops::ControlFlow;
    ///
    /// # let bus = BusBuilder::new().build();
    /// # let timeline = Timeline::<Input>::new();
    /// let ticks = (0..200_000).map(|n| (Time::from_nanos(n), Input::from(Tick)));
    /// let mut replay = Replay::new(&bus, &timeline, merge([Stream::new("ticks", ticks)]));
    /// let report = replay.run_with(|progress| match progress.time.as_nanos() {
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
    /// See [`ReplayError`]. [`report`](Replay::report) counts the messages delivered until then.
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

    /// The report on all runs of this replay so far.
    pub fn report(&self) -> Report {
        self.tally.report()
    }

    fn feed(&mut self, progress: &mut impl Callback) -> Result<(), Pause<E>> {
        // A run that ended with a cascade error may have left messages in the mailbox.
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

    /// The inner loop. It has one call of `deliver`, which the compiler can inline, and keeps an input in
    /// registers on its usual way. Not inlined, because a loop within a caller with other variables was up to a
    /// fifth slower.
    #[inline(never)]
    fn feed_inputs(&mut self, progress: &mut impl Callback) -> Result<(), Pause<E>> {
        let end = self.until.unwrap_or(Time::MAX);
        loop {
            let next = match self.next {
                None => self.inputs.next().transpose().map_err(ReplayError::Input)?,
                Some(_) => self.next.take(),
            };
            let Some((mut time, mut input)) = next else {
                return Ok(());
            };
            if time > end || time < self.timeline.now() || self.timeline.may_be_due(time) {
                // Kept in `next` meanwhile, where no panic can lose it.
                self.next = Some((time, input));
                self.make_way(time, end, progress)?;
                let Some(next) = self.next.take() else {
                    continue;
                };
                (time, input) = next;
            }
            self.timeline.reach(time);
            self.tally.count_input(time, input.index());
            input.deliver(self.bus);
            self.bus.settle()?;
            self.report_progress(progress)?;
        }
    }

    /// Delivers what precedes the input in `next`.
    #[cold]
    #[inline(never)]
    fn make_way(
        &mut self,
        time: Time,
        end: Time,
        progress: &mut impl Callback,
    ) -> Result<(), Pause<E>> {
        let now = self.timeline.now();
        if time > end {
            return Err(Pause::NextIsLater);
        }
        if time < now {
            self.next = None;
            return Err(ReplayError::Late { time, now }.into());
        }
        self.deliver_due(time, progress)
    }

    /// Delivers the messages scheduled for `time` or earlier.
    fn deliver_due(&mut self, time: Time, progress: &mut impl Callback) -> Result<(), Pause<E>> {
        while let Some(message) = self.timeline.take_due(time) {
            let now = self.timeline.now();
            self.tally.count_scheduled(now, message.index());
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

/// The progress callback.
trait Callback: FnMut(&Tally) -> ControlFlow<()> {}
impl<F: FnMut(&Tally) -> ControlFlow<()>> Callback for F {}

/// The number of events between two calls of the progress callback.
const PROGRESS_INTERVAL: u64 = 65_536;

/// The reasons for the loop to end before the inputs do.
enum Pause<E> {
    /// The next input is later than the end of the run.
    NextIsLater,
    /// The progress callback returned `Break`.
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

/// The progress of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Inputs and scheduled messages delivered so far.
    pub events: u64,
    /// The time of the timeline.
    pub time: Time,
    /// The duration of the replay so far, on the machine's clock.
    pub wall: Duration,
}

/// The error of a replay that ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError<E> {
    /// The stream of inputs yielded an error. Every input before it was delivered.
    Input(E),
    /// A cascade passed the bus's limit. Undelivered messages are still queued, and another run continues
    /// with them.
    Cascade(CascadeError),
    /// An input is earlier than the time of the timeline. It was not delivered, and another run continues after
    /// it.
    #[non_exhaustive]
    Late {
        /// The input's time.
        time: Time,
        /// The time of the timeline.
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
                "an input of {time} comes when the time is already {now}: sort the inputs, and begin with \
                 `Timeline::starting_at` a time no later than the first"
            ),
        }
    }
}

impl<E: Error> Error for ReplayError<E> {}
