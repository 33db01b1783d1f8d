//! The loop in real time.

use super::{Clock, Inputs, LiveError, LiveReport, RealTime, Record, StopHandle, watch::Watch};
use crate::mailbox::{Cascade, CascadeError};
use crate::sim::Tally;
use crate::time::{Settle, Time, Timeline};
use core::{hint, time::Duration};
use std::{thread, time::Instant};

/// Drives a bus in real time, from inputs of other threads and a timeline. There is no need to write its
/// parameters.
///
/// The twin of [`Replay`](crate::sim::Replay): an input gets the time at which the loop takes it, and then both
/// deliver by the same [rules of order](crate::time#order-of-delivery). So a replay of the inputs with these
/// times, until [`LiveReport::end`], repeats the run: the same messages in the same order, with the same
/// [`Timeline::now`] in each handler. A [`Record`] receives the inputs and their times.
///
/// - **Timers** are never delivered before they are due. How late they are is in the [report](LiveReport).
/// - **Waiting**: the loop parks its thread until the next timer is due or an input arrives. With
///   [`spin`](Live::spin) it occupies its core instead, and reacts sooner.
/// - **A stop** takes effect between two messages. A run that ended for any reason continues when it is run again,
///   and nothing is lost: inputs stay in the channel, posted messages in the mailbox, scheduled ones in the
///   timeline. If a handler panics, the message that it was handling counts as delivered.
///
/// The timeline begins where the program says: at the present ([`Timeline::starting_at`]), if anything is scheduled
/// before the first input, and the replay begins at the same time. A timer that repeats from the epoch on catches up
/// with half a century. Where the timeline is ahead of the clock, its time counts until the clock has caught up.
///
/// ```
/// use static_bus::{live::{Live, channel}, prelude::*, time::{Time, Timeline}};
/// use std::{cell::Cell, thread, time::Duration};
///
/// struct Price(u32);
/// event!(Price);
/// struct Stale;
/// event!(Stale);
/// mailbox! { enum Input { event Price } }
/// mailbox! { enum Timers { event Stale } }
///
/// let timeline = Timeline::<Timers>::new();
/// let (latest, stale) = (Cell::new(0), Cell::new(false));
/// let bus = BusBuilder::new()
///     .subscribe_fn(|price: &Price| {
///         latest.set(price.0);
///         timeline.schedule(timeline.now() + Duration::from_secs(5), Stale);
///     })
///     .subscribe_fn(|_: &Stale| stale.set(true))
///     .build();
///
/// let (prices, inputs) = channel::<Input>(64);
/// let feed = thread::spawn(move || (1..=100).try_for_each(|price| prices.post(Price(price))));
/// let report = Live::new(&bus, &timeline, inputs).run()?; // until all senders are gone
/// feed.join().unwrap()?;
///
/// assert_eq!((latest.get(), stale.get()), (100, false));
/// assert_eq!(report.delivered.events(), 100);
/// assert_eq!(timeline.len(), 100); // not yet due
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Live<'a, B, C, I, M, R = (), K = RealTime> {
    core: Core<'a, B, C, I, M>,
    recorder: R,
    clock: K,
}

/// What does not depend on the recorder and the clock.
#[derive(Debug)]
struct Core<'a, B, C, I, M> {
    bus: &'a B,
    timeline: &'a Timeline<C>,
    inputs: I,
    spins: bool,
    stop: StopHandle,
    /// The input that was taken and is not yet delivered.
    next: Option<M>,
    /// The latest time of the clock.
    reading: Time,
    tally: Tally,
    watch: Watch,
}

impl<'a, B, C, I, M> Live<'a, B, C, I, M>
where
    B: Settle,
    C: Cascade<B>,
    M: Cascade<B>,
    I: Inputs<M>,
{
    /// A loop on this thread, in [`RealTime`]: the receiver of a [`channel`](super::channel), or other [`Inputs`].
    ///
    /// # Panics
    ///
    /// If the system's clock is not between [`Time::MIN`] and [`Time::MAX`].
    pub fn new(bus: &'a B, timeline: &'a Timeline<C>, inputs: I) -> Self {
        let core = Core {
            bus,
            timeline,
            stop: StopHandle::new(inputs.waker()),
            inputs,
            spins: false,
            next: None,
            reading: Time::MIN,
            tally: Tally::new(M::NAMES, C::NAMES),
            watch: Watch::new(M::NAMES, C::NAMES),
        };
        Live {
            core,
            recorder: (),
            clock: RealTime::new(),
        }
    }
}

impl<'a, B, C, I, M, R, K> Live<'a, B, C, I, M, R, K>
where
    B: Settle,
    C: Cascade<B>,
    M: Cascade<B>,
    I: Inputs<M>,
    R: Record<M>,
    K: Clock,
{
    /// Records each input before it is delivered.
    pub fn recorder<R2: Record<M>>(self, recorder: R2) -> Live<'a, B, C, I, M, R2, K> {
        let Live { core, clock, .. } = self;
        Live {
            core,
            recorder,
            clock,
        }
    }

    /// Runs by another clock, such as one of a test.
    pub fn clock<K2: Clock>(self, clock: K2) -> Live<'a, B, C, I, M, R, K2> {
        let Live { core, recorder, .. } = self;
        Live {
            core,
            recorder,
            clock,
        }
    }

    /// Waits by asking again and again, instead of parking the thread.
    pub fn spin(mut self) -> Self {
        self.core.spins = true;
        self
    }

    /// Lists a message in [`LiveReport::slow`] each time that it takes longer than `budget`, until the bus is
    /// settled. Takes no further readings of the clock.
    pub fn budget(mut self, budget: Duration) -> Self {
        self.core.watch.set_budget(budget);
        self
    }

    /// A handle that stops the loop, for other threads and for handlers.
    pub fn stop_handle(&self) -> StopHandle {
        self.core.stop.clone()
    }

    /// Runs until all senders are gone and their inputs are delivered, or until a stop. Messages scheduled for
    /// later stay in the timeline.
    ///
    /// # Errors
    ///
    /// See [`LiveError`]. [`report`](Live::report) counts the messages delivered until then.
    pub fn run(&mut self) -> Result<LiveReport, LiveError<R::Error>> {
        self.run_to(None)
    }

    /// Runs until a time, or until a stop. Messages due by then are delivered also if all senders are gone, and the
    /// timeline is advanced to `end`.
    ///
    /// # Errors
    ///
    /// See [`LiveError`]. [`report`](Live::report) counts the messages delivered until then.
    pub fn run_until(&mut self, end: Time) -> Result<LiveReport, LiveError<R::Error>> {
        self.run_to(Some(end))
    }

    /// The report on all runs of this loop so far.
    pub fn report(&self) -> LiveReport {
        self.core
            .watch
            .report(self.core.tally.report(), self.core.timeline.now())
    }

    /// The inputs that were not delivered, and the recorder.
    pub fn into_parts(self) -> Parts<I, M, R> {
        Parts {
            next: self.core.next,
            inputs: self.core.inputs,
            recorder: self.recorder,
        }
    }

    fn run_to(&mut self, end: Option<Time>) -> Result<LiveReport, LiveError<R::Error>> {
        let start = Instant::now();
        self.core.watch.forget();
        let ended = self.feed(end);
        self.read_clock();
        self.core.tally.wall += start.elapsed();
        self.core.tally.stopped = matches!(ended, Ok(End::Stopped));
        ended?;
        Ok(self.report())
    }

    fn feed(&mut self, end: Option<Time>) -> Result<End, LiveError<R::Error>> {
        // A run that ended with a cascade error may have left messages in the mailbox.
        self.core.bus.settle()?;
        let last = end.unwrap_or(Time::MAX);
        loop {
            if self.core.stop.is_requested() {
                self.deliver_due(self.core.timeline.now())?;
                self.core.stop.reset();
                return Ok(End::Stopped);
            }
            let closed = self.core.inputs.is_closed();
            if self.core.next.is_none() {
                self.core.next = self.core.inputs.try_next();
            }
            // Read after the input was taken, so that its time is not before it was sent.
            let time = self.read_clock();
            self.deliver_due(time.min(last))?;
            if self.core.stop.is_requested() {
                continue;
            }
            if time <= last && self.core.next.is_some() {
                self.deliver_next(time)?;
            } else if time >= last || closed && end.is_none() {
                self.core.timeline.reach(time.min(last));
                return Ok(End::Reached);
            } else {
                self.wait(closed, end);
            }
        }
    }

    /// Delivers the messages scheduled for `time` or earlier. After a stop, only those for the current time: then a
    /// replay until that time ends in the same state.
    fn deliver_due(&mut self, time: Time) -> Result<(), CascadeError> {
        loop {
            let now = self.core.timeline.now();
            let limit = if self.core.stop.is_requested() {
                now
            } else {
                time
            };
            let Some(message) = self.core.timeline.take_due(limit) else {
                return Ok(());
            };
            let due = self.core.timeline.now();
            self.core.tally.count_scheduled(due, message.index());
            self.core.watch.begin_scheduled(
                message.index(),
                self.core.reading.saturating_duration_since(due),
            );
            message.deliver(self.core.bus);
            self.core.bus.settle()?;
            self.read_clock();
        }
    }

    /// Delivers the input in `next`. It stays there until it is recorded.
    fn deliver_next(&mut self, time: Time) -> Result<(), LiveError<R::Error>> {
        if let Some(input) = &self.core.next {
            self.recorder
                .record(time, input)
                .map_err(LiveError::Record)?;
        }
        if let Some(input) = self.core.next.take() {
            self.core.timeline.reach(time);
            self.core.tally.count_input(time, input.index());
            self.core.watch.begin_input(input.index());
            input.deliver(self.core.bus);
            self.core.bus.settle()?;
        }
        Ok(())
    }

    /// Waits for an input or the next due time.
    fn wait(&mut self, closed: bool, end: Option<Time>) {
        if self.core.spins {
            return hint::spin_loop();
        }
        let until = self.core.timeline.next_at().into_iter().chain(end).min();
        let timeout = until.map(|until| until.saturating_duration_since(self.core.reading));
        match timeout {
            Some(timeout) if closed => thread::park_timeout(timeout),
            timeout => self.core.inputs.park(timeout),
        }
    }

    /// Reads the clock, which also ends the measurement of the current message.
    fn read_clock(&mut self) -> Time {
        let now = self
            .clock
            .now()
            .max(self.core.reading)
            .max(self.core.timeline.now());
        self.core
            .watch
            .end(now.saturating_duration_since(self.core.reading));
        self.core.reading = now;
        now
    }
}

/// The reasons for a run to end without an error.
enum End {
    Stopped,
    /// The end of the run, or of the inputs.
    Reached,
}

/// What a loop leaves; made by [`Live::into_parts`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Parts<I, M, R> {
    /// An input that was taken from `inputs` and not delivered.
    pub next: Option<M>,
    /// The receiver, with the inputs after that.
    pub inputs: I,
    /// The recorder.
    pub recorder: R,
}
