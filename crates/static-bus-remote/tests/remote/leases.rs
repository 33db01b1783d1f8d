//! Leases that run out before the handler of their message begins.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, mpsc},
    thread,
};

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncExecuteCommand, BusError},
    prelude::*,
};
use static_bus_remote::{MemoryBroker, Worker, transport::Kind};
use tokio::sync::oneshot;

use crate::support::{
    Fault, LONG, MS, Op, SECOND, Tell, TestBroker, connect, listen, settled, until,
};

#[derive(Serialize, Deserialize)]
struct Ship {
    port: u32,
    number: u32,
}
command!(Ship, name = "test.ship", key = port);

const SHIP: &str = "test.ship";

/// A bus whose handler reports the number.
fn shipping(tell: Tell<u32>) -> impl AsyncExecuteCommand<Ship> + Send + 'static {
    BusBuilder::new()
        .register_command_fn(move |ship: Ship| tell.send(ship.number).unwrap())
        .build()
}

#[tokio::test(start_paused = true)]
async fn messages_whose_leases_run_out_before_their_handlers_begin_are_left_to_other_workers() {
    let lease = 10 * SECOND;
    let broker = TestBroker::new();
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let bus = BusBuilder::new()
        .register_command_async_fn(move |ship: Ship| {
            tell_one.send(ship.number).unwrap();
            async move {
                tokio::time::sleep(10 * SECOND + 5 * SECOND).await;
                Ok::<_, BusError>(())
            }
        })
        .build();
    let first = Worker::new(broker.clone(), bus)
        .command::<Ship>()
        .configure::<Ship>(|it| it.limit(NonZeroUsize::MIN))
        .lease(lease);
    let first = first.start().await.unwrap();
    let remote = connect(&broker).await;
    // Of two keys and without room for more than one handler.
    let ships = [(1, 0), (1, 1), (2, 2), (1, 3), (2, 4)];
    let ships = ships.map(|(port, number)| Ship { port, number });
    remote.execute_many(ships).await.unwrap();
    assert_eq!(one.next().await, 0);
    broker.break_(|op| op == Op::Renew);
    let second = Worker::new(broker.inner.clone(), shipping(tell_two)).command::<Ship>();
    let second = second.lease(lease).start().await.unwrap();
    tokio::time::sleep(lease + SECOND).await;
    broker.mend();
    tokio::time::sleep(LONG).await;
    settled(&broker, Kind::Command, SHIP, "handlers").await;
    first.shutdown(LONG).await;
    second.shutdown(LONG).await;
    let mut all = [one.rest(), two.rest()].concat();
    all.sort_unstable();
    // The handler of the first runs in both: it has begun, and has lost its lease.
    assert_eq!(all, [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_lease_runs_out_is_not_overtaken_by_the_next_of_its_key_that_is_being_received()
 {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let bus = BusBuilder::new()
        .register_command_async_fn(move |ship: Ship| {
            tell.send(ship.number).unwrap();
            async move {
                if ship.number == 0 {
                    tokio::time::sleep(12 * SECOND).await;
                }
                Ok::<_, BusError>(())
            }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .command::<Ship>()
        .concurrency(NonZeroUsize::MIN)
        .lease(10 * SECOND);
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await;
    let ship = |port, number| Ship { port, number };
    remote.execute_async(ship(0, 0)).await.unwrap();
    assert_eq!(heard.next().await, 0);
    // The first of the other port waits for this handler for longer than its lease, which is not renewed.
    broker.break_(|op| op == Op::Renew);
    remote.execute_async(ship(1, 1)).await.unwrap();
    tokio::time::sleep(4 * SECOND).await;
    // The key of the next is claimed when the first has been given back.
    broker.rule(|op| match op {
        Op::Renew => Fault::Before,
        Op::Claim => Fault::Late(9 * SECOND),
        _ => Fault::None,
    });
    remote.execute_async(ship(1, 2)).await.unwrap();
    until("it is being claimed", async || broker.items(Op::Claim) == 3).await;
    tokio::time::sleep(7 * SECOND).await;
    assert_eq!(broker.calls(Op::Release), 0);
    broker.mend();
    assert_eq!(heard.take(2).await, [1, 2]);
    settled(&broker, Kind::Command, SHIP, "handlers").await;
    worker.shutdown(LONG).await;
    heard.is_silent();
}

#[test]
fn messages_behind_a_handler_that_blocks_the_runtime_for_longer_than_a_lease_run_once() {
    let broker = MemoryBroker::new();
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let (release, released) = mpsc::channel::<()>();
    let (stop, stopped) = oneshot::channel::<()>();
    let released = Mutex::new(released);
    let lease = 300 * MS;
    let bus = BusBuilder::new()
        .register_command_fn(move |ship: Ship| {
            tell_one.send(ship.number).unwrap();
            _ = released.lock().unwrap().recv();
        })
        .build();
    let first = Worker::new(broker.clone(), bus).command::<Ship>();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    runtime().unwrap().block_on(async {
        let remote = connect(&broker).await;
        let ships = (0..8).map(|number| Ship {
            port: number,
            number,
        });
        remote.execute_many(ships).await.unwrap();
        let blocked = thread::spawn(move || {
            runtime().unwrap().block_on(async {
                let worker = first.lease(lease).start().await.unwrap();
                until("it is blocked, and tells so", async || {
                    let health = worker.health().await;
                    let reason = "command test.ship: leases were renewed late: by ";
                    health.reasons.iter().any(|text| text.starts_with(reason))
                })
                .await;
                _ = stopped.await;
                worker.shutdown(LONG).await;
            });
        });
        assert_eq!(one.next().await, 0);
        let second = Worker::new(broker.clone(), shipping(tell_two)).command::<Ship>();
        let second = second.start().await.unwrap();
        let mut others = two.take(8).await;
        others.sort_unstable();
        assert_eq!(
            others,
            [0, 1, 2, 3, 4, 5, 6, 7],
            "when the leases had run out"
        );
        drop(release);
        settled(&broker, Kind::Command, SHIP, "handlers").await;
        _ = stop.send(());
        blocked.join().unwrap();
        second.shutdown(LONG).await;
        one.is_silent();
        two.is_silent();
    });
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_was_held_up_shows_in_the_health_for_a_lease() {
    let lease = 30 * SECOND;
    let broker = TestBroker::new();
    let (tell, _heard) = listen();
    let worker = Worker::new(broker.clone(), shipping(tell)).command::<Ship>();
    let worker = worker.lease(lease).start().await.unwrap();
    // It renews after 10 s. A slow renewal is no delay of the runtime.
    broker.rule(|op| match op {
        Op::Renew => Fault::Late(15 * SECOND),
        _ => Fault::None,
    });
    tokio::time::sleep(LONG).await;
    assert!(worker.health().await.ready);
    tokio::time::advance(22 * SECOND).await;
    tokio::time::sleep(MS).await;
    let health = worker.health().await;
    assert!(!health.ready && health.live);
    let [reason] = &health.reasons[..] else {
        panic!("{health:?}");
    };
    let begin = "command test.ship: leases were renewed late: by ";
    let end = ", because the process was suspended, or handlers block the threads of the runtime: run blocking code \
               with `tokio::task::spawn_blocking`";
    assert!(
        reason.starts_with(begin) && reason.ends_with(end),
        "{reason}"
    );
    tokio::time::sleep(2 * lease).await;
    assert!(worker.health().await.ready);
    worker.shutdown(LONG).await;
}
