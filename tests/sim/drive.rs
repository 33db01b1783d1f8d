//! The two loops behind one trait, for the tests of what they have in common.

use static_bus::{
    mailbox::{Cascade, CascadeError},
    sim::{Replay, ReplayError, Report},
    time::{Settle, Time, Timeline},
};
use std::convert::Infallible;

pub trait Loop {
    fn over<'a, B: Settle, C: Cascade<B>, M: Cascade<B> + 'a>(
        bus: &'a B,
        timeline: &'a Timeline<C>,
        inputs: Vec<(Time, M)>,
    ) -> impl Run + 'a;
}

pub trait Run {
    /// Runs until the last input, or until a time.
    fn run_to(&mut self, end: Option<Time>) -> Result<Report, CascadeError>;
}

pub struct InSimulatedTime;

struct Replayed<R>(R);

impl Loop for InSimulatedTime {
    fn over<'a, B: Settle, C: Cascade<B>, M: Cascade<B> + 'a>(
        bus: &'a B,
        timeline: &'a Timeline<C>,
        inputs: Vec<(Time, M)>,
    ) -> impl Run + 'a {
        Replayed(Replay::new(bus, timeline, inputs.into_iter().map(Ok)))
    }
}

impl<B, C, I, M> Run for Replayed<Replay<'_, B, C, I, M>>
where
    B: Settle,
    C: Cascade<B>,
    M: Cascade<B>,
    I: Iterator<Item = Result<(Time, M), Infallible>>,
{
    fn run_to(&mut self, end: Option<Time>) -> Result<Report, CascadeError> {
        if let Some(end) = end {
            self.0.until(end);
        }
        self.0.run().map_err(|error| match error {
            ReplayError::Cascade(error) => error,
            error => panic!("{error}"),
        })
    }
}

#[cfg(feature = "live")]
pub use real_time::{InRealTime, Script};

#[cfg(feature = "live")]
mod real_time {
    use super::{Cascade, CascadeError, Infallible, Loop, Report, Run, Settle, Time, Timeline};
    use static_bus::live::{Clock, Inputs, Live, LiveError};
    use std::{cell::Cell, collections::VecDeque, rc::Rc, task::Waker, time::Duration};

    /// A clock that stands still until the loop waits.
    #[derive(Clone)]
    pub struct Hand(Rc<Cell<Time>>);

    impl Hand {
        pub fn set(&self, time: Time) {
            self.0.set(time);
        }
    }

    impl Clock for Hand {
        fn now(&self) -> Time {
            self.0.get()
        }
    }

    /// Inputs, each of which arrives at its time.
    pub struct Script<M> {
        rest: VecDeque<(Time, M)>,
        clock: Hand,
        /// Further inputs may come after the last one, as from senders that are not gone.
        stays_open: Rc<Cell<bool>>,
    }

    impl<M> Script<M> {
        pub fn new(inputs: Vec<(Time, M)>, start: Time) -> Self {
            Script {
                rest: inputs.into(),
                clock: Hand(Rc::new(Cell::new(start))),
                stays_open: Rc::default(),
            }
        }

        pub fn clock(&self) -> Hand {
            self.clock.clone()
        }

        pub fn stays_open(&self) -> Rc<Cell<bool>> {
            self.stays_open.clone()
        }

        fn next_time(&self) -> Option<Time> {
            self.rest.front().map(|(time, _)| *time)
        }
    }

    impl<M> Inputs<M> for Script<M> {
        fn try_next(&mut self) -> Option<M> {
            self.next_time().filter(|time| *time <= self.clock.now())?;
            self.rest.pop_front().map(|(_, input)| input)
        }
        fn is_closed(&self) -> bool {
            self.rest.is_empty() && !self.stays_open.get()
        }
        fn park(&mut self, timeout: Option<Duration>) {
            let end = timeout.map(|timeout| self.clock.now() + timeout);
            let wake = self.next_time().into_iter().chain(end).min();
            self.clock.0.set(wake.expect("the wait ends"));
        }
        fn waker(&self) -> Waker {
            Waker::noop().clone()
        }
    }

    pub struct InRealTime;

    struct Running<L>(L, Rc<Cell<bool>>);

    impl Loop for InRealTime {
        fn over<'a, B: Settle, C: Cascade<B>, M: Cascade<B> + 'a>(
            bus: &'a B,
            timeline: &'a Timeline<C>,
            inputs: Vec<(Time, M)>,
        ) -> impl Run + 'a {
            let script = Script::new(inputs, timeline.now());
            let (clock, stays_open) = (script.clock(), script.stays_open());
            Running(Live::new(bus, timeline, script).clock(clock), stays_open)
        }
    }

    impl<B, C, M> Run for Running<Live<'_, B, C, Script<M>, M, (), Hand>>
    where
        B: Settle,
        C: Cascade<B>,
        M: Cascade<B>,
    {
        fn run_to(&mut self, end: Option<Time>) -> Result<Report, CascadeError> {
            let Running(live, stays_open) = self;
            stays_open.set(end.is_some());
            let report = match end {
                Some(end) => live.run_until(end),
                None => live.run(),
            };
            match report {
                Ok(report) => Ok(report.delivered),
                Err(LiveError::<Infallible>::Cascade(error)) => Err(error),
                Err(error) => panic!("{error}"),
            }
        }
    }
}
