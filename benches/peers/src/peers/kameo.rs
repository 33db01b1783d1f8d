//! `kameo`: an actor with a mailbox, on tokio's current-thread runtime. The mailbox is unbounded,
//! which is slightly faster here than the bounded default.

use std::hint::black_box;

use kameo::{
    Actor,
    actor::{ActorRef, Spawn},
    mailbox,
    message::{Context, Message},
};
use tokio::runtime::Runtime;

use crate::{
    jobs::{Add, Ask, Counter, Job, State, answer},
    peer::{Missing, Peer},
};

#[derive(Actor)]
struct Desk(Counter);
impl Message<Ask> for Desk {
    type Reply = u64;
    async fn handle(&mut self, Ask(question): Ask, _: &mut Context<Self, u64>) -> u64 {
        answer(question)
    }
}
impl Message<Add> for Desk {
    type Reply = ();
    async fn handle(&mut self, Add(amount): Add, _: &mut Context<Self, ()>) {
        self.0.add(amount);
    }
}

/// The moment at which a command's sender continues.
#[derive(Clone, Copy, PartialEq)]
pub enum Command {
    Ask,
    /// Commands are only queued; the batch ends when the last one is handled.
    Tell,
}

pub struct Kameo {
    command: Command,
    runtime: Runtime,
    desk: ActorRef<Desk>,
    state: State,
}

impl Kameo {
    pub fn new(command: Command) -> Self {
        let state = State::default();
        let runtime = super::current_thread();
        let counter = state.command.clone();
        let desk = runtime
            .block_on(async { Desk::spawn_with_mailbox(Desk(counter), mailbox::unbounded()) });
        Kameo {
            command,
            runtime,
            desk,
            state,
        }
    }
}

impl Peer for Kameo {
    fn name(&self) -> &'static str {
        match self.command {
            Command::Ask => "kameo 0.22, `ask`, on tokio",
            Command::Tell => "kameo 0.22, `tell`, on tokio",
        }
    }
    fn offers(&self, job: Job) -> bool {
        job == Job::Command || (job == Job::Query && self.command == Command::Ask)
    }
    fn run(&mut self, job: Job, n: u64) -> u64 {
        let desk = &self.desk;
        self.runtime.block_on(async {
            let mut sum = 0u64;
            match (job, self.command) {
                (Job::Query, _) => {
                    for i in 0..n {
                        let reply = desk.ask(Ask(black_box(i))).await;
                        sum = sum.wrapping_add(reply.expect("the actor runs"));
                    }
                }
                (Job::Command, Command::Ask) => {
                    for i in 0..n {
                        desk.ask(Add(black_box(i))).await.expect("the actor runs");
                    }
                }
                (Job::Command, Command::Tell) => {
                    for i in 0..n {
                        desk.tell(Add(black_box(i))).await.expect("the actor runs");
                    }
                    desk.ask(Add(0)).await.expect("the actor runs");
                }
                _ => unreachable!("not offered"),
            }
            sum
        })
    }
    fn state(&self) -> &State {
        &self.state
    }
    fn missing(&mut self) -> Missing {
        Missing::CompileTime("`Message<Nobody>` is not implemented for `Desk`")
    }
}
