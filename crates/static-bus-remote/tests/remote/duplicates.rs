//! At least once, and once if duplicates are recognised: leases, claims, idempotency keys.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncExecuteCommand, BusError},
    prelude::*,
};
use static_bus_remote::{Worker, WorkerHandle, transport::Kind};
use tokio::{sync::Semaphore, time::Instant};

use crate::support::{
    Fault, LONG, MS, Op, SECOND, Tell, TestBroker, connect, dead_lettered, letters, listen, quick,
    settled, until,
};

#[derive(Serialize, Deserialize)]
struct Ship(u32);
command!(Ship, name = "test.ship");

const SHIP: &str = "test.ship";

#[derive(Serialize, Deserialize)]
struct Load {
    ship: u32,
    number: u32,
}
command!(Load, name = "test.load", key = ship);

/// A worker that reports the loaded items.
async fn start_loading(broker: &TestBroker, tell: Tell<u32>) -> WorkerHandle<TestBroker> {
    let bus = BusBuilder::new()
        .register_command_fn(move |load: Load| tell.send(load.number).unwrap())
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Load>();
    worker.start().await.unwrap()
}

async fn all_loaded(broker: &TestBroker) {
    settled(broker, Kind::Command, "test.load", "handlers").await;
}

async fn all_shipped(broker: &TestBroker) {
    settled(broker, Kind::Command, SHIP, "handlers").await;
}

/// A bus whose handler reports the shipped item, and then returns the given result.
fn shipping<F, Done>(tell: Tell<u32>, then: F) -> impl AsyncExecuteCommand<Ship> + Send + 'static
where
    F: Fn(u32) -> Done + Send + Sync + 'static,
    Done: Future<Output = Result<(), BusError>> + Send + 'static,
{
    BusBuilder::new()
        .register_command_async_fn(move |ship: Ship| {
            tell.send(ship.0).unwrap();
            then(ship.0)
        })
        .build()
}

async fn start<B>(
    broker: &TestBroker,
    bus: B,
    change: impl FnOnce(Worker<TestBroker, B>) -> Worker<TestBroker, B>,
) -> WorkerHandle<TestBroker>
where
    B: AsyncExecuteCommand<Ship> + Send + 'static,
{
    let worker = Worker::new(broker.clone(), bus).command::<Ship>();
    change(worker.retries(quick(5))).start().await.unwrap()
}

async fn well(_: u32) -> Result<(), BusError> {
    Ok(())
}

// ----- acknowledged when the handler has succeeded

#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_when_its_handler_has_succeeded_and_not_before() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let go = Arc::new(Semaphore::new(0));
    let gate = go.clone();
    let bus = shipping(tell, move |_| {
        let go = gate.clone();
        async move {
            go.acquire().await.unwrap().forget();
            Ok(())
        }
    });
    let worker = start(&broker, bus, |worker| worker).await;
    connect(&broker).await.execute_async(Ship(1)).await.unwrap();
    heard.next().await;
    tokio::time::sleep(LONG).await;
    assert_eq!(broker.calls(Op::Acknowledge), 0);
    go.add_permits(1);
    all_shipped(&broker).await;
    assert_eq!(broker.items(Op::Acknowledge), 1);
    worker.shutdown(LONG).await;
    heard.is_silent();
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_are_batched() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    connect(&broker)
        .await
        .execute_many((0..1000).map(Ship))
        .await
        .unwrap();
    let worker = start(&broker, shipping(tell, well), |worker| worker).await;
    heard.take(1000).await;
    all_shipped(&broker).await;
    assert_eq!(broker.items(Op::Acknowledge), 1000);
    let calls = broker.calls(Op::Acknowledge);
    // Two batches are received, and a part of each may be acknowledged before the rest.
    assert!(calls <= 4, "{calls} calls");
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn messages_are_handled_while_others_wait_to_be_acknowledged() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    broker.break_(|op| op == Op::Acknowledge);
    let worker = start(&broker, shipping(tell, well), |worker| worker).await;
    let remote = connect(&broker).await;
    remote.execute_many((0..5_000).map(Ship)).await.unwrap();
    heard.take(5_000).await;
    broker.mend();
    all_shipped(&broker).await;
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_that_fails_is_tried_until_it_succeeds_and_nothing_runs_twice() {
    for fault in [Fault::Before, Fault::After] {
        let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
        broker.rule(move |op| match op {
            Op::Acknowledge => fault,
            _ => Fault::None,
        });
        let worker = start(&broker, shipping(tell, well), |w| w.lease(SECOND)).await;
        connect(&broker).await.execute_async(Ship(1)).await.unwrap();
        heard.next().await;
        tokio::time::sleep(LONG).await;
        let calls = broker.calls(Op::Acknowledge);
        assert!((10..1000).contains(&calls), "{calls} attempts in a minute");
        broker.mend();
        all_shipped(&broker).await;
        worker.shutdown(LONG).await;
        heard.is_silent();
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_received_again_when_the_connection_is_back() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let worker = start(&broker, shipping(tell, well), |worker| worker).await;
    broker.break_(|op| op == Op::Receive(Kind::Command));
    tokio::time::sleep(10 * SECOND).await;
    let calls = broker.calls(Op::Receive(Kind::Command));
    tokio::time::sleep(10 * SECOND).await;
    let calls = broker.calls(Op::Receive(Kind::Command)) - calls;
    assert!((4..=100).contains(&calls), "{calls} attempts in 10 s");
    connect(&broker).await.execute_async(Ship(1)).await.unwrap();
    broker.mend();
    assert_eq!(heard.next().await, 1);
    drop(worker);
}

// ----- leases

#[tokio::test(start_paused = true)]
async fn a_handler_that_outlasts_the_lease_runs_once_and_is_tried_again_if_it_then_fails() {
    let broker = TestBroker::new();
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let fails = Arc::new(AtomicBool::new(true));
    let bus = |tell| {
        let fails = fails.clone();
        shipping(tell, move |_| {
            let fails = fails.clone();
            async move {
                tokio::time::sleep(10 * SECOND).await;
                match fails.swap(false, Ordering::SeqCst) {
                    true => Err(BusError::rejected::<Ship>("no wind")),
                    false => Ok(()),
                }
            }
        })
    };
    let first = start(&broker, bus(tell_one), |w| w.lease(SECOND)).await;
    let second = start(&broker, bus(tell_two), |w| w.lease(SECOND)).await;
    connect(&broker).await.execute_async(Ship(1)).await.unwrap();
    all_shipped(&broker).await;
    first.shutdown(LONG).await;
    second.shutdown(LONG).await;
    let (one, two) = (one.rest().len(), two.rest().len());
    assert_eq!(one + two, 2, "once it failed, and once it succeeded");
    assert!(one == 0 || two == 0, "the one that had it kept it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_longer_than_the_lease_runs_once() {
    // A renewal may be late by four seconds.
    let lease = 6 * SECOND;
    let broker = TestBroker::new();
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let bus = |tell: Tell<u32>| {
        let renewing = broker.clone();
        BusBuilder::new()
            .register_command_fn(move |ship: Ship| {
                tell.send(ship.0).unwrap();
                // For longer than the lease: it is renewed three times in its length.
                while ship.0 == 0 && renewing.calls(Op::Renew) < 4 {
                    std::thread::sleep(MS);
                }
            })
            .build()
    };
    let first = start(&broker, bus(tell_one), |w| w.lease(lease)).await;
    connect(&broker)
        .await
        .execute_many((0..2).map(Ship))
        .await
        .unwrap();
    one.next().await;
    let second = start(&broker, bus(tell_two), |w| w.lease(lease)).await;
    all_shipped(&broker).await;
    first.shutdown(LONG).await;
    second.shutdown(LONG).await;
    let mut all = [one.rest(), two.rest()].concat();
    all.push(0);
    all.sort();
    assert_eq!(all, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn ten_messages_with_slow_handlers_and_a_short_lease_run_exactly_ten_times() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let mut workers = Vec::new();
    for _ in 0..3 {
        let bus = shipping(tell.clone(), |_| async {
            tokio::time::sleep(SECOND).await;
            Ok(())
        });
        let two = std::num::NonZeroUsize::new(2).unwrap();
        let worker = start(&broker, bus, |w| {
            w.lease(100 * MS).configure::<Ship>(|it| it.limit(two))
        });
        workers.push(worker.await);
    }
    connect(&broker)
        .await
        .execute_many((0..10).map(Ship))
        .await
        .unwrap();
    all_shipped(&broker).await;
    for worker in workers {
        worker.shutdown(LONG).await;
    }
    let mut all = heard.rest();
    all.sort();
    assert_eq!(all, (0..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_done_is_renewed_no_more() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let bus = shipping(tell, |number| async move {
        match number % 10 {
            0 => Err(BusError::refused::<Ship>("never")),
            _ => Ok(()),
        }
    });
    let worker = start(&broker, bus, |w| w.lease(3 * SECOND)).await;
    let remote = connect(&broker).await;
    remote.execute_many((0..1000).map(Ship)).await.unwrap();
    heard.take(1000).await;
    all_shipped(&broker).await;
    let renewed = broker.calls(Op::Renew);
    tokio::time::sleep(LONG).await;
    assert_eq!(broker.calls(Op::Renew), renewed);
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_worker_takes_in_no_more_than_twice_what_it_may_run() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let bus = shipping(tell, |_| std::future::pending());
    let two = std::num::NonZeroUsize::new(2).unwrap();
    let worker = start(&broker, bus, |w| w.configure::<Ship>(|it| it.limit(two))).await;
    let remote = connect(&broker).await;
    remote.execute_many((0..1000).map(Ship)).await.unwrap();
    heard.take(2).await;
    tokio::time::sleep(LONG).await;
    assert_eq!(broker.items(Op::Claim), 4);
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_tried_again_before_the_lease_runs_out() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let mut turn = 0;
    // Of each six renewals only the last succeeds.
    broker.rule(move |op| match op {
        Op::Renew => {
            turn += 1;
            if turn % 6 == 0 {
                Fault::None
            } else {
                Fault::Before
            }
        }
        _ => Fault::None,
    });
    let mut workers = Vec::new();
    for _ in 0..2 {
        let bus = shipping(tell.clone(), |_| async {
            tokio::time::sleep(10 * LONG).await;
            Ok(())
        });
        workers.push(start(&broker, bus, |w| w.lease(30 * SECOND)).await);
    }
    connect(&broker).await.execute_async(Ship(1)).await.unwrap();
    heard.next().await;
    tokio::time::sleep(11 * LONG).await;
    all_shipped(&broker).await;
    heard.is_silent();
    drop(workers);
}

// ----- duplicates

#[tokio::test(start_paused = true)]
async fn of_two_messages_with_one_key_one_is_handled_also_by_several_workers_at_once() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let remote = connect(&broker).await;
    for n in 0..100 {
        let keyed = remote.with_idempotency_key(format!("order {n}"));
        for _ in 0..3 {
            keyed.execute_async(Ship(n)).await.unwrap();
        }
    }
    let mut workers = Vec::new();
    for _ in 0..3 {
        let one = std::num::NonZeroUsize::new(8).unwrap();
        let bus = shipping(tell.clone(), |_| async {
            tokio::time::sleep(10 * MS).await;
            Ok(())
        });
        workers.push(start(&broker, bus, |w| w.configure::<Ship>(|it| it.limit(one))).await);
    }
    all_shipped(&broker).await;
    let mut all = heard.rest();
    all.sort();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    // Also later.
    remote
        .with_idempotency_key("order 7")
        .execute_async(Ship(7))
        .await
        .unwrap();
    all_shipped(&broker).await;
    heard.is_silent();
    drop(workers);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_waits_for_the_first_and_is_dropped_when_that_succeeds() {
    let broker = TestBroker::new();
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let go = Arc::new(Semaphore::new(0));
    let bus = |tell| {
        let go = go.clone();
        shipping(tell, move |_| {
            let go = go.clone();
            async move {
                go.acquire().await.unwrap().forget();
                Ok(())
            }
        })
    };
    let first = start(&broker, bus(tell_one), |worker| worker).await;
    let keyed = connect(&broker).await.with_idempotency_key("order 7");
    keyed.execute_async(Ship(1)).await.unwrap();
    one.next().await;
    // Much longer than a lease; the first worker is idle otherwise.
    let second = start(&broker, bus(tell_two), |worker| worker).await;
    keyed.execute_async(Ship(2)).await.unwrap();
    tokio::time::sleep(2 * LONG).await;
    one.is_silent();
    two.is_silent();
    assert_eq!(broker.calls(Op::Acknowledge), 0, "both are still there");
    go.add_permits(2);
    all_shipped(&broker).await;
    first.shutdown(LONG).await;
    second.shutdown(LONG).await;
    one.is_silent();
    two.is_silent();
}

#[tokio::test(start_paused = true)]
async fn when_the_first_cannot_be_handled_its_duplicate_gets_its_turn() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let bus = shipping(tell, |number| async move {
        match number {
            1 => Err(BusError::refused::<Ship>("no such order")),
            _ => Ok(()),
        }
    });
    let worker = start(&broker, bus, |worker| worker).await;
    let keyed = connect(&broker).await.with_idempotency_key("order 7");
    for number in 1..4 {
        keyed.execute_async(Ship(number)).await.unwrap();
    }
    assert_eq!(heard.take(2).await, [1, 2]);
    all_shipped(&broker).await;
    assert_eq!(dead_lettered(&broker, 1).await.len(), 1);
    worker.shutdown(LONG).await;
    heard.is_silent();
}

#[tokio::test(start_paused = true)]
async fn when_the_worker_of_the_first_is_killed_its_duplicate_and_it_run_once() {
    let broker = TestBroker::new();
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let stuck = shipping(tell_one, |_| std::future::pending());
    let first = start(&broker, stuck, |worker| worker).await;
    let keyed = connect(&broker).await.with_idempotency_key("order 7");
    keyed.execute_async(Ship(1)).await.unwrap();
    one.next().await;
    let second = start(&broker, shipping(tell_two, well), |worker| worker).await;
    keyed.execute_async(Ship(1)).await.unwrap();
    drop(first);
    assert_eq!(two.next().await, 1);
    all_shipped(&broker).await;
    second.shutdown(LONG).await;
    two.is_silent();
    assert_eq!(letters(&broker).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_deduplication_a_duplicate_is_handled_too() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let bus = shipping(tell, well);
    let worker = start(&broker, bus, |worker| worker.deduplication(None)).await;
    let keyed = connect(&broker).await.with_idempotency_key("order 7");
    for _ in 0..2 {
        keyed.execute_async(Ship(1)).await.unwrap();
    }
    assert_eq!(heard.take(2).await, [1, 1]);
    all_shipped(&broker).await;
    assert_eq!(broker.calls(Op::Claim), 0);
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn keys_are_remembered_as_long_as_it_says_and_for_each_message_type() {
    #[derive(Serialize, Deserialize)]
    struct Bill(u32);
    command!(Bill, name = "test.bill");
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let other = tell.clone();
    let bus = BusBuilder::new()
        .register_command_fn(move |ship: Ship| tell.send(ship.0).unwrap())
        .register_command_fn(move |bill: Bill| other.send(100 + bill.0).unwrap())
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .command::<Ship>()
        .command::<Bill>()
        .deduplication(LONG)
        .start()
        .await
        .unwrap();
    let keyed = connect(&broker).await.with_idempotency_key("order 7");
    keyed.execute_async(Ship(1)).await.unwrap();
    keyed.execute_async(Bill(1)).await.unwrap();
    let mut both = heard.take(2).await;
    both.sort();
    assert_eq!(both, [1, 101]);
    tokio::time::sleep(LONG / 2).await;
    keyed.execute_async(Ship(2)).await.unwrap();
    tokio::time::sleep(LONG).await;
    keyed.execute_async(Ship(3)).await.unwrap();
    assert_eq!(heard.next().await, 3);
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn while_nothing_can_be_claimed_nothing_is_handled_and_nothing_lost() {
    for fault in [Fault::Before, Fault::After] {
        let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
        broker.rule(move |op| match op {
            Op::Claim => fault,
            _ => Fault::None,
        });
        let worker = start(&broker, shipping(tell, well), |w| w.lease(4 * SECOND)).await;
        let remote = connect(&broker).await;
        remote.execute_many((0..10).map(Ship)).await.unwrap();
        tokio::time::sleep(LONG).await;
        heard.is_silent();
        let calls = broker.calls(Op::Claim);
        assert!((10..1000).contains(&calls), "{calls} attempts in a minute");
        broker.mend();
        let mut all = heard.take(10).await;
        all.sort();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        all_shipped(&broker).await;
        drop(worker);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_key_that_could_not_be_claimed_do_not_wait_once_more_each() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    broker.break_(|op| op == Op::Claim);
    let worker = start_loading(&broker, tell).await;
    let loads = (0..100).map(|number| Load { ship: 1, number });
    connect(&broker).await.execute_many(loads).await.unwrap();
    until("they are in", async || broker.items(Op::Claim) >= 100).await;
    broker.mend();
    let mended = Instant::now();
    assert_eq!(heard.take(100).await, (0..100).collect::<Vec<_>>());
    let took = mended.elapsed();
    assert!(took < 10 * SECOND, "{took:?}");
    all_loaded(&broker).await;
    worker.shutdown(LONG).await;
    heard.is_silent();
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_its_duplicate_does_not_hold_it_up() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let mut failed = false;
    broker.rule(move |op| match op {
        Op::Claim if !std::mem::replace(&mut failed, true) => Fault::Before,
        _ => Fault::None,
    });
    let worker = start_loading(&broker, tell).await;
    let remote = connect(&broker).await;
    let load = |number| Load { ship: 1, number };
    let keyed = remote.with_idempotency_key("the first");
    keyed.execute_async(load(1)).await.unwrap();
    until("it is in", async || broker.calls(Op::Claim) == 1).await;
    // The claim of the key is granted to this one, which must wait behind the other.
    remote.execute_async(load(2)).await.unwrap();
    keyed.execute_async(load(1)).await.unwrap();
    remote.execute_async(load(3)).await.unwrap();
    assert_eq!(heard.take(3).await, [1, 2, 3]);
    all_loaded(&broker).await;
    worker.shutdown(LONG).await;
    heard.is_silent();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_keeps_its_claim_until_it_succeeds() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let left = Arc::new(AtomicU32::new(3));
    let begun = Arc::new(Mutex::new(Vec::new()));
    let log = begun.clone();
    let bus = shipping(tell, move |number| {
        log.lock().unwrap().push(number);
        let fails = left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .is_ok();
        async move {
            match fails {
                true => Err(BusError::rejected::<Ship>("no wind")),
                false => Ok(()),
            }
        }
    });
    let worker = start(&broker, bus, |worker| worker).await;
    let keyed = connect(&broker).await.with_idempotency_key("order 7");
    for number in [1, 2] {
        keyed.execute_async(Ship(number)).await.unwrap();
    }
    assert_eq!(heard.take(4).await, [1, 1, 1, 1]);
    all_shipped(&broker).await;
    until("the duplicate is dropped", async || {
        broker.items(Op::Acknowledge) == 2
    })
    .await;
    worker.shutdown(LONG).await;
    assert_eq!(*begun.lock().unwrap(), [1, 1, 1, 1]);
}
