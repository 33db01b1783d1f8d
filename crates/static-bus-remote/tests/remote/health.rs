//! The health and the metrics of a worker.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use metrics::{
    Counter, CounterFn, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncExecuteCommand, BusError},
    prelude::*,
};
use static_bus_remote::{Health, TransportErrorKind, Worker, WorkerHandle, transport::Kind};

use crate::support::{
    Fault, LONG, Op, SECOND, TestBroker, connect, dead_lettered, listen, quick, settled, until,
};

#[derive(Serialize, Deserialize)]
struct Sort(u32);
command!(Sort, name = "test.sort");

#[derive(Serialize, Deserialize)]
struct Sorted(u32);
event!(Sorted, name = "test.sorted");

/// Refuses 0, fails twice for 1 and 2, and succeeds for the others.
fn sorting() -> impl AsyncExecuteCommand<Sort> + Send + 'static {
    let failures = Arc::new(Mutex::new(BTreeMap::<u32, u32>::new()));
    BusBuilder::new()
        .register_command_async_fn(move |sort: Sort| {
            let failures = failures.clone();
            async move {
                if sort.0 == 0 {
                    return Err(BusError::refused::<Sort>("no"));
                }
                let mut failures = failures.lock().unwrap();
                let failed = failures.entry(sort.0).or_default();
                if sort.0 <= 2 && *failed < 2 {
                    *failed += 1;
                    return Err(BusError::rejected::<Sort>("not yet"));
                }
                Ok(())
            }
        })
        .build()
}

async fn start(broker: &TestBroker) -> WorkerHandle<TestBroker> {
    let worker = Worker::new(broker.clone(), sorting()).command::<Sort>();
    worker
        .retries(quick(5))
        .lease(3 * SECOND)
        .start()
        .await
        .unwrap()
}

async fn well(worker: &WorkerHandle<TestBroker>) {
    until("it is ready", async || worker.health().await.ready).await;
    let health = worker.health().await;
    assert!(
        health.live && health.ready && health.reasons.is_empty(),
        "{health:?}"
    );
}

async fn unwell(worker: &WorkerHandle<TestBroker>) -> Health {
    until("it is not ready", async || !worker.health().await.ready).await;
    let health = worker.health().await;
    assert!(health.live, "{health:?}");
    health
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_ready_while_its_broker_is_there() {
    let broker = TestBroker::new();
    let worker = start(&broker).await;
    well(&worker).await;
    broker.break_(|op| op == Op::Check);
    assert_eq!(
        unwell(&worker).await.reasons,
        ["test://broker: the connection is broken"]
    );
    broker.mend();
    well(&worker).await;

    broker.break_(|op| matches!(op, Op::Receive(_)));
    assert_eq!(
        unwell(&worker).await.reasons,
        ["command test.sort: messages cannot be received: test://broker: the connection is broken"]
    );
    broker.mend();
    well(&worker).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_not_ready_while_it_can_receive_but_not_settle() {
    let broker = TestBroker::new();
    let worker = start(&broker).await;
    let remote = connect(&broker).await;
    for (broken, text) in [
        (Op::Claim, "deduplication keys cannot be claimed"),
        (Op::Acknowledge, "messages cannot be acknowledged"),
        (
            Op::Append(Kind::DeadLetter),
            "dead letters cannot be written",
        ),
    ] {
        broker.break_(move |op| op == broken);
        remote.execute_async(Sort(0)).await.unwrap();
        let reason = format!("command test.sort: {text}: test://broker: the connection is broken");
        assert_eq!(unwell(&worker).await.reasons, [&*reason]);
        // Receiving always succeeds, and does not hide the other failures.
        for _ in 0..10 {
            remote.execute_async(Sort(9)).await.unwrap();
            tokio::time::sleep(SECOND).await;
            assert_eq!(worker.health().await.reasons, [&*reason]);
        }
        broker.mend();
        well(&worker).await;
    }
    // Leases are renewed while there are leased records, which are not acknowledged here.
    broker.break_(|op| matches!(op, Op::Acknowledge | Op::Renew));
    remote.execute_async(Sort(9)).await.unwrap();
    until("both are told", async || {
        let reasons = worker.health().await.reasons;
        reasons.len() == 2 && reasons[0].contains("leases cannot be renewed")
    })
    .await;
    broker.mend();
    well(&worker).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_not_ready_while_its_handlers_cannot_send() {
    let broker = TestBroker::new();
    let inner = connect(&broker).await;
    let bus = BusBuilder::new()
        .register_command_async_fn(move |sort: Sort| {
            let inner = inner.clone();
            async move { inner.publish_async(&Sorted(sort.0)).await }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Sort>();
    let worker = worker.retries(quick(3)).start().await.unwrap();
    broker.break_(|op| op == Op::Append(Kind::Event));
    connect(&broker).await.execute_async(Sort(7)).await.unwrap();
    let reasons = unwell(&worker).await.reasons;
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    let named = [
        "command test.sort: handlers cannot send: ",
        "test.sorted",
        "test://broker",
    ];
    assert!(
        named.iter().all(|name| reasons[0].contains(name)),
        "{reasons:?}"
    );
    broker.mend();
    well(&worker).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_not_ready_while_its_handlers_may_not_send() {
    let broker = TestBroker::new();
    let inner = connect(&broker).await;
    let bus = BusBuilder::new()
        .register_command_async_fn(move |sort: Sort| {
            let inner = inner.clone();
            async move { inner.publish_async(&Sorted(sort.0)).await }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Sort>();
    let worker = worker.retries(quick(1)).start().await.unwrap();
    let remote = connect(&broker).await;
    for (kind, is_ready) in [
        (TransportErrorKind::TooLarge, true),
        (TransportErrorKind::Unauthorized, false),
    ] {
        broker.fail(Op::Append(Kind::Event), kind, 1);
        remote.execute_async(Sort(7)).await.unwrap();
        settled(&broker, Kind::Command, "test.sort", "handlers").await;
        assert_eq!(worker.health().await.ready, is_ready, "{kind:?}");
    }
    remote.execute_async(Sort(7)).await.unwrap();
    well(&worker).await;
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_broker_is_gone_does_not_start() {
    let broker = TestBroker::new();
    for broken in [Op::Check, Op::Consume] {
        broker.break_(move |op| op == broken);
        let worker = Worker::new(broker.clone(), sorting()).command::<Sort>();
        let error = worker.start().await.err().unwrap();
        assert_eq!(error.to_string(), "test://broker: the connection is broken");
    }
    // Its running handlers are cancelled.
    let mut groups = 0;
    broker.rule(move |op| {
        groups += usize::from(op == Op::Consume);
        match groups {
            3 => Fault::Before,
            _ => Fault::None,
        }
    });
    let bus = BusBuilder::new().subscribe_fn(|_: &Sorted| ()).build();
    let worker = Worker::new(broker.clone(), bus)
        .event::<Sorted>("one")
        .event::<Sorted>("two")
        .event::<Sorted>("three");
    assert!(worker.start().await.is_err());
    assert_eq!(broker.calls(Op::Close), 2);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_serves_a_message_twice_for_one_group_does_not_start() {
    let broker = TestBroker::new();
    let worker = Worker::new(broker.clone(), sorting())
        .command::<Sort>()
        .command::<Sort>();
    let error = worker.start().await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "test://broker: command test.sort is served twice by this worker: say so once"
    );
    let bus = || BusBuilder::new().subscribe_fn(|_: &Sorted| ()).build();
    let worker = Worker::new(broker.clone(), bus())
        .event::<Sorted>("one")
        .event::<Sorted>("one");
    let error = worker.start().await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "test://broker: event test.sorted for one is served twice by this worker: say so once"
    );
    assert_eq!(broker.calls(Op::Consume), 0);

    let worker = Worker::new(broker.clone(), bus())
        .event::<Sorted>("one")
        .event::<Sorted>("two");
    well(&worker.start().await.unwrap()).await;
}

// ----- metrics

/// Counters are sums, gauges their last values, histograms the number of their values.
#[derive(Clone, Default)]
struct Sums(Arc<Mutex<BTreeMap<String, f64>>>);
struct Handle(Sums, String);
impl Handle {
    fn change(&self, change: impl FnOnce(&mut f64)) {
        change(self.0.0.lock().unwrap().entry(self.1.clone()).or_default());
    }
}
impl CounterFn for Handle {
    fn increment(&self, value: u64) {
        self.change(|sum| *sum += value as f64);
    }
    fn absolute(&self, value: u64) {
        self.change(|sum| *sum = value as f64);
    }
}
impl GaugeFn for Handle {
    fn increment(&self, value: f64) {
        self.change(|sum| *sum += value);
    }
    fn decrement(&self, value: f64) {
        self.change(|sum| *sum -= value);
    }
    fn set(&self, value: f64) {
        self.change(|sum| *sum = value);
    }
}
impl HistogramFn for Handle {
    fn record(&self, _: f64) {
        self.change(|sum| *sum += 1.0);
    }
}
impl Sums {
    fn handle(&self, key: &Key) -> Arc<Handle> {
        let labels = key.labels().map(|l| format!("{}={}", l.key(), l.value()));
        let labels = labels.collect::<Vec<_>>().join(",");
        Arc::new(Handle(self.clone(), format!("{}{{{labels}}}", key.name())))
    }
    fn of(&self, name: &str) -> f64 {
        let key = format!("static_bus_{name}{{message=test.sort,group=handlers}}");
        self.0.lock().unwrap().get(&key).copied().unwrap_or(-1.0)
    }
}
impl Recorder for Sums {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.handle(key).into()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        self.handle(key).into()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.handle(key).into()
    }
}

#[tokio::test(start_paused = true)]
async fn every_counter_counts_what_its_name_says() {
    let sums = Sums::default();
    let _guard = metrics::set_default_local_recorder(&sums);
    let broker = TestBroker::new();
    let worker = start(&broker).await;
    let remote = connect(&broker).await;
    // One is refused, two fail twice each, seven succeed at once, and one is delivered twice.
    for n in 0..10 {
        remote.execute_async(Sort(n)).await.unwrap();
    }
    let keyed = remote.with_idempotency_key("twice");
    for _ in 0..2 {
        keyed.execute_async(Sort(10)).await.unwrap();
    }
    dead_lettered(&broker, 1).await;
    settled(&broker, Kind::Command, "test.sort", "handlers").await;
    let counted = [
        "processed_total",
        "failed_total",
        "retried_total",
        "dead_lettered_total",
        "duplicates_total",
        "handler_seconds",
    ]
    .map(|name| sums.of(name));
    assert_eq!(counted, [10.0, 5.0, 4.0, 1.0, 1.0, 15.0]);
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_counts_when_it_is_written() {
    let sums = Sums::default();
    let _guard = metrics::set_default_local_recorder(&sums);
    let broker = TestBroker::new();
    let worker = start(&broker).await;
    broker.break_(|op| op == Op::Append(Kind::DeadLetter));
    connect(&broker).await.execute_async(Sort(0)).await.unwrap();
    until("it has failed", async || sums.of("failed_total") == 1.0).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(sums.of("dead_lettered_total"), -1.0);
    broker.mend();
    dead_lettered(&broker, 1).await;
    until("it counts", async || sums.of("dead_lettered_total") == 1.0).await;
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn the_gauges_follow_the_backlog() {
    let sums = Sums::default();
    let _guard = metrics::set_default_local_recorder(&sums);
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Sort| {
            tell.send(()).unwrap();
            std::future::pending()
        })
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Sort>();
    let worker = worker.start().await.unwrap();
    let gauges = || ["pending", "lag", "oldest_seconds"].map(|name| sums.of(name));
    until("they are there", async || gauges() == [0.0; 3]).await;
    let remote = connect(&broker).await;
    remote.execute_many((0..5000).map(Sort)).await.unwrap();
    heard.take(64).await;
    tokio::time::sleep(LONG).await;
    let [pending, lag, oldest] = gauges();
    assert!(
        pending >= 64.0 && lag > 0.0 && pending + lag == 5000.0,
        "{pending} {lag}"
    );
    assert!(oldest >= 40.0, "{oldest}");
    // Failed calls of the broker do not change them.
    broker.rule(|op| match op {
        Op::Backlog => Fault::Before,
        _ => Fault::None,
    });
    tokio::time::sleep(LONG).await;
    assert_eq!(sums.of("lag"), lag);
    drop(worker);
}
