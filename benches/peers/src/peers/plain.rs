//! No bus: the baseline.

use crate::{
    jobs::{Job, State, answer},
    peer::{Missing, Peer, ask, tell},
};

#[derive(Default)]
pub struct Plain {
    state: State,
}

impl Plain {
    #[inline(never)]
    fn query(&self, question: u64) -> u64 {
        answer(question)
    }
    #[inline(never)]
    fn command(&self, amount: u64) {
        self.state.command.add(amount);
    }
    #[inline(never)]
    fn publish_one(&self, amount: u64) {
        self.state.one.add(amount);
    }
    #[inline(never)]
    fn publish_three(&self, amount: u64) {
        for counter in &self.state.three {
            counter.add(amount);
        }
    }
}

impl Peer for Plain {
    fn name(&self) -> &'static str {
        "plain call"
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
        Missing::CompileTime("no such function")
    }
}
