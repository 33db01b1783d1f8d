//! Layers around the sends of a client, and around the handlers of a worker.

use std::{
    any::type_name,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::BusError,
    layer::{
        AsyncAroundCommand, AsyncAroundEvent, AsyncAroundQuery, Layer, NextCommand, NextEvent,
        NextQuery,
    },
    prelude::*,
    wiring::Registration,
};
use static_bus_remote::{Worker, transport::Kind};

use crate::support::{Op, TestBroker, connect, dead_lettered, quick};

#[derive(Serialize, Deserialize)]
struct Double(u32);
query!(Double -> u32, name = "double");
#[derive(Serialize, Deserialize)]
struct Store(u32);
command!(Store, name = "store");
#[derive(Serialize, Deserialize)]
struct Stored(u32);
event!(Stored, name = "stored");

/// Notes what passes, and the type of the bus.
#[derive(Clone)]
struct Noted {
    name: &'static str,
    log: Arc<Mutex<Vec<String>>>,
}
#[derive(Clone)]
struct Note(Noted, &'static str);

fn noted() -> Noted {
    Noted {
        name: "a",
        log: Arc::default(),
    }
}
impl Noted {
    fn named(&self, name: &'static str) -> Noted {
        Noted {
            name,
            ..self.clone()
        }
    }
    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}
impl Layer for Noted {
    type Around = Note;
    fn around(&self, registration: Registration) -> Note {
        let line = format!("{}: {registration:?}", self.name);
        self.log.lock().unwrap().push(line);
        Note(self.clone(), registration.message)
    }
}
impl Note {
    fn note<B: ?Sized>(&self, when: &str) {
        let bus = type_name::<B>().split(['<', '>']).next().unwrap();
        let bus = bus.rsplit("::").next().unwrap();
        let line = format!("{} {when} {} on {bus}", self.0.name, self.1);
        self.0.log.lock().unwrap().push(line);
    }
    async fn run<B: ?Sized, R>(
        &self,
        next: impl Future<Output = Result<R, BusError>>,
    ) -> Result<R, BusError> {
        self.note::<B>("before");
        let result = next.await;
        self.note::<B>(if result.is_ok() { "after" } else { "failed" });
        result
    }
}
impl<Q: Query<Response: Send> + Send, B: ?Sized> AsyncAroundQuery<Q, B> for Note {
    async fn query(
        &self,
        query: Q,
        _: &B,
        next: impl NextQuery<Q>,
    ) -> Result<Q::Response, BusError> {
        self.run::<B, _>(next.run(query)).await
    }
}
impl<C: Command + Send, B: ?Sized> AsyncAroundCommand<C, B> for Note {
    async fn command(&self, command: C, _: &B, next: impl NextCommand<C>) -> Result<(), BusError> {
        self.run::<B, _>(next.run(command)).await
    }
}
impl<E: Event + Sync, B: ?Sized> AsyncAroundEvent<E, B> for Note {
    async fn event(&self, event: &E, _: &B, next: impl NextEvent<E>) -> Result<(), BusError> {
        self.run::<B, _>(next.run(event)).await
    }
}

async fn doubling(broker: &TestBroker) -> static_bus_remote::WorkerHandle<TestBroker> {
    let bus = BusBuilder::new()
        .register_query_fn(|n: Double| n.0 * 2)
        .build();
    let worker = Worker::new(broker.clone(), bus).query::<Double>();
    worker.start().await.unwrap()
}

#[tokio::test]
async fn each_send_passes_the_layers_of_a_remote_bus() {
    let broker = TestBroker::new();
    let _worker = doubling(&broker).await;
    let layer = noted();
    let remote = connect(&broker).await.layer(layer.clone());

    assert_eq!(remote.send_async(Double(21)).await.unwrap(), 42);
    remote.execute_async(Store(1)).await.unwrap();
    remote.publish_async(&Stored(1)).await.unwrap();
    assert_eq!(
        layer.lines(),
        [
            "a: query double -> test://broker",
            "a before double on RemoteBus",
            "a after double on RemoteBus",
            "a: command store -> test://broker",
            "a before store on RemoteBus",
            "a after store on RemoteBus",
            "a: event stored -> test://broker",
            "a before stored on RemoteBus",
            "a after stored on RemoteBus",
        ]
    );
    broker.break_(|op| matches!(op, Op::Append(_)));
    remote.execute_async(Store(2)).await.unwrap_err();
    assert_eq!(
        layer.lines(),
        ["a before store on RemoteBus", "a failed store on RemoteBus"]
    );
}

#[tokio::test]
async fn around_is_made_once_for_each_message_also_for_clones_with_other_attributes() {
    let broker = TestBroker::new();
    let layer = noted();
    let remote = connect(&broker).await.layer(layer.clone());
    remote.execute_async(Store(1)).await.unwrap();
    remote.clone().execute_async(Store(1)).await.unwrap();
    let keyed = remote.with(|remote| remote.with_idempotency_key("store 1"));
    keyed.execute_async(Store(1)).await.unwrap();
    let made = |line: &String| line.starts_with("a: ");
    assert_eq!(layer.lines().iter().filter(|line| made(line)).count(), 1);
    let keys = broker.appended(Kind::Command).into_iter();
    let keys = keys.map(|record| {
        record
            .headers
            .get("idempotencykey")
            .map(|key| key.to_string())
    });
    assert_eq!(
        keys.collect::<Vec<_>>(),
        [None, None, Some("store 1".into())]
    );
}

#[tokio::test]
async fn a_remote_bus_within_layers_is_a_handler_and_the_layers_receive_its_bus() {
    let broker = TestBroker::new();
    let _worker = doubling(&broker).await;
    let layer = noted();
    let remote = connect(&broker).await;
    let remote = remote.layer(layer.clone()).layer(layer.named("b"));
    let bus = BusBuilder::new()
        .register_query_async::<Double, _>(remote.clone())
        .register_command_async::<Store, _>(remote.clone())
        .subscribe_async::<Stored, _>(remote)
        .build();
    assert_eq!(bus.send_async(Double(21)).await.unwrap(), 42);
    assert_eq!(
        layer.lines(),
        [
            "b: query double -> test://broker",
            "b before double on Bus",
            "a: query double -> test://broker",
            "a before double on Bus",
            "a after double on Bus",
            "b after double on Bus",
        ]
    );
    bus.execute_async(Store(1)).await.unwrap();
    bus.publish_async(&Stored(1)).await.unwrap();
    let appended = [Kind::Command, Kind::Event].map(|kind| broker.appended(kind).len());
    assert_eq!(appended, [1, 1]);
    assert_eq!(layer.lines().len(), 12);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_of_a_delivery_passes_the_layers_of_the_bus_of_a_worker() {
    let broker = TestBroker::new();
    let layer = noted();
    let bus = BusBuilder::new()
        .register_command_async_fn(|command: Store| async move {
            match command.0 {
                0 => Err(BusError::rejected::<Store>("full")),
                _ => Ok(()),
            }
        })
        .layer(layer.clone())
        .build();
    layer.lines();
    let worker = Worker::new(broker.clone(), bus).command::<Store>();
    let _worker = worker.retries(quick(3)).start().await.unwrap();
    connect(&broker)
        .await
        .execute_async(Store(0))
        .await
        .unwrap();
    dead_lettered(&broker, 1).await;
    let attempt = ["a before store on Bus", "a failed store on Bus"];
    assert_eq!(layer.lines(), [attempt; 3].concat());
}
