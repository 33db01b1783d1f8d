//! The shutdown of a worker.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncExecuteCommand, BusError},
    prelude::*,
};
use static_bus_remote::{RemoteBus, Worker, WorkerHandle, transport::Kind};
use tokio::{sync::Semaphore, time::Instant};

use crate::support::{
    Fault, Gauge, LONG, MS, Op, SECOND, Tell, TestBroker, connect, letters, listen, quick, settled,
    soon, until,
};

#[derive(Serialize, Deserialize)]
struct Print(u32);
command!(Print, name = "test.print");

#[derive(Serialize, Deserialize)]
struct Ask;
query!(Ask -> u32);

/// A bus whose handler reports its start, and continues when it has a permit.
fn printer(
    tell: Tell<u32>,
    go: Arc<Semaphore>,
    inside: Gauge,
) -> impl AsyncExecuteCommand<Print> + Send + 'static {
    BusBuilder::new()
        .register_command_async_fn(move |print: Print| {
            tell.send(print.0).unwrap();
            let (go, inside) = (go.clone(), inside.enter());
            async move {
                go.acquire().await.unwrap().forget();
                drop(inside);
                Ok(())
            }
        })
        .build()
}

/// A bus whose handler reports its start, and refuses the page.
fn refusing(tell: Tell<u32>) -> impl AsyncExecuteCommand<Print> + Send + 'static {
    BusBuilder::new()
        .register_command_async_fn(move |print: Print| {
            tell.send(print.0).unwrap();
            async { Err(BusError::refused::<Print>("no such page")) }
        })
        .build()
}

async fn start<B>(broker: &TestBroker, bus: B, limit: usize) -> WorkerHandle<TestBroker>
where
    B: AsyncExecuteCommand<Print> + Send + 'static,
{
    let worker = Worker::new(broker.clone(), bus)
        .command::<Print>()
        .configure::<Print>(|it| it.limit(NonZeroUsize::new(limit).unwrap()));
    worker.start().await.unwrap()
}

fn gate(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits))
}

async fn print(remote: &RemoteBus<TestBroker>, pages: impl Iterator<Item = u32>) {
    remote.execute_many(pages.map(Print)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_runs_finishes_and_what_waits_is_handled_by_another_worker_at_once() {
    let broker = TestBroker::new();
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let go = gate(0);
    let first = start(&broker, printer(tell_one, go.clone(), Gauge::default()), 2).await;
    print(&connect(&broker).await, 0..10).await;
    assert_eq!(one.take(2).await, [0, 1]);

    let begun = Instant::now();
    let shutdown = tokio::spawn(first.shutdown(LONG));
    let second = start(&broker, printer(tell_two, gate(100), Gauge::default()), 2).await;
    let mut others = two.take(8).await;
    others.sort();
    assert_eq!(others, (2..10).collect::<Vec<_>>());
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    assert!(!shutdown.is_finished(), "two are running");

    go.add_permits(2);
    let left = soon("the first worker stops", shutdown).await.unwrap();
    assert_eq!((left.finished, left.cancelled, left.released), (2, 0, 2));
    settled(&broker, Kind::Command, "test.print", "handlers").await;
    one.is_silent();
    two.is_silent();
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn what_is_being_claimed_is_handled_by_another_worker_at_once() {
    let broker = TestBroker::new();
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let go = gate(0);
    let first = start(&broker, printer(tell_one, go.clone(), Gauge::default()), 2).await;
    let remote = connect(&broker).await;
    print(&remote, 0..1).await;
    assert_eq!(one.next().await, 0);
    broker.rule(|op| match op {
        Op::Claim => Fault::Late(100 * MS),
        _ => Fault::None,
    });
    print(&remote, 1..3).await;
    until("two are being claimed", async || {
        broker.items(Op::Claim) == 3
    })
    .await;

    let begun = Instant::now();
    let shutdown = tokio::spawn(first.shutdown(LONG));
    let second = start(&broker, printer(tell_two, gate(100), Gauge::default()), 2).await;
    assert_eq!(two.take(2).await, [1, 2]);
    assert!(begun.elapsed() < 5 * SECOND, "{:?}", begun.elapsed());
    assert!(!shutdown.is_finished(), "one is running");
    go.add_permits(1);
    let left = soon("the first worker stops", shutdown).await.unwrap();
    assert_eq!((left.finished, left.cancelled, left.released), (1, 0, 2));
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn what_still_runs_at_the_deadline_is_cancelled_and_handled_by_another_worker() {
    let broker = TestBroker::new();
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let inside = Gauge::default();
    let first = start(&broker, printer(tell_one, gate(1), inside.clone()), 3).await;
    print(&connect(&broker).await, 0..3).await;
    one.take(3).await;
    until("one has finished", async || inside.now() == 2).await;

    let begun = Instant::now();
    let left = first.shutdown(10 * SECOND).await;
    assert!(begun.elapsed() >= 10 * SECOND);
    assert_eq!(inside.now(), 0, "the handlers were dropped");
    assert_eq!((left.finished, left.cancelled, left.released), (0, 2, 0));

    let second = start(&broker, printer(tell_two, gate(100), Gauge::default()), 3).await;
    assert_eq!(two.take(2).await, [1, 2]);
    assert!(begun.elapsed() < 15 * SECOND, "{:?}", begun.elapsed());
    settled(&broker, Kind::Command, "test.print", "handlers").await;
    two.is_silent();
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_worker_may_be_given_all_the_time_there_is() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let go = gate(0);
    let worker = start(&broker, printer(tell, go.clone(), Gauge::default()), 2).await;
    print(&connect(&broker).await, 0..1).await;
    heard.next().await;
    let shutdown = tokio::spawn(worker.shutdown(Duration::MAX));
    tokio::time::sleep(100 * LONG).await;
    assert!(!shutdown.is_finished());
    go.add_permits(1);
    let left = soon("the worker stops", shutdown).await.unwrap();
    assert_eq!((left.finished, left.cancelled), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_stops_at_once() {
    let (broker, (tell, _heard)) = (TestBroker::new(), listen());
    let worker = start(&broker, printer(tell, gate(0), Gauge::default()), 2).await;
    tokio::time::sleep(SECOND).await;
    let begun = Instant::now();
    assert_eq!(worker.shutdown(LONG).await, Default::default());
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    assert_eq!(broker.calls(Op::Close), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_dropped_stops_and_its_messages_are_handled_when_their_leases_run_out() {
    let broker = TestBroker::new();
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let inside = Gauge::default();
    let first = start(&broker, printer(tell_one, gate(0), inside.clone()), 2).await;
    print(&connect(&broker).await, 0..4).await;
    one.take(2).await;
    drop(first);
    until("the handlers are dropped", async || inside.now() == 0).await;
    let begun = Instant::now();
    let second = start(&broker, printer(tell_two, gate(100), Gauge::default()), 2).await;
    let mut all = two.take(4).await;
    all.sort();
    assert_eq!(all, [0, 1, 2, 3]);
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
    one.is_silent();
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_while_its_worker_stops_is_tried_by_another() {
    let broker = TestBroker::new();
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let go = gate(0);
    let gone = go.clone();
    let bus = BusBuilder::new()
        .register_command_async_fn(move |print: Print| {
            tell_one.send(print.0).unwrap();
            let go = gone.clone();
            async move {
                go.acquire().await.unwrap().forget();
                Err(BusError::rejected::<Print>("no paper"))
            }
        })
        .build();
    let first = start(&broker, bus, 2).await;
    print(&connect(&broker).await, 0..1).await;
    one.next().await;
    let shutdown = tokio::spawn(first.shutdown(LONG));
    tokio::time::sleep(MS).await;
    go.add_permits(1);
    let left = soon("the worker stops", shutdown).await.unwrap();
    assert_eq!((left.finished, left.cancelled, left.released), (1, 0, 0));
    let second = start(&broker, printer(tell_two, gate(100), Gauge::default()), 2).await;
    assert_eq!(two.next().await, 0);
    assert_eq!(letters(&broker).await.len(), 0);
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_dead_lettered_when_a_worker_stops_is_dead_lettered_first() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let bus = refusing(tell);
    broker.break_(|op| op == Op::Append(Kind::DeadLetter));
    let worker = start(&broker, bus, 2).await;
    print(&connect(&broker).await, 0..1).await;
    heard.next().await;
    let shutdown = tokio::spawn(worker.shutdown(LONG));
    tokio::time::sleep(5 * SECOND).await;
    assert!(!shutdown.is_finished());
    broker.mend();
    soon("the worker stops", shutdown).await.unwrap();
    assert_eq!(letters(&broker).await.len(), 1);
    settled(&broker, Kind::Command, "test.print", "handlers").await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_dead_lettered_before_the_deadline_is_given_back() {
    let ((tell_one, mut one), (tell_two, mut two)) = (listen(), listen());
    let broker = TestBroker::new();
    let bus = refusing(tell_one);
    broker.break_(|op| op == Op::Append(Kind::DeadLetter));
    let worker = start(&broker, bus, 2).await;
    print(&connect(&broker).await, 0..1).await;
    one.next().await;
    worker.shutdown(5 * SECOND).await;
    broker.mend();
    assert_eq!(letters(&broker).await.len(), 0);
    let begun = Instant::now();
    let second = start(&broker, printer(tell_two, gate(100), Gauge::default()), 2).await;
    assert_eq!(two.next().await, 0);
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_in_flight_at_the_deadline_is_written_once() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let bus = refusing(tell);
    broker.rule(|op| match op {
        Op::Append(Kind::DeadLetter) => Fault::Late(500 * MS),
        _ => Fault::None,
    });
    let worker = start(&broker, bus, 2).await;
    print(&connect(&broker).await, 0..1).await;
    heard.next().await;
    worker.shutdown(Duration::ZERO).await;
    assert_eq!(letters(&broker).await.len(), 1);
    settled(&broker, Kind::Command, "test.print", "handlers").await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_has_stopped_when_its_answers_have_left() {
    let broker = TestBroker::new();
    let go = gate(0);
    let (gone, (tell, mut heard)) = (go.clone(), listen());
    let bus = BusBuilder::new()
        .register_query_async_fn(move |_: Ask| {
            tell.send(()).unwrap();
            let go = gone.clone();
            async move {
                go.acquire().await.unwrap().forget();
                Ok(42)
            }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).query::<Ask>();
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await.with_timeout(LONG);
    let asking = tokio::spawn(async move {
        static_bus::asynchronous::AsyncSendQuery::send_async(&remote, Ask).await
    });
    heard.next().await;
    broker.rule(|op| match op {
        Op::Append(Kind::Reply) => Fault::Late(SECOND),
        _ => Fault::None,
    });
    let shutdown = tokio::spawn(worker.shutdown(LONG));
    tokio::time::sleep(MS).await;
    go.add_permits(1);
    let left = soon("the worker stops", shutdown).await.unwrap();
    assert_eq!(left.finished, 1);
    assert_eq!(broker.appended(Kind::Reply).len(), 1);
    assert_eq!(asking.await.unwrap().unwrap(), 42);
}

#[tokio::test(start_paused = true)]
async fn callers_are_told_when_a_worker_stops_before_it_has_answered() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let bus = BusBuilder::new()
        .register_query_async_fn(move |_: Ask| {
            tell.send(()).unwrap();
            std::future::pending()
        })
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .query::<Ask>()
        .configure::<Ask>(|it| it.limit(NonZeroUsize::MIN));
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await.with_timeout(LONG);
    let ask = || {
        let remote = remote.clone();
        tokio::spawn(async move {
            let asked = static_bus::asynchronous::AsyncSendQuery::send_async(&remote, Ask);
            asked.await.unwrap_err()
        })
    };
    // One runs, and one waits behind it.
    let asking = [ask(), ask()];
    heard.next().await;
    until("both are there", async || {
        broker.appended(Kind::Query).len() == 2
    })
    .await;
    tokio::time::sleep(MS).await;
    let begun = Instant::now();
    let left = worker.shutdown(SECOND).await;
    assert_eq!((left.finished, left.cancelled, left.released), (0, 1, 1));
    for asking in asking {
        let error = asking.await.unwrap();
        assert!(error.is_retryable());
        assert!(
            error.to_string().ends_with("the worker is shutting down"),
            "{error}"
        );
    }
    assert!(begun.elapsed() < 5 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_worker_stops_also_when_the_broker_is_gone() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let worker = Worker::new(broker.clone(), printer(tell, gate(100), Gauge::default()))
        .command::<Print>()
        .retries(quick(3))
        .start()
        .await
        .unwrap();
    broker.break_(|op| matches!(op, Op::Acknowledge | Op::Release | Op::Close));
    print(&connect(&broker).await, 0..3).await;
    heard.take(3).await;
    let begun = Instant::now();
    worker.shutdown(SECOND).await;
    assert!(begun.elapsed() < 10 * SECOND, "{:?}", begun.elapsed());
}

/// A command that is refused, one that waits, and one whose handler never ends, by their numbers.
const REFUSED: u32 = 0;
const ENDLESS: u32 = 1;
const HANDLED: u32 = 2;

#[tokio::test(start_paused = true)]
async fn a_shutdown_takes_no_longer_than_it_may_whatever_call_of_the_broker_hangs() {
    let calls: [(&str, fn(Op) -> bool); 9] = [
        ("receive", |op| matches!(op, Op::Receive(_))),
        ("append", |op| matches!(op, Op::Append(_))),
        ("claim", |op| op == Op::Claim),
        ("acknowledge", |op| op == Op::Acknowledge),
        ("renew", |op| op == Op::Renew),
        ("release", |op| op == Op::Release),
        ("close", |op| op == Op::Close),
        ("backlog", |op| op == Op::Backlog),
        ("everything", |_| true),
    ];
    for (what, hangs) in calls {
        for (patience, settle) in [(10, 5), (0, 5), (0, 0), (7, 0)] {
            let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
            let bus = BusBuilder::new()
                .register_command_async_fn(move |print: Print| {
                    tell.send(print.0).unwrap();
                    async move {
                        match print.0 {
                            REFUSED => Err(BusError::refused::<Print>("no")),
                            ENDLESS => std::future::pending().await,
                            _ => Ok(()),
                        }
                    }
                })
                .register_query_async_fn(|_: Ask| std::future::pending())
                .build();
            let worker = Worker::new(broker.clone(), bus)
                .command::<Print>()
                .query::<Ask>()
                .configure::<Print>(|it| it.limit(NonZeroUsize::MIN.saturating_add(1)))
                .settle_timeout(settle * SECOND);
            let worker = worker.start().await.unwrap();
            let remote = connect(&broker).await.with_timeout(LONG);
            let asking = remote.clone();
            let asking = tokio::spawn(async move {
                static_bus::asynchronous::AsyncSendQuery::send_async(&asking, Ask).await
            });
            tokio::time::sleep(SECOND).await;
            broker.rule(
                move |op| match hangs(op) && !matches!(op, Op::Append(Kind::Command)) {
                    true => Fault::Hang,
                    false => Fault::None,
                },
            );
            let prints = [REFUSED, HANDLED, ENDLESS, ENDLESS, ENDLESS].map(Print);
            remote.execute_many(prints).await.unwrap();
            tokio::time::sleep(SECOND).await;
            let begun = Instant::now();
            worker.shutdown(patience * SECOND).await;
            let took = begun.elapsed();
            let total = (patience + settle) * SECOND + MS;
            assert!(
                took <= total,
                "{what} hangs, {patience} s and {settle} s: {took:?}"
            );
            asking.abort();
            heard.rest();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_settled_in_a_shutdown_is_counted_and_left_to_its_lease() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let worker = Worker::new(broker.clone(), printer(tell, gate(2), Gauge::default()))
        .command::<Print>()
        .configure::<Print>(|it| it.limit(NonZeroUsize::MIN.saturating_add(2)))
        .lease(30 * SECOND);
    let worker = worker.start().await.unwrap();
    broker.rule(|op| match op {
        Op::Acknowledge | Op::Release | Op::Close => Fault::Hang,
        _ => Fault::None,
    });
    print(&connect(&broker).await, 0..6).await;
    heard.take(5).await;
    tokio::time::sleep(MS).await;
    let report = worker.shutdown(SECOND).await;
    // Two are handled and not acknowledged, three are cancelled, and one waits.
    assert_eq!(
        (report.cancelled, report.released, report.unsettled),
        (3, 1, 6)
    );
    broker.mend();
    let (tell, mut heard) = listen();
    let begun = Instant::now();
    let second = start(&broker, printer(tell, gate(100), Gauge::default()), 6).await;
    heard.take(6).await;
    assert!(begun.elapsed() < 31 * SECOND, "{:?}", begun.elapsed());
    let report = second.shutdown(LONG).await;
    assert_eq!(report.unsettled, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_unbegun_uses_up_no_attempt() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let remote = connect(&broker).await;
    remote.execute_many((0..3).map(Print)).await.unwrap();
    // Each of these workers receives all of them, and starts the first.
    for _ in 0..5 {
        let tell = tell.clone();
        let bus = BusBuilder::new()
            .register_command_async_fn(move |print: Print| {
                tell.send(print.0).unwrap();
                std::future::pending()
            })
            .build();
        let worker = Worker::new(broker.clone(), bus)
            .command::<Print>()
            .configure::<Print>(|it| it.limit(NonZeroUsize::MIN))
            .retries(quick(2));
        let worker = worker.start().await.unwrap();
        assert_eq!(heard.next().await, 0);
        worker.shutdown(Duration::ZERO).await;
    }
    let bus = BusBuilder::new()
        .register_command_fn(move |print: Print| tell.send(print.0).unwrap())
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Print>();
    let worker = worker.retries(quick(2)).start().await.unwrap();
    assert_eq!(heard.take(3).await, [0, 1, 2]);
    settled(&broker, Kind::Command, "test.print", "handlers").await;
    worker.shutdown(LONG).await;
    assert_eq!(letters(&broker).await.len(), 0);
}
