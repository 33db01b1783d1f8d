//! `tower`: a service is one request type's handler. There is no fan-out, hence no events.
//!
//! Its futures are ready at once here, so they are polled in place: it pays for no runtime.

use std::{
    convert::Infallible,
    future::{Ready, ready},
};

use futures_util::FutureExt;
use tower::{Service, ServiceExt, service_fn, util::BoxService};

use crate::{
    jobs::{Add, Ask, Job, State, answer},
    peer::{Missing, Peer, ask, tell},
};

pub struct Tower<Q, C> {
    name: &'static str,
    query: Q,
    command: C,
    state: State,
}

/// Services as their own types: nothing is boxed.
pub fn by_type() -> impl Peer {
    let state = State::default();
    Tower {
        name: "tower 0.5, own type",
        query: query(),
        command: command(&state),
        state,
    }
}

/// Services whose type is erased, as a program with many of them has to: each future is boxed.
pub fn boxed() -> impl Peer {
    let state = State::default();
    Tower {
        name: "tower 0.5, `BoxService`",
        query: BoxService::new(query()),
        command: BoxService::new(command(&state)),
        state,
    }
}

type Outcome<T> = Ready<Result<T, Infallible>>;

fn query() -> impl Service<Ask, Response = u64, Error = Infallible, Future = Outcome<u64>> {
    service_fn(|Ask(question)| ready(Ok(answer(question))))
}
fn command(
    state: &State,
) -> impl Service<Add, Response = (), Error = Infallible, Future = Outcome<()>> + use<> {
    let counter = state.command.clone();
    service_fn(move |Add(amount)| {
        counter.add(amount);
        ready(Ok(()))
    })
}

#[inline(never)]
fn call<M, S: Service<M, Error = Infallible>>(service: &mut S, message: M) -> S::Response {
    let outcome = async { service.ready().await?.call(message).await };
    let Ok(response) = outcome.now_or_never().expect("ready at once");
    response
}

impl<Q, C> Peer for Tower<Q, C>
where
    Q: Service<Ask, Response = u64, Error = Infallible>,
    C: Service<Add, Response = (), Error = Infallible>,
{
    fn name(&self) -> &'static str {
        self.name
    }
    fn offers(&self, job: Job) -> bool {
        matches!(job, Job::Query | Job::Command)
    }
    fn run(&mut self, job: Job, n: u64) -> u64 {
        match job {
            Job::Query => ask(n, |i| call(&mut self.query, Ask(i))),
            Job::Command => tell(n, |i| call(&mut self.command, Add(i))),
            Job::EventToOne | Job::EventToThree => unreachable!("not offered"),
        }
    }
    fn state(&self) -> &State {
        &self.state
    }
    fn missing(&mut self) -> Missing {
        Missing::CompileTime("the caller holds the service")
    }
}
