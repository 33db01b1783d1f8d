use static_bus::prelude::*;

use crate::{
    jobs::{Add, Ask, Counter, Job, State, ToOne, ToThree, answer},
    peer::{Missing, Peer, ask, tell},
};

query!(Ask -> u64);
command!(Add);
event!(ToOne);
event!(ToThree);

struct Oracle;
impl<B> QueryHandler<Ask, B> for Oracle {
    #[inline]
    fn handle(&self, Ask(question): Ask, _: &B) -> u64 {
        answer(question)
    }
}
impl<B> CommandHandler<Add, B> for Counter {
    #[inline]
    fn handle(&self, Add(amount): Add, _: &B) {
        self.add(amount);
    }
}
impl<B> EventHandler<ToOne, B> for Counter {
    #[inline]
    fn handle(&self, ToOne(amount): &ToOne, _: &B) {
        self.add(*amount);
    }
}
impl<B> EventHandler<ToThree, B> for Counter {
    #[inline]
    fn handle(&self, ToThree(amount): &ToThree, _: &B) {
        self.add(*amount);
    }
}

type Handlers = HList![
    OnQuery<Ask, Oracle>,
    OnCommand<Add, Counter>,
    OnEvent<ToOne, Counter>,
    OnEvent<ToThree, Counter>,
    OnEvent<ToThree, Counter>,
    OnEvent<ToThree, Counter>,
];

pub struct StaticBus {
    bus: BusOf<Handlers>,
    state: State,
}

impl StaticBus {
    pub fn new() -> Self {
        let state = State::default();
        let [a, b, c] = state.three.clone();
        let bus = BusBuilder::new()
            .register_query::<Ask, _>(Oracle)
            .register_command::<Add, _>(state.command.clone())
            .subscribe::<ToOne, _>(state.one.clone())
            .subscribe::<ToThree, _>(a)
            .subscribe::<ToThree, _>(b)
            .subscribe::<ToThree, _>(c)
            .build();
        StaticBus { bus, state }
    }

    #[inline(never)]
    fn query(&self, question: u64) -> u64 {
        self.bus.send(Ask(question))
    }
    #[inline(never)]
    fn command(&self, amount: u64) {
        self.bus.execute(Add(amount));
    }
    #[inline(never)]
    fn publish_one(&self, amount: u64) {
        self.bus.publish(&ToOne(amount));
    }
    #[inline(never)]
    fn publish_three(&self, amount: u64) {
        self.bus.publish(&ToThree(amount));
    }
}

impl Peer for StaticBus {
    fn name(&self) -> &'static str {
        "static-bus"
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
        Missing::CompileTime("no handler is registered for query `Nobody`")
    }
}
