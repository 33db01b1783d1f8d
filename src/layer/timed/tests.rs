//! The times of handlers, by a clock that moves only when a handler says so.

#[cfg(feature = "async")]
mod asynchronous;

use super::*;
use crate::prelude::*;
use core::time::Duration;
use quanta::Mock;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::ToString;

struct Leaf(u64);
query!(Leaf -> u64, name = "leaf");
struct Branch;
command!(Branch, name = "branch");
struct Root;
event!(Root, name = "root");

/// Takes the time of the message, or a fixed one between its calls of others.
#[derive(Clone)]
struct Work(Arc<Mock>);
impl<B> QueryHandler<Leaf, B> for Work {
    fn handle(&self, query: Leaf, _bus: &B) -> u64 {
        assert!(query.0 != 13, "unlucky");
        self.0.increment(query.0);
        query.0
    }
}
impl<B: SendQuery<Leaf>> CommandHandler<Branch, B> for Work {
    fn handle(&self, _: Branch, bus: &B) {
        self.0.increment(5_u64);
        bus.send(Leaf(100));
        self.0.increment(6_u64);
        bus.send(Leaf(200));
    }
}
impl<B: ExecuteCommand<Branch> + SendQuery<Leaf>> EventHandler<Root, B> for Work {
    fn handle(&self, _: &Root, bus: &B) {
        bus.execute(Branch);
        self.0.increment(1_u64);
        bus.send(Leaf(1_000));
    }
}

fn timed<C: Counter>() -> (Timed<C>, Work) {
    let (clock, mock) = Clock::mock();
    // A time of zero hides mistakes.
    mock.increment(77_u64);
    (Timed::with(clock), Work(mock))
}
fn ns(nanoseconds: u64) -> Duration {
    Duration::from_nanos(nanoseconds)
}
/// The name, the number of calls, the total and the exclusive nanoseconds of each handler, by exclusive time.
fn rows<C: Counter>(timed: &Timed<C>) -> Vec<(&'static str, u64, u128, u128)> {
    let report = timed.report();
    let row = |it: &HandlerTimes| {
        let times = [it.total(), it.exclusive()].map(|time| time.as_nanos());
        (it.registration().message, it.count(), times[0], times[1])
    };
    report.handlers().iter().map(row).collect()
}

fn callees_are_subtracted<C: Counter>() {
    let (timed, work) = timed::<C>();
    let bus = BusBuilder::new()
        .register_query::<Leaf, _>(work.clone())
        .register_command::<Branch, _>(work.clone())
        .subscribe::<Root, _>(work.clone())
        .layer(timed.clone())
        .build();
    bus.publish(&Root);
    bus.publish(&Root);
    assert_eq!(
        rows(&timed),
        [
            ("leaf", 6, 2_600, 2_600),
            ("branch", 2, 622, 22),
            ("root", 2, 2_624, 2)
        ]
    );
    let report = timed.report();
    let [leaf, branch, root] = report.handlers() else {
        panic!("three handlers")
    };
    assert_eq!(leaf.share(), 2_600.0 / 2_624.0);
    assert_eq!(branch.mean(), ns(311));
    assert_eq!(root.max(), ns(1_312));
}

#[test]
fn the_exclusive_time_is_exactly_that_without_the_callees() {
    callees_are_subtracted::<AtomicU64>();
    callees_are_subtracted::<Cell<u64>>();
}

#[test]
fn a_panic_counts_and_leaves_the_nesting_correct() {
    struct Brave;
    query!(Brave -> u64, name = "brave");
    struct Catches(Work);
    impl<B: SendQuery<Leaf>> QueryHandler<Brave, B> for Catches {
        fn handle(&self, _: Brave, bus: &B) -> u64 {
            let unlucky = catch_unwind(AssertUnwindSafe(|| {
                let clock = &self.0.0;
                clock.increment(2_u64);
                bus.send(Leaf(50));
                bus.send(Leaf(13))
            }));
            assert!(unlucky.is_err());
            self.0.0.increment(3_u64);
            bus.send(Leaf(10))
        }
    }
    let (timed, work) = timed::<AtomicU64>();
    let bus = BusBuilder::new()
        .register_query::<Leaf, _>(work.clone())
        .register_query::<Brave, _>(Catches(work))
        .layer(timed.clone())
        .build();
    for calls in 1..=2 {
        bus.send::<Brave>(Brave);
        assert_eq!(
            rows(&timed),
            [
                (
                    "leaf",
                    3 * calls,
                    60 * u128::from(calls),
                    60 * u128::from(calls)
                ),
                (
                    "brave",
                    calls,
                    65 * u128::from(calls),
                    5 * u128::from(calls)
                )
            ]
        );
    }
}

#[test]
fn the_callees_within_another_timed_are_not_subtracted() {
    let (outer, work) = timed::<AtomicU64>();
    let inner = Timed::<AtomicU64>::with(outer.shared.clock.clone());
    let bus = BusBuilder::new()
        .register_query::<Leaf, _>(work.clone())
        .layer(inner.clone())
        .mount(on_command::<Branch, _>(work.clone()).layer(outer.clone()))
        .build();
    bus.execute(Branch);
    assert_eq!(rows(&inner), [("leaf", 2, 300, 300)]);
    assert_eq!(rows(&outer), [("branch", 1, 311, 311)]);
}

#[test]
fn a_call_that_comes_back_through_another_timed_is_subtracted() {
    let (outer, work) = timed::<AtomicU64>();
    let other = Timed::<AtomicU64>::with(outer.shared.clock.clone());
    let bus = BusBuilder::new()
        .mount(on_query::<Leaf, _>(work.clone()).layer(outer.clone()))
        .mount(on_command::<Branch, _>(work.clone()).layer(other.clone()))
        .mount(on_event::<Root, _>(work.clone()).layer(outer.clone()))
        .build();
    bus.publish(&Root);
    assert_eq!(
        rows(&outer),
        [("leaf", 3, 1_300, 1_300), ("root", 1, 1_312, 12)]
    );
    assert_eq!(rows(&other), [("branch", 1, 311, 311)]);
}

#[test]
fn a_call_on_another_thread_is_not_a_callee() {
    struct Elsewhere;
    query!(Elsewhere -> (), name = "elsewhere");
    struct Spawns(Work);
    impl<B: SendQuery<Leaf> + Sync> QueryHandler<Elsewhere, B> for Spawns {
        fn handle(&self, _: Elsewhere, bus: &B) {
            self.0.0.increment(1_u64);
            std::thread::scope(|scope| {
                scope.spawn(|| bus.send(Leaf(40)));
            });
            bus.send(Leaf(60));
        }
    }
    let (timed, work) = timed::<AtomicU64>();
    let bus = BusBuilder::new()
        .register_query::<Leaf, _>(work.clone())
        .register_query::<Elsewhere, _>(Spawns(work))
        .layer(timed.clone())
        .build();
    bus.send::<Elsewhere>(Elsewhere);
    assert_eq!(
        rows(&timed),
        [("leaf", 2, 100, 100), ("elsewhere", 1, 101, 41)]
    );
}

#[test]
fn percentiles_are_those_of_the_total_times_and_a_reset_forgets_them() {
    let (timed, work) = timed::<Cell<u64>>();
    let bus = BusBuilder::new()
        .register_query::<Leaf, _>(work)
        .layer(timed.clone())
        .build();
    let calls = (1..=1_000).filter(|nanoseconds| *nanoseconds != 13);
    for nanoseconds in calls {
        bus.send::<Leaf>(Leaf(nanoseconds));
    }
    let report = timed.report();
    let leaf = &report.handlers()[0];
    for (percent, exact) in [(0.0, 1), (50.0, 501), (90.0, 901), (99.0, 991)] {
        let found = leaf.percentile(percent).unwrap();
        assert!(found >= ns(exact), "{percent}: {found:?}");
        assert!(found <= ns(exact + exact / 32), "{percent}: {found:?}");
    }
    assert_eq!(leaf.percentile(100.0), Ok(ns(1_000)));

    timed.reset();
    let report = timed.report();
    let leaf = &report.handlers()[0];
    assert_eq!((leaf.count(), leaf.max(), leaf.mean()), (0, ns(0), ns(0)));
    assert_eq!(leaf.percentile(50.0), Ok(ns(0)), "without calls");
    assert_eq!(rows(&timed), [("leaf", 0, 0, 0)]);
}

#[test]
fn a_percentile_out_of_range_is_an_error() {
    let (timed, work) = timed::<AtomicU64>();
    BusBuilder::new()
        .register_query::<Leaf, _>(work)
        .layer(timed.clone())
        .build();
    let report = timed.report();
    for percent in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
        let error = report.handlers()[0].percentile(percent).unwrap_err();
        let text = std::format!("{percent} is not a percentile: give a number from 0 to 100");
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_layer_around_an_empty_bus_has_an_empty_report() {
    let (timed, _) = timed::<AtomicU64>();
    BusBuilder::new().layer(timed.clone()).build();
    let report = timed.report();
    assert!(report.handlers().is_empty());
    assert_eq!(report.to_json(), "[]");
    assert!(report.to_string().starts_with("kind  message  handler"));
}

#[test]
fn the_table_has_a_line_for_each_handler_and_equal_columns() {
    let (timed, work) = timed::<AtomicU64>();
    let bus = BusBuilder::new()
        .register_query::<Leaf, _>(work.clone())
        .register_command::<Branch, _>(work)
        .layer(timed.clone())
        .build();
    bus.execute(Branch);
    assert_eq!(
        timed.report().to_string().lines().collect::<Vec<_>>(),
        [
            "kind     message  handler  count      p50      p90      p99    p99.9      max     mean    total  exclusive   share",
            "query    leaf     Work         2  101.0ns  200.0ns  200.0ns  200.0ns  200.0ns  150.0ns  300.0ns    300.0ns  96.5 %",
            "command  branch   Work         1  311.0ns  311.0ns  311.0ns  311.0ns  311.0ns  311.0ns  311.0ns     11.0ns   3.5 %",
        ]
    );
}

#[test]
fn a_clone_has_the_same_histograms() {
    let (timed, work) = timed::<AtomicU64>();
    let bus = BusBuilder::new()
        .register_query::<Leaf, _>(work.clone())
        .layer(timed.clone())
        .register_command::<Branch, _>(work)
        .layer(timed.clone())
        .build();
    let clone = bus.clone();
    bus.execute(Branch);
    clone.execute(Branch);
    // A handler within the layer twice is listed twice, and the inner one has the exclusive time.
    assert_eq!(
        rows(&timed),
        [
            ("leaf", 4, 600, 600),
            ("branch", 2, 622, 22),
            ("leaf", 4, 600, 0)
        ]
    );
}
