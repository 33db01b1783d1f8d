//! The order of keys, and concurrency across keys.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncExecuteCommand, BusError},
    prelude::*,
};
use static_bus_remote::{MemoryBroker, TransportErrorKind, Worker, transport::Kind};
use tokio::{sync::Semaphore, time::Instant};

use crate::support::{
    Fault, Gauge, LONG, MS, Op, SECOND, TestBroker, connect, end_three_members, letters, listen,
    quick, settled, until,
};

#[derive(Serialize, Deserialize, Debug, Clone, Copy)]
struct Step {
    thing: u32,
    number: u32,
}
command!(Step, name = "test.step", key = thing);

#[derive(Serialize, Deserialize)]
struct Free(u32);
command!(Free, name = "test.free");

/// The handled messages by key. Detects two concurrent handlers of one key.
#[derive(Clone, Default)]
struct Log {
    done: Arc<Mutex<BTreeMap<u32, Vec<u32>>>>,
    inside: Arc<Mutex<BTreeMap<u32, Gauge>>>,
}
impl Log {
    fn enter(&self, thing: u32) -> crate::support::Inside {
        self.inside
            .lock()
            .unwrap()
            .entry(thing)
            .or_default()
            .enter()
    }
    fn done(&self, step: Step) {
        let mut done = self.done.lock().unwrap();
        done.entry(step.thing).or_default().push(step.number);
    }
    fn assert_in_order(&self, things: u32, numbers: u32) {
        let done = self.done.lock().unwrap();
        assert_eq!(done.len(), things as usize);
        for (thing, steps) in &*done {
            assert_eq!(*steps, (0..numbers).collect::<Vec<_>>(), "of {thing}");
        }
        for (thing, gauge) in &*self.inside.lock().unwrap() {
            assert_eq!(gauge.most(), 1, "two of {thing} ran at a time");
        }
    }
}

/// Takes a random time, and fails at random.
fn stepping(log: &Log, failing: f64) -> impl AsyncExecuteCommand<Step> + Send + 'static {
    let log = log.clone();
    BusBuilder::new()
        .register_command_async_fn(move |step: Step| {
            let log = log.clone();
            async move {
                let _inside = log.enter(step.thing);
                if fastrand::bool() {
                    tokio::time::sleep(MS * fastrand::u32(0..5)).await;
                }
                if fastrand::f64() < failing {
                    return Err(BusError::rejected::<Step>("at random"));
                }
                log.done(step);
                Ok(())
            }
        })
        .build()
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_key_are_handled_in_order_by_several_workers_and_with_retries() {
    let (broker, log) = (MemoryBroker::new(), Log::default());
    let remote = connect(&broker).await;
    let mut workers = Vec::new();
    for _ in 0..4 {
        let worker = Worker::new(broker.clone(), stepping(&log, 0.2));
        let worker = worker.command::<Step>().retries(quick(100));
        workers.push(worker.start().await.unwrap());
    }
    for number in 0..60 {
        let steps = (0..16).map(|thing| Step { thing, number });
        remote.execute_many(steps).await.unwrap();
        if number % 10 == 0 {
            tokio::time::sleep(20 * MS).await;
        }
    }
    settled(&broker, Kind::Command, "test.step", "handlers").await;
    log.assert_in_order(16, 60);
    assert_eq!(letters(&broker).await.len(), 0);
    drop(workers);
}

#[tokio::test(start_paused = true)]
async fn the_order_of_a_key_holds_when_workers_come_and_go() {
    let (broker, log) = (MemoryBroker::new(), Log::default());
    let remote = connect(&broker).await;
    let steps = (0..60).flat_map(|number| (0..16).map(move |thing| Step { thing, number }));
    remote.execute_many(steps).await.unwrap();
    let start = async || {
        let worker = Worker::new(broker.clone(), stepping(&log, 0.1));
        let worker = worker.command::<Step>().retries(quick(100));
        worker.start().await.unwrap()
    };
    let mut workers = vec![start().await, start().await];
    for _ in 0..20 {
        tokio::time::sleep(5 * MS).await;
        workers.push(start().await);
        workers.remove(0).shutdown(LONG).await;
    }
    settled(&broker, Kind::Command, "test.step", "handlers").await;
    log.assert_in_order(16, 60);
    drop(workers);
}

#[tokio::test(start_paused = true)]
async fn the_order_of_a_key_holds_when_a_release_fails_at_the_intake() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let remote = connect(&broker).await;
    for number in 0..3 {
        remote
            .execute_async(Step { thing: 7, number })
            .await
            .unwrap();
    }
    end_three_members(&broker.inner, "test.step").await;
    broker.fail(Op::Release, TransportErrorKind::Unreachable, 3);
    let bus = BusBuilder::new()
        .register_command_fn(move |step: Step| tell.send(step.number).unwrap())
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Step>();
    let worker = worker.start().await.unwrap();
    assert_eq!(heard.next().await, 0);
    let last = Step {
        thing: 7,
        number: 3,
    };
    remote.execute_async(last).await.unwrap();
    assert_eq!(heard.take(3).await, [1, 2, 3]);
    assert!(broker.calls(Op::Release) > 1);
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn two_calls_of_the_broker_run_at_a_time_but_one_for_each_ordering_key() {
    let broker = TestBroker::new();
    let remote = connect(&broker).await;
    broker.rule(|op| match op {
        Op::Append(_) => Fault::Late(SECOND),
        _ => Fault::None,
    });
    let step = |number| Step { thing: 1, number };
    let start = Instant::now();
    let later = async {
        tokio::time::sleep(MS).await;
        remote.execute_async(Free(2)).await
    };
    let (first, second) = tokio::join!(remote.execute_async(Free(1)), later);
    first.and(second).unwrap();
    assert_eq!(start.elapsed(), SECOND + MS);

    let later = async {
        tokio::time::sleep(MS).await;
        remote.execute_async(step(2)).await
    };
    let (first, second) = tokio::join!(remote.execute_async(step(1)), later);
    first.and(second).unwrap();
    assert_eq!(start.elapsed(), 3 * SECOND + MS);
}

#[tokio::test(start_paused = true)]
async fn messages_without_a_key_and_of_different_keys_run_side_by_side() {
    let (broker, inside) = (MemoryBroker::new(), Gauge::default());
    let go = Arc::new(Semaphore::new(0));
    let wait = |inside: &Gauge, go: &Arc<Semaphore>| {
        let (inside, go) = (inside.enter(), go.clone());
        async move {
            go.acquire().await.unwrap().forget();
            drop(inside);
            Ok(())
        }
    };
    let ((one, gate), (other, gate2)) =
        ((inside.clone(), go.clone()), (inside.clone(), go.clone()));
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Free| wait(&one, &gate))
        .register_command_async_fn(move |_: Step| wait(&other, &gate2))
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .command::<Free>()
        .command::<Step>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await;
    remote.execute_many((0..50).map(Free)).await.unwrap();
    let steps = (0..50).map(|n| Step {
        thing: n % 25,
        number: n,
    });
    remote.execute_many(steps).await.unwrap();
    until("all that may run are running", async || inside.now() == 75).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(inside.most(), 75);
    go.add_permits(100);
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_message_holds_up_its_key_only_however_many_wait_behind_it() {
    let (broker, (tell, mut heard)) = (MemoryBroker::new(), listen());
    let bus = BusBuilder::new()
        .register_command_async_fn(move |step: Step| {
            let tell = tell.clone();
            async move {
                // Not at once, so the lane does not receive many.
                tokio::time::sleep(MS).await;
                match step.thing {
                    0 => Err(BusError::rejected::<Step>("never")),
                    thing => {
                        tell.send(thing).unwrap();
                        Ok(())
                    }
                }
            }
        })
        .build();
    let retries = static_bus_remote::RetryPolicy {
        max_attempts: 1000,
        initial_delay: LONG,
        max_delay: LONG,
    };
    let worker = Worker::new(broker.clone(), bus).command::<Step>();
    let worker = worker.retries(retries).start().await.unwrap();
    let remote = connect(&broker).await;
    let stuck = (0..3000).map(|number| Step { thing: 0, number });
    remote.execute_many(stuck).await.unwrap();
    let others = (0..100).map(|number| Step {
        thing: 1 + number % 10,
        number,
    });
    remote.execute_many(others).await.unwrap();
    heard.take(100).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handlers_that_block_a_thread_do_not_stop_other_types() {
    let (broker, (tell, mut heard)) = (MemoryBroker::new(), listen());
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let bus = BusBuilder::new()
        .register_command_fn(move |_: Step| {
            while !stopped.load(std::sync::atomic::Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        })
        .register_command_fn(move |free: Free| tell.send(free.0).unwrap())
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .command::<Step>()
        .configure::<Step>(|it| it.limit(std::num::NonZeroUsize::MIN))
        .command::<Free>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await;
    let steps = (0..5).map(|thing| Step { thing, number: 0 });
    remote.execute_many(steps).await.unwrap();
    for round in 0..5 {
        remote
            .execute_many((0..100).map(|n| Free(100 * round + n)))
            .await
            .unwrap();
        heard.take(100).await;
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    settled(&broker, Kind::Command, "test.step", "handlers").await;
    worker.shutdown(LONG).await;
}
