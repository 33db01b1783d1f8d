//! The context of nested sends, and remote and local handlers on one bus.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{
        AsyncCommandHandler, AsyncEventHandler, AsyncExecuteCommand, AsyncPublishEvent,
        AsyncSendQuery, BusError,
    },
    prelude::*,
};
use static_bus_remote::{
    Envelope, MemoryBroker, RemoteBus, Worker, current,
    transport::{Kind, Record},
};

use crate::support::{LONG, Tell, TestBroker, connect, listen, settled};

#[derive(Serialize, Deserialize)]
struct Ordered(u32);
event!(Ordered, name = "test.ordered");
#[derive(Serialize, Deserialize)]
struct Reserve(u32);
command!(Reserve, name = "test.reserve");
#[derive(Serialize, Deserialize)]
struct Stock(u32);
query!(Stock -> u32, name = "test.stock");

/// Handlers of one service, with a bound for each message that they send.
struct Sales(Tell<Envelope<'static>>);
impl<B: AsyncExecuteCommand<Reserve>> AsyncEventHandler<Ordered, B> for Sales {
    async fn handle(&self, event: &Ordered, bus: &B) -> Result<(), BusError> {
        self.0.send(current().unwrap()).unwrap();
        bus.execute_async(Reserve(event.0)).await
    }
}
struct Warehouse(Tell<Envelope<'static>>);
impl<B: AsyncSendQuery<Stock>> AsyncCommandHandler<Reserve, B> for Warehouse {
    async fn handle(&self, command: Reserve, bus: &B) -> Result<(), BusError> {
        self.0.send(current().unwrap()).unwrap();
        // Not at the first poll either.
        tokio::task::yield_now().await;
        match bus.send_async(Stock(command.0)).await? {
            0 => Err(BusError::refused::<Reserve>("none left")),
            _ => Ok(()),
        }
    }
}

async fn service(broker: &TestBroker, name: &'static str) -> RemoteBus<TestBroker> {
    let bus = RemoteBus::builder(broker.clone()).service(name);
    bus.connect().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_began_it_all_and_its_trace_are_known_two_hops_away() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let sales = BusBuilder::new()
        .subscribe_async::<Ordered, _>(Sales(tell.clone()))
        .register_command_async::<Reserve, _>(service(&broker, "sales").await)
        .build();
    let warehouse = BusBuilder::new()
        .register_command_async::<Reserve, _>(Warehouse(tell.clone()))
        .register_query_async::<Stock, _>(service(&broker, "warehouse").await)
        .build();
    let stock = BusBuilder::new()
        .register_query_async_fn(move |_: Stock| {
            let tell = tell.clone();
            async move {
                tell.send(current().unwrap()).unwrap();
                let elsewhere = tokio::spawn(async { current() }).await.unwrap();
                assert_eq!(elsewhere, None, "a task of its own has no message");
                Ok(1)
            }
        })
        .build();
    let workers = (
        Worker::new(broker.clone(), sales)
            .event::<Ordered>("sales")
            .start()
            .await
            .unwrap(),
        Worker::new(broker.clone(), warehouse)
            .command::<Reserve>()
            .start()
            .await
            .unwrap(),
        Worker::new(broker.clone(), stock)
            .query::<Stock>()
            .start()
            .await
            .unwrap(),
    );
    assert_eq!(current(), None);
    connect(&broker)
        .await
        .with_trace("00-trace-span-01", Some("vendor=1".into()))
        .publish_async(&Ordered(7))
        .await
        .unwrap();
    let [event, command, query] = &heard.take(3).await[..] else {
        panic!("three hops")
    };
    settled(&broker, Kind::Command, "test.reserve", "handlers").await;

    let sources = [event, command, query].map(|envelope| &*envelope.source);
    assert_eq!(sources, ["shop", "sales", "warehouse"]);
    let types = [event, command, query].map(|envelope| &*envelope.message_type);
    assert_eq!(types, ["test.ordered", "test.reserve", "test.stock"]);
    assert_eq!((&event.correlation_id, &event.causation_id), (&None, &None));
    for nested in [command, query] {
        assert_eq!(nested.correlation_id.as_ref(), Some(&event.id));
    }
    assert_eq!(command.causation_id.as_ref(), Some(&event.id));
    assert_eq!(query.causation_id.as_ref(), Some(&command.id));
    for envelope in [event, command, query] {
        assert_eq!(envelope.trace_parent.as_deref(), Some("00-trace-span-01"));
        assert_eq!(envelope.trace_state.as_deref(), Some("vendor=1"));
    }
    let reply = broker.only(Kind::Reply);
    assert_eq!(reply.headers.get("causationid"), Some(query.id.clone()));
    // The message arrives unchanged.
    for (kind, heard) in [
        (Kind::Event, event),
        (Kind::Command, command),
        (Kind::Query, query),
    ] {
        assert_eq!(Envelope::parse(&broker.only(kind).headers).unwrap(), *heard);
    }
    drop(workers);
}

#[tokio::test(start_paused = true)]
async fn a_trace_of_its_own_goes_before_an_inherited_one_and_a_key_is_not_inherited() {
    let broker = TestBroker::new();
    let nested = service(&broker, "sales")
        .await
        .with_trace("00-own-1-01", None);
    let bus = BusBuilder::new()
        .subscribe_async_fn(move |event: &Ordered| {
            let (nested, number) = (nested.clone(), event.0);
            async move {
                nested
                    .execute_many([Reserve(number), Reserve(number)])
                    .await
            }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).event::<Ordered>("sales");
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await.with_idempotency_key("order 7");
    let remote = remote.with_trace("00-first-1-01", Some("a=b".into()));
    remote.publish_async(&Ordered(7)).await.unwrap();
    settled(&broker, Kind::Event, "test.ordered", "sales").await;
    let event = broker.only(Kind::Event);
    let event = Envelope::parse(&event.headers).unwrap();
    let commands = broker.appended(Kind::Command);
    assert_eq!(commands.len(), 2);
    for command in &commands {
        let command = Envelope::parse(&command.headers).unwrap();
        assert_eq!(command.trace_parent.as_deref(), Some("00-own-1-01"));
        assert_eq!(command.trace_state, None);
        assert_eq!(command.idempotency_key, None);
        assert_eq!(command.causation_id.as_ref(), Some(&event.id));
    }
    drop(worker);
}

// ----- as the handler of single messages

#[tokio::test(start_paused = true)]
async fn local_and_remote_handlers_mix_on_one_bus() {
    #[derive(Serialize, Deserialize)]
    struct Local(u32);
    query!(Local -> u32);
    let broker = MemoryBroker::new();
    let ((tell, mut remotely), (tell_here, mut locally)) = (listen(), listen());
    let tell_both = tell.clone();
    let there = BusBuilder::new()
        .register_query_fn(|query: Stock| query.0 * 10)
        .register_command_fn(move |reserve: Reserve| tell.send(reserve.0).unwrap())
        .subscribe_fn(move |event: &Ordered| tell_both.send(100 + event.0).unwrap())
        .build();
    let worker = Worker::new(broker.clone(), there)
        .query::<Stock>()
        .command::<Reserve>()
        .event::<Ordered>("there");
    let worker = worker.start().await.unwrap();

    let remote = connect(&broker).await;
    let bus = BusBuilder::new()
        .register_query_fn(|query: Local| query.0 + 1)
        .register_query_async::<Stock, _>(remote.clone())
        .register_command_async::<Reserve, _>(&remote)
        .subscribe_fn(move |event: &Ordered| tell_here.send(event.0).unwrap())
        .subscribe_async::<Ordered, _>(std::sync::Arc::new(remote.clone()))
        .build();
    assert_eq!(bus.send_async(Local(1)).await.unwrap(), 2);
    assert_eq!(bus.send_async(Stock(1)).await.unwrap(), 10);
    bus.execute_async(Reserve(3)).await.unwrap();
    assert_eq!(remotely.next().await, 3);
    bus.publish_async(&Ordered(4)).await.unwrap();
    assert_eq!(remotely.next().await, 104);
    assert_eq!(locally.rest(), [4]);
    worker.shutdown(LONG).await;
    remotely.is_silent();
}

#[tokio::test(start_paused = true)]
async fn a_module_written_against_the_async_traits_runs_on_a_remote_bus_as_it_is() {
    async fn module<B>(bus: &B) -> Result<u32, BusError>
    where
        B: AsyncSendQuery<Stock> + AsyncExecuteCommand<Reserve> + AsyncPublishEvent<Ordered>,
    {
        bus.execute_async(Reserve(1)).await?;
        bus.publish_async(&Ordered(1)).await?;
        bus.send_async(Stock(1)).await
    }
    let (tell, mut heard) = listen();
    let (broker, tell_event) = (MemoryBroker::new(), tell.clone());
    let bus = BusBuilder::new()
        .register_query_fn(|query: Stock| query.0 * 10)
        .register_command_fn(move |_: Reserve| tell.send("reserve").unwrap())
        .subscribe_fn(move |_: &Ordered| tell_event.send("ordered").unwrap())
        .build();
    assert_eq!(module(&bus).await.unwrap(), 10);
    assert_eq!(heard.take(2).await, ["reserve", "ordered"]);
    let worker = Worker::new(broker.clone(), bus)
        .query::<Stock>()
        .command::<Reserve>()
        .event::<Ordered>("module");
    let worker = worker.start().await.unwrap();
    assert_eq!(module(&connect(&broker).await).await.unwrap(), 10);
    let mut both = heard.take(2).await;
    both.sort();
    assert_eq!(both, ["ordered", "reserve"]);
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_remote_failure_in_a_nested_query_is_tried_again_if_it_helps() {
    let broker = MemoryBroker::new();
    let remote = connect(&broker).await;
    let (tell, mut heard) = listen();
    let answers = std::sync::atomic::AtomicU32::new(0);
    let stock = BusBuilder::new()
        .register_query_async_fn(move |_: Stock| {
            let asked = answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            async move {
                match asked {
                    0 | 1 => Err(BusError::rejected::<Stock>("counting")),
                    _ => Ok(1),
                }
            }
        })
        .build();
    let warehouse = BusBuilder::new()
        .register_command_async::<Reserve, _>(Warehouse(tell))
        .register_query_async::<Stock, _>(remote.clone())
        .build();
    let workers = (
        Worker::new(broker.clone(), warehouse)
            .command::<Reserve>()
            .start()
            .await
            .unwrap(),
        Worker::new(broker.clone(), stock)
            .query::<Stock>()
            .start()
            .await
            .unwrap(),
    );
    remote.execute_async(Reserve(1)).await.unwrap();
    heard.take(3).await;
    settled(&broker, Kind::Command, "test.reserve", "handlers").await;
    heard.is_silent();
    drop(workers);
}

/// An engine that keeps the output of an attempt knows it by its scope.
#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_scope_of_its_own() {
    let broker = TestBroker::new();
    let remote = service(&broker, "warehouse").await;
    let (inside, failed) = (remote.clone(), Arc::new(AtomicBool::new(false)));
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Reserve| {
            let (remote, failed) = (inside.clone(), failed.clone());
            async move {
                remote.publish_async(&Ordered(1)).await?;
                remote.publish_many([Ordered(2)]).await?;
                let elsewhere = remote.clone();
                let elsewhere = async move { elsewhere.publish_async(&Ordered(3)).await };
                tokio::spawn(elsewhere).await.unwrap()?;
                match failed.swap(true, Ordering::Relaxed) {
                    false => Err(BusError::rejected::<Reserve>("not this time")),
                    true => Ok(()),
                }
            }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Reserve>();
    let worker = worker.start().await.unwrap();
    remote.execute_async(Reserve(1)).await.unwrap();
    settled(&broker, Kind::Command, "test.reserve", "handlers").await;
    let scope = |record: Record| record.scope.and_then(|s| s.get::<usize>().copied());
    let of = |kind| {
        broker
            .appended(kind)
            .into_iter()
            .map(scope)
            .collect::<Vec<_>>()
    };
    let (first, second) = ([Some(1), Some(1), None], [Some(2), Some(2), None]);
    assert_eq!(of(Kind::Event), [first, second].concat());
    assert_eq!(of(Kind::Command), [None]);
    worker.shutdown(LONG).await;
}
