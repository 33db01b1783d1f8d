//! `mediator-rs`: async handlers in a map by `TypeId`; message, answer and futures are boxed.
//!
//! Its futures are ready at once here, so they are polled directly, without a runtime.

use async_trait::async_trait;
use futures_util::FutureExt;
use mediator_rs::{Handler, Mediator, MediatorError, Request};

use crate::{
    jobs::{Add, Ask, Job, Nobody, State, answer},
    peer::{Missing, Peer, ask, tell},
};

impl Request for Ask {
    type Output = u64;
}
impl Request for Add {
    type Output = ();
}
impl Request for Nobody {
    type Output = ();
}

struct Service;
#[async_trait]
impl Handler<Ask, String, State> for Service {
    async fn handle(&self, Ask(question): Ask, _: &State) -> Result<u64, String> {
        Ok(answer(question))
    }
}
#[async_trait]
impl Handler<Add, String, State> for Service {
    async fn handle(&self, Add(amount): Add, state: &State) -> Result<(), String> {
        state.command.add(amount);
        Ok(())
    }
}

pub struct MediatorRs {
    mediator: Mediator<State, String>,
    state: State,
}

impl MediatorRs {
    pub fn new() -> Self {
        let mut mediator = Mediator::new();
        mediator.register::<Ask, _>(Service);
        mediator.register::<Add, _>(Service);
        MediatorRs {
            mediator,
            state: State::default(),
        }
    }

    #[inline(never)]
    fn dispatch<M: Request>(&self, message: M) -> M::Output {
        self.mediator
            .dispatch(message, &self.state)
            .now_or_never()
            .expect("ready at once")
            .expect("registered")
    }
}

impl Peer for MediatorRs {
    fn name(&self) -> &'static str {
        "mediator-rs 0.1.5"
    }
    fn offers(&self, job: Job) -> bool {
        matches!(job, Job::Query | Job::Command)
    }
    fn run(&mut self, job: Job, n: u64) -> u64 {
        match job {
            Job::Query => ask(n, |i| self.dispatch(Ask(i))),
            Job::Command => tell(n, |i| self.dispatch(Add(i))),
            Job::EventToOne | Job::EventToThree => unreachable!("not offered"),
        }
    }
    fn state(&self) -> &State {
        &self.state
    }
    fn missing(&mut self) -> Missing {
        let outcome = self.mediator.dispatch(Nobody, &self.state).now_or_never();
        let seen = match outcome.expect("ready at once") {
            Err(MediatorError::NoHandlerRegistered(_)) => "Err(NoHandlerRegistered)",
            _ => "nothing",
        };
        Missing::RunTime(seen.into())
    }
}
