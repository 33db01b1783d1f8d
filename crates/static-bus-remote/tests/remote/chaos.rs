//! Random failures of the broker and of handlers, with workers that start,
//! stop and are killed. Time is paused, so a run takes seconds. The seed is printed;
//! `CHAOS_SEED=7 CHAOS_RUNS=100` sets others.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncExecuteCommand, AsyncPublishEvent, BusError},
    prelude::*,
};
use static_bus_remote::{
    Transport, Worker, WorkerHandle, current,
    transport::{Backlog, Consumer, Kind, Subscription, Topic},
};

use crate::support::{Fault, MS, Op, SECOND, TestBroker, letters, quick};

#[derive(Serialize, Deserialize)]
struct Move {
    piece: u32,
    number: u32,
}
command!(Move, name = "chaos.move", key = piece);

#[derive(Serialize, Deserialize)]
struct Moved(u32);
event!(Moved, name = "chaos.moved");

const PIECES: u32 = 20;
const MOVES: u32 = 75;
const EVENTS: u32 = 1000;
const GROUPS: [&str; 2] = ["one", "two"];
const WORKERS: usize = 4;

/// A handled message: its handler (`moves` or a subscriber), the piece, and the number.
type Id = (&'static str, u32, u32);

/// Every fiftieth message is always refused.
fn is_refused((_, _, number): Id) -> bool {
    number % 50 == 7
}

#[derive(Default)]
struct Seen {
    /// The messages that the broker has confirmed.
    confirmed: BTreeSet<Id>,
    /// The handled messages with their workers, in order.
    done: Vec<(Id, usize)>,
    workers: usize,
    killed: BTreeSet<usize>,
}

#[derive(Clone)]
struct World {
    seen: Arc<Mutex<Seen>>,
    rng: Arc<Mutex<Rng>>,
    broker: TestBroker,
}

impl World {
    fn seen<R>(&self, look: impl FnOnce(&mut Seen) -> R) -> R {
        look(&mut self.seen.lock().unwrap())
    }

    fn random(&self, below: u32) -> u32 {
        self.rng.lock().unwrap().u32(0..below)
    }

    async fn pause(&self, up_to: u32) {
        tokio::time::sleep(MS * self.random(up_to)).await;
    }

    /// Sometimes takes some time, and sometimes fails.
    async fn handle<M: Message>(self, id: Id, worker: usize) -> Result<(), BusError> {
        assert!(current().is_some());
        if self.random(2) == 0 {
            self.pause(20).await;
        }
        if is_refused(id) {
            return Err(BusError::refused::<M>("the seventh"));
        }
        match self.random(100) {
            0..10 => return Err(BusError::rejected::<M>("at random")),
            10 => std::panic::resume_unwind(Box::new("at random")),
            _ => {}
        }
        self.seen(|seen| seen.done.push((id, worker)));
        Ok(())
    }

    async fn start(&self, group: &'static str) -> (usize, WorkerHandle<TestBroker>) {
        let number = self.seen(|seen| {
            seen.workers += 1;
            seen.workers
        });
        loop {
            let (moves, events) = (self.clone(), self.clone());
            let bus = BusBuilder::new()
                .register_command_async_fn(move |step: Move| {
                    let id = ("moves", step.piece, step.number);
                    moves.clone().handle::<Move>(id, number)
                })
                .subscribe_async_fn(move |moved: &Moved| {
                    events.clone().handle::<Moved>((group, 0, moved.0), number)
                })
                .build();
            let worker = Worker::new(self.broker.clone(), bus)
                .command::<Move>()
                .event::<Moved>(group)
                .lease(10 * SECOND)
                .retries(quick(u32::MAX));
            if let Ok(running) = worker.start().await {
                return (number, running);
            }
            self.pause(20).await;
        }
    }

    /// Stops or kills one worker after another, and starts a new one each time.
    async fn come_and_go(self) {
        let mut workers = Vec::new();
        for i in 0..WORKERS {
            workers.push(self.start(GROUPS[i % 2]).await);
        }
        loop {
            self.pause(2000).await;
            let at = self.random(WORKERS as u32) as usize;
            let (number, worker) = workers.remove(at);
            match self.random(2) {
                0 => {
                    self.seen(|seen| seen.killed.insert(number));
                    drop(worker);
                }
                _ => _ = worker.shutdown(MS * self.random(50)).await,
            }
            workers.insert(at, self.start(GROUPS[at % 2]).await);
        }
    }

    /// Sends until the broker confirms the message, up to a number of attempts.
    async fn send<F: Future<Output = Result<(), BusError>>>(
        &self,
        ids: &[Id],
        send: impl Fn() -> F,
    ) {
        loop {
            if send().await.is_ok() {
                self.seen(|seen| seen.confirmed.extend(ids));
                return;
            }
            if self.random(4) == 0 {
                return;
            }
            self.pause(20).await;
        }
    }

    async fn move_piece(self, piece: u32) {
        let remote = connect_somehow(&self).await;
        for number in 0..MOVES {
            let keyed = remote.with_idempotency_key(format!("{piece}/{number}"));
            let send = || keyed.execute_async(Move { piece, number });
            self.send(&[("moves", piece, number)], send).await;
            self.pause(100).await;
        }
    }

    async fn publish(self) {
        let remote = connect_somehow(&self).await;
        for number in 0..EVENTS {
            let keyed = remote.with_idempotency_key(number.to_string());
            let ids = GROUPS.map(|group| (group, 0, number));
            let send = || async { keyed.publish_async(&Moved(number)).await };
            self.send(&ids, send).await;
            self.pause(8).await;
        }
    }

    /// Waits until every group has settled all messages, with calls past the bad connection.
    async fn settled(&self) {
        let topic = |kind, name: &'static str| Topic {
            kind,
            name: name.into(),
        };
        let moves = (topic(Kind::Command, "chaos.move"), "handlers");
        let events = GROUPS.map(|group| (topic(Kind::Event, "chaos.moved"), group));
        for (topic, group) in std::iter::once(moves).chain(events) {
            let watcher = Subscription::new(topic.clone(), group, "watcher");
            let watcher = self.broker.inner.consume(watcher).await.unwrap();
            for waited in 0.. {
                let backlog = watcher.backlog().await.unwrap();
                if backlog == Backlog::default() {
                    break;
                }
                assert!(waited < 36_000, "{topic}: {backlog:?} after an hour");
                tokio::time::sleep(100 * MS).await;
            }
        }
    }
}

async fn connect_somehow(world: &World) -> static_bus_remote::RemoteBus<TestBroker> {
    loop {
        match static_bus_remote::RemoteBus::connect(world.broker.clone()).await {
            Ok(remote) => return remote,
            Err(_) => world.pause(20).await,
        }
    }
}

async fn run(seed: u64) {
    let world = World {
        seen: Arc::default(),
        rng: Arc::new(Mutex::new(Rng::with_seed(seed))),
        broker: TestBroker::new(),
    };
    // The groups exist from the start.
    for group in GROUPS {
        world.start(group).await.1.shutdown(SECOND).await;
    }
    let mut rng = Rng::with_seed(seed);
    world.broker.rule(move |op| {
        // A lost read breaks the order of its keys until the lease runs out, so only for events.
        let may_be_lost = op != Op::Receive(Kind::Command);
        match rng.u32(0..100) {
            0..4 => Fault::Before,
            4..8 if may_be_lost => Fault::After,
            8..20 => Fault::Late(MS * rng.u32(0..50)),
            _ => Fault::None,
        }
    });
    let workers = tokio::spawn(world.clone().come_and_go());
    let mut producers = vec![tokio::spawn(world.clone().publish())];
    producers.extend((0..PIECES).map(|piece| tokio::spawn(world.clone().move_piece(piece))));
    for producer in producers {
        producer.await.unwrap();
    }
    world.settled().await;
    workers.abort();
    _ = workers.await;
    check(&world).await;
}

async fn check(world: &World) {
    let dead = letters(&world.broker.inner).await;
    let seen = world.seen.lock().unwrap();
    let mut done: BTreeMap<Id, Vec<usize>> = BTreeMap::new();
    for (id, worker) in &seen.done {
        done.entry(*id).or_default().push(*worker);
    }

    let confirmed = seen.confirmed.iter();
    let (refused, expected): (Vec<Id>, Vec<Id>) = confirmed.partition(|id| is_refused(**id));
    let lost: Vec<_> = expected
        .iter()
        .filter(|id| !done.contains_key(id))
        .collect();
    assert!(lost.is_empty(), "confirmed and never handled: {lost:?}");
    assert!(expected.len() > 2000, "{}", expected.len());

    let dead_lettered: BTreeSet<Id> = dead
        .iter()
        .map(|letter| match serde_json::from_slice(&letter.record.body) {
            Ok(Move { piece, number }) => ("moves", piece, number),
            Err(_) => {
                let Moved(number) = serde_json::from_slice(&letter.record.body).unwrap();
                let group = GROUPS.into_iter().find(|group| *group == letter.group);
                (group.unwrap(), 0, number)
            }
        })
        .collect();
    assert!(
        dead_lettered.iter().all(|id| is_refused(*id)),
        "{dead_lettered:?}"
    );
    let lost: Vec<_> = refused
        .iter()
        .filter(|id| !dead_lettered.contains(id))
        .collect();
    assert!(lost.is_empty(), "refused and not dead_lettered: {lost:?}");

    // A message that was handled again was not acknowledged by its first worker.
    let twice = done.values().filter(|workers| workers.len() > 1);
    let twice: Vec<_> = twice.collect();
    for workers in &twice {
        let (_, earlier) = workers.split_last().unwrap();
        assert!(
            earlier.iter().all(|worker| seen.killed.contains(worker)),
            "handled by {workers:?}, of which {:?} were killed",
            seen.killed
        );
    }
    println!(
        "{} confirmed, {} handled by {} workers, {} of them twice, {} killed",
        seen.confirmed.len(),
        done.len(),
        seen.workers,
        twice.len(),
        seen.killed.len()
    );

    for piece in 0..PIECES {
        let mut first = BTreeSet::new();
        let moves = seen.done.iter().map(|(id, _)| *id);
        let numbers: Vec<u32> = moves
            .filter(|id| id.0 == "moves" && id.1 == piece && first.insert(*id))
            .map(|id| id.2)
            .collect();
        assert!(numbers.is_sorted(), "piece {piece}: {numbers:?}");
    }
}

#[test]
fn nothing_confirmed_is_lost_and_what_runs_twice_was_in_a_worker_that_was_killed() {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("CHAOS_SEED").unwrap_or_else(|| fastrand::u64(0..1 << 32));
    for seed in first..first + number("CHAOS_RUNS").unwrap_or(1) {
        println!("CHAOS_SEED={seed}");
        fastrand::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let hour = Duration::from_secs(3600);
        let limited = async { tokio::time::timeout(24 * hour, run(seed)).await };
        runtime.block_on(limited).unwrap();
    }
}
