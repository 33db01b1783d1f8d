//! `bevy_ecs`: observers of events that are triggered on a world.

use bevy_ecs::{event::GlobalTrigger, prelude::*};

use crate::{
    jobs::{Add, Job, Nobody, State, ToOne, ToThree, answer},
    peer::{Missing, Peer, ask, tell},
};

/// An event has no answer, but an observer may change it.
#[derive(Event)]
struct Asked {
    question: u64,
    answer: Option<u64>,
}
impl Event for Add {
    type Trigger<'a> = GlobalTrigger;
}
impl Event for ToOne {
    type Trigger<'a> = GlobalTrigger;
}
impl Event for ToThree {
    type Trigger<'a> = GlobalTrigger;
}
impl Event for Nobody {
    type Trigger<'a> = GlobalTrigger;
}

pub struct Bevy {
    world: World,
    state: State,
}

impl Bevy {
    pub fn new() -> Self {
        let state = State::default();
        let State {
            command,
            one,
            three,
        } = state.clone();
        let mut world = World::new();
        world.add_observer(|mut asked: On<Asked>| asked.answer = Some(answer(asked.question)));
        world.add_observer(move |add: On<Add>| command.add(add.0));
        world.add_observer(move |event: On<ToOne>| one.add(event.0));
        for counter in three {
            world.add_observer(move |event: On<ToThree>| counter.add(event.0));
        }
        world.flush();
        Bevy { world, state }
    }

    #[inline(never)]
    fn query(&mut self, question: u64) -> u64 {
        let mut asked = Asked {
            question,
            answer: None,
        };
        self.world.trigger_ref(&mut asked);
        asked.answer.expect("observed")
    }
    #[inline(never)]
    fn command(&mut self, amount: u64) {
        self.world.trigger(Add(amount));
    }
    #[inline(never)]
    fn publish_one(&mut self, amount: u64) {
        self.world.trigger(ToOne(amount));
    }
    #[inline(never)]
    fn publish_three(&mut self, amount: u64) {
        self.world.trigger(ToThree(amount));
    }
}

impl Peer for Bevy {
    fn name(&self) -> &'static str {
        "bevy_ecs 0.20, observers"
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
        self.world.trigger(Nobody);
        Missing::RunTime("nothing: an event may have no observer".into())
    }
}
