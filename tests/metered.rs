//! The metrics of the layer `Metered`, one test for each guarantee.

use metrics::with_local_recorder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use static_bus::{asynchronous::BusError, layer::Metered, prelude::*};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Waker};

struct Half(u32);
query!(Half -> u32, name = "half");
struct Store(u32);
command!(Store -> Result<(), &'static str>, name = "store");
struct Stored;
event!(Stored, name = "stored");

struct Service;
impl<B> QueryHandler<Half, B> for Service {
    fn handle(&self, query: Half, _bus: &B) -> u32 {
        assert!(query.0.is_multiple_of(2), "it is odd");
        query.0 / 2
    }
}
impl<B: SendQuery<Half>> CommandHandler<Store, B> for Service {
    fn handle(&self, command: Store, bus: &B) -> Result<(), &'static str> {
        if bus.send(Half(command.0)) > 10 {
            return Err("full");
        }
        Ok(())
    }
}
struct First;
impl<B> EventHandler<Stored, B> for First {
    fn handle(&self, _: &Stored, _bus: &B) {}
}
struct Second;
impl<B> EventHandler<Stored, B> for Second {
    fn handle(&self, _: &Stored, _bus: &B) {}
}

/// The counters, and the number of values of each histogram, by name and labels.
fn metrics(snapshotter: &Snapshotter) -> BTreeMap<String, u64> {
    let metrics = snapshotter.snapshot().into_vec().into_iter();
    let line = |(key, _, _, value): (metrics_util::CompositeKey, _, _, DebugValue)| {
        let labels = key
            .key()
            .labels()
            .map(|l| format!("{}={}", l.key(), l.value()));
        let labels = labels.collect::<Vec<_>>().join(",");
        let value = match value {
            DebugValue::Counter(count) => count,
            DebugValue::Histogram(values) => values.len() as u64,
            DebugValue::Gauge(_) => unreachable!(),
        };
        (format!("{}{{{labels}}}", key.key().name()), value)
    };
    metrics.map(line).collect()
}

macro_rules! shop {
    () => {
        BusBuilder::new()
            .register_query::<Half, _>(Service)
            .register_command::<Store, _>(Service)
            .subscribe::<Stored, _>(First)
            .subscribe::<Stored, _>(Second)
            .layer(Metered)
            .build()
    };
}

const HALF: &str = "{kind=query,message=half,handler=metered::Service}";
const STORE: &str = "{kind=command,message=store,handler=metered::Service}";

fn row(name: &str, labels: &str, value: u64) -> (String, u64) {
    (format!("static_bus_{name}{labels}"), value)
}

#[test]
fn calls_failures_and_durations_are_counted_for_each_handler() {
    let recorder = DebuggingRecorder::new();
    let bus = with_local_recorder(&recorder, || shop!());
    // The metrics belong to the recorder of the time at which the layer was added.
    bus.execute(Store(4)).unwrap();
    bus.execute(Store(100)).unwrap_err();
    bus.publish(&Stored);
    let first = "{kind=event,message=stored,handler=metered::First}";
    let second = "{kind=event,message=stored,handler=metered::Second}";
    let expected = [(HALF, 2, 0), (STORE, 2, 1), (first, 1, 0), (second, 1, 0)];
    let expected = expected.into_iter().flat_map(|(labels, calls, failed)| {
        [
            row("calls_total", labels, calls),
            row("failed_calls_total", labels, failed),
            row("call_seconds", labels, calls),
        ]
    });
    assert_eq!(metrics(&recorder.snapshotter()), expected.collect());
}

#[test]
fn a_call_that_panics_has_failed() {
    let recorder = DebuggingRecorder::new();
    let bus = with_local_recorder(&recorder, || shop!());
    catch_unwind(AssertUnwindSafe(|| bus.send::<Half>(Half(1)))).unwrap_err();
    let metrics = metrics(&recorder.snapshotter());
    for (name, labels, expected) in [("calls_total", HALF, 1), ("failed_calls_total", HALF, 1)] {
        let (name, expected) = row(name, labels, expected);
        assert_eq!(metrics[&name], expected, "{name}");
    }
}

#[test]
fn an_asynchronous_call_ends_with_its_result_or_when_it_is_cancelled() {
    let recorder = DebuggingRecorder::new();
    let bus = with_local_recorder(&recorder, || {
        BusBuilder::new()
            .register_query_async_fn(|n: Half| async move {
                match n.0 {
                    0 => std::future::pending().await,
                    1 => Err(BusError::rejected::<Half>("it is odd")),
                    n => Ok(n / 2),
                }
            })
            .layer(Metered)
            .build()
    });
    let poll = |n| {
        let mut call = Box::pin(bus.send_async(Half(n)));
        let mut context = Context::from_waker(Waker::noop());
        let polled = call.as_mut().poll(&mut context).is_ready();
        (polled, call)
    };
    let counts = || {
        let metrics = metrics(&recorder.snapshotter());
        let sum = |name: &str| -> u64 {
            let of_name = metrics.iter().filter(|(key, _)| key.starts_with(name));
            of_name.map(|(_, value)| value).sum()
        };
        (
            sum("static_bus_calls_total"),
            sum("static_bus_failed_calls_total"),
        )
    };
    // Each snapshot takes what was counted since the one before.
    assert!(poll(4).0);
    assert_eq!(counts(), (1, 0));
    assert!(poll(1).0);
    assert_eq!(counts(), (1, 1));
    let (ready, cancelled) = poll(0);
    assert!(!ready);
    assert_eq!(counts(), (0, 0));
    drop(cancelled);
    assert_eq!(counts(), (1, 1));
}
