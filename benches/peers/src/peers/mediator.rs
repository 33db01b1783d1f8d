//! `mediator`: handlers behind locks in a map by `TypeId`; message and answer are boxed.

use mediator::{DefaultMediator, Event, Mediator, Request};

use crate::{
    jobs::{Add, Ask, Job, Nobody, State, ToOne, ToThree, answer},
    peer::{Missing, Peer, ask, tell},
};

impl Request<u64> for Ask {}
impl Request<()> for Add {}
impl Request<()> for Nobody {}
impl Event for ToOne {}
impl Event for ToThree {}

pub struct MediatorPeer {
    mediator: DefaultMediator,
    state: State,
}

impl MediatorPeer {
    pub fn new() -> Self {
        let state = State::default();
        let State {
            command,
            one,
            three,
        } = state.clone();
        let mut builder = DefaultMediator::builder()
            .add_handler(|Ask(question): Ask| answer(question))
            .add_handler(move |Add(amount): Add| command.add(amount))
            .subscribe_fn(move |ToOne(amount): ToOne| one.add(amount));
        for counter in three {
            builder = builder.subscribe_fn(move |ToThree(amount): ToThree| counter.add(amount));
        }
        MediatorPeer {
            mediator: builder.build(),
            state,
        }
    }

    #[inline(never)]
    fn query(&mut self, question: u64) -> u64 {
        self.mediator.send(Ask(question)).expect("registered")
    }
    #[inline(never)]
    fn command(&mut self, amount: u64) {
        self.mediator.send(Add(amount)).expect("registered")
    }
    #[inline(never)]
    fn publish_one(&mut self, amount: u64) {
        self.mediator.publish(ToOne(amount)).expect("subscribed");
    }
    #[inline(never)]
    fn publish_three(&mut self, amount: u64) {
        self.mediator.publish(ToThree(amount)).expect("subscribed");
    }
}

impl Peer for MediatorPeer {
    fn name(&self) -> &'static str {
        "mediator 0.2.2"
    }
    fn offers(&self, _: Job) -> bool {
        true
    }
    fn run(&mut self, job: Job, n: u64) -> u64 {
        match job {
            Job::Query => ask(n, |i| self.query(i)),
            Job::Command => tell(n, |i| self.command(i)),
            Job::EventToOne => tell(n, |i| self.publish_one(i)),
            Job::EventToThree => tell(n, |i| self.publish_three(i)),
        }
    }
    fn state(&self) -> &State {
        &self.state
    }
    fn missing(&mut self) -> Missing {
        let outcome: mediator::Result<()> = self.mediator.send(Nobody);
        Missing::RunTime(format!("{outcome:?}"))
    }
}
