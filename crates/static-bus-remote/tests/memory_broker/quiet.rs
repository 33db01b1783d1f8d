//! `until_quiet` returns when nothing is in flight, and names what is.

use std::{
    future::pending,
    sync::atomic::{AtomicU32, Ordering},
};

use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::{
    DeadLetters, RemoteBus, RetryPolicy, Worker, WorkerHandle,
    memory::{InFlight, InFlightState, NotQuiet},
};
use tokio::time::Instant;

use super::*;

#[derive(Serialize, Deserialize)]
struct Place(u32);
command!(Place -> Result<(), &'static str>, name = "place");

#[derive(Serialize, Deserialize)]
struct Placed(u32);
event!(Placed, name = "placed");

#[derive(Serialize, Deserialize)]
struct Ship(u32);
command!(Ship -> Result<(), &'static str>, name = "ship");

#[derive(Serialize, Deserialize)]
struct Ask;
query!(Ask -> u32, name = "ask");

type Handle = WorkerHandle<MemoryBroker>;

async fn client(broker: &MemoryBroker) -> RemoteBus<MemoryBroker> {
    RemoteBus::connect(broker.clone()).await.unwrap()
}

/// A worker of `Place` with this handler.
async fn placing<F: Future<Output = Result<(), BusError>> + Send>(
    broker: &MemoryBroker,
    handler: impl Fn(Place) -> F + Send + Sync + 'static,
) -> Handle {
    let bus = BusBuilder::new().register_command_async_fn(handler).build();
    let worker = Worker::new(broker.clone(), bus).command::<Place>();
    worker.start().await.unwrap()
}

fn failed() -> BusError {
    BusError::rejected::<Place>("no stock")
}

fn only(error: &NotQuiet) -> &InFlight {
    let [one] = error.in_flight() else {
        panic!("{error}")
    };
    one
}

#[tokio::test(start_paused = true)]
async fn a_chain_across_workers_has_ended_when_the_broker_is_quiet() {
    let broker = MemoryBroker::new();
    let shipped = Arc::new(AtomicU32::new(0));
    let remote = client(&broker).await;
    let _orders = placing(&broker, move |Place(order)| {
        let remote = remote.clone();
        async move {
            sleep(Duration::from_secs(1)).await;
            remote.publish_async(&Placed(order)).await
        }
    })
    .await;
    let remote = client(&broker).await;
    let bus = BusBuilder::new()
        .subscribe_async_fn(move |event: &Placed| {
            let (remote, order) = (remote.clone(), event.0);
            async move { remote.execute_async(Ship(order)).await }
        })
        .build();
    let events = Worker::new(broker.clone(), bus).event::<Placed>("shipping");
    let _shipping = events.start().await.unwrap();
    let counted = shipped.clone();
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Ship| {
            let counted = counted.clone();
            async move {
                sleep(Duration::from_secs(1)).await;
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .build();
    let commands = Worker::new(broker.clone(), bus).command::<Ship>();
    let _fleet = commands.start().await.unwrap();

    let remote = client(&broker).await;
    for order in 0..100 {
        remote.execute_async(Place(order)).await.unwrap();
    }
    broker.until_quiet(LONG).await.unwrap();
    assert_eq!(shipped.load(Ordering::SeqCst), 100);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_retried_is_in_flight_until_it_succeeds() {
    let broker = MemoryBroker::new();
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = attempts.clone();
    let _worker = placing(&broker, move |_| {
        let attempt = counted.fetch_add(1, Ordering::SeqCst) + 1;
        async move { if attempt < 4 { Err(failed()) } else { Ok(()) } }
    })
    .await;
    client(&broker).await.execute_async(Place(1)).await.unwrap();
    broker.until_quiet(LONG).await.unwrap();
    assert_eq!(attempts.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_ends_its_message() {
    let broker = MemoryBroker::new();
    let _worker = placing(&broker, async |_| Err(failed())).await;
    client(&broker).await.execute_async(Place(1)).await.unwrap();
    broker.until_quiet(LONG).await.unwrap();
    let dead = DeadLetters::of(broker).list(None, 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].attempts, RetryPolicy::default().max_attempts);
}

#[tokio::test(start_paused = true)]
async fn a_query_is_in_flight_until_its_caller_has_the_answer() {
    let broker = MemoryBroker::new();
    let bus = BusBuilder::new()
        .register_query_async_fn(async |_: Ask| {
            sleep(Duration::from_secs(3)).await;
            Ok(7)
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).query::<Ask>();
    let _worker = worker.start().await.unwrap();
    let remote = client(&broker).await;
    let asked = tokio::spawn(async move { remote.send_async(Ask).await });
    sleep(Duration::from_secs(1)).await;

    let error = broker.until_quiet(Duration::from_secs(1)).await;
    let error = error.unwrap_err();
    assert_eq!(only(&error).state, InFlightState::Handled);
    assert!(
        error
            .to_string()
            .ends_with(": 1 × query ask, being handled"),
        "{error}"
    );
    broker.until_quiet(LONG).await.unwrap();
    assert!(asked.is_finished());
    assert_eq!(asked.await.unwrap().unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_query_whose_worker_is_killed_is_in_flight_until_it_expires() {
    let broker = MemoryBroker::new();
    let bus = BusBuilder::new()
        .register_query_async_fn(async |_: Ask| pending().await)
        .build();
    let worker = Worker::new(broker.clone(), bus).query::<Ask>();
    let worker = worker.start().await.unwrap();
    let remote = client(&broker).await;
    let begun = Instant::now();
    let asked = tokio::spawn(async move { remote.send_async(Ask).await });
    sleep(Duration::from_secs(1)).await;
    drop(worker);
    broker.until_quiet(LONG).await.unwrap();
    // The timeout of a query; the timer has a resolution of a millisecond.
    assert!(begun.elapsed() >= Duration::from_secs(5));
    assert!(begun.elapsed() < Duration::from_secs(6));
    assert!(asked.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_names_each_message_and_its_state() {
    let broker = MemoryBroker::new();
    let worker = placing(&broker, async |Place(order)| match order {
        0 => Err(failed()),
        _ => pending().await,
    })
    .await;
    let remote = client(&broker).await;
    for order in [0, 1, 2] {
        remote.execute_async(Place(order)).await.unwrap();
    }
    remote.execute_async(Ship(1)).await.unwrap();
    let _early = group(&broker, Kind::Event, "books").await;
    append(&broker, Kind::Event, [record(1)]).await;

    let begun = Instant::now();
    let error = broker.until_quiet(Duration::ZERO).await.unwrap_err();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(error.in_flight().len() >= 3, "{error}");

    // The clock stands still while this task runs.
    let error = loop {
        let error = broker.until_quiet(Duration::ZERO).await.unwrap_err();
        let retried = |one: &&InFlight| one.state == InFlightState::Retried;
        if error.in_flight().iter().any(|one| retried(&one)) {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        error.to_string(),
        "messages are in flight after 0ns; serve each of them, and allow for leases and delays: \
         2 × command place for handlers, being handled; \
         1 × command place for handlers, to be retried or settled; \
         1 × command ship, waiting; 1 × event test for books, waiting"
    );
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn replies_to_a_client_that_is_gone_are_not_in_flight() {
    let broker = MemoryBroker::new();
    let replies = broker.listen(topic(Kind::Reply)).await.unwrap();
    let reply = expiring(1, LONG);
    append(&broker, Kind::Reply, [reply]).await;
    let error = broker.until_quiet(Duration::ZERO).await.unwrap_err();
    assert_eq!(only(&error).topic, topic(Kind::Reply));
    drop(replies);
    broker.until_quiet(Duration::ZERO).await.unwrap();
}

/// On several threads, a message is always in one place that is looked at: also while it moves to another topic.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_that_moves_is_not_overlooked() {
    let broker = MemoryBroker::new();
    let remote = client(&broker).await;
    let done = Arc::new(AtomicU32::new(0));
    let ended = done.clone();
    let _placing = placing(&broker, move |Place(left)| {
        let (remote, ended) = (remote.clone(), ended.clone());
        async move {
            match left {
                0 => _ = ended.fetch_add(1, Ordering::SeqCst),
                left => remote.execute_async(Ship(left - 1)).await?,
            }
            Ok(())
        }
    })
    .await;
    let remote = client(&broker).await;
    let bus = BusBuilder::new()
        .register_command_async_fn(move |Ship(left)| {
            let remote = remote.clone();
            async move { remote.execute_async(Place(left)).await }
        })
        .build();
    let shipping = Worker::new(broker.clone(), bus).command::<Ship>();
    let _shipping = shipping.start().await.unwrap();

    let remote = client(&broker).await;
    for chain in 1..=20 {
        remote.execute_async(Place(200)).await.unwrap();
        broker.until_quiet(LONG).await.unwrap();
        assert_eq!(done.load(Ordering::SeqCst), chain);
    }
}
