//! The time of a call through the bus, next to a plain call and to a map of boxed handlers.
//!
//! ```text
//! cargo bench --bench dispatch              # all
//! cargo bench --bench dispatch -- event_3   # one shape
//! ```
//!
//! Times of a few nanoseconds depend on the machine and its load; the table of ratios at the end compares
//! measurements of this run only.
//!
//! No call is optimised away: its argument comes from a `black_box`, and the handler mixes
//! it into state that depends on all arguments before it. After a benchmark, the state must be that of the same number
//! of plain calls, or the bench panics.

use std::fmt::{self, Write};
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use work::{Mixers, mixers};

#[path = "dispatch/bus.rs"]
mod bus;
#[path = "dispatch/map.rs"]
mod map;
#[path = "dispatch/plain.rs"]
mod plain;
#[path = "dispatch/work.rs"]
mod work;

/// The folder of criterion's results, which the table is made from.
const RESULTS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/dispatch");

fn main() {
    // A comparison with an earlier run would mostly measure the load of the machine.
    let _ = fs::remove_dir_all(RESULTS);
    let mut criterion = Criterion::default()
        .output_directory(Path::new(RESULTS))
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let mut ratios = Ratios::default();

    macro_rules! in_all_ways {
        ($($shape:ident)*) => { $(
            let mut shape = Shape::new(&mut criterion, stringify!($shape), plain::$shape);
            shape.measure("plain", plain::$shape);
            shape.measure("static-bus", bus::$shape);
            shape.measure("typeid-map", map::$shape);
            ratios.add(shape);
        )* };
    }
    in_all_ways!(query command event_1 event_3 nested);

    let mut mailbox = Shape::new(&mut criterion, "mailbox", plain::event_1);
    mailbox.measure("plain", plain::event_1);
    mailbox.measure("publish", bus::event_1);
    mailbox.measure("post-and-settle", bus::post_and_settle);
    mailbox.measure("queue-by-hand", plain::queue);
    ratios.add(mailbox);

    criterion.final_summary();
    println!(
        "\nThe state of all handlers is that after the same number of plain calls. Time of a call, the first way = 1.00:\n\n{ratios}"
    );
}

/// One kind of call, measured in several variants.
struct Shape<'a, P> {
    name: &'static str,
    plain: P,
    group: BenchmarkGroup<'a, WallTime>,
    measured: Vec<&'static str>,
}

impl<'a, P: Fn(Mixers) -> Q, Q: Fn(u64) -> u64> Shape<'a, P> {
    fn new(criterion: &'a mut Criterion, name: &'static str, plain: P) -> Self {
        let group = criterion.benchmark_group(name);
        Shape {
            name,
            plain,
            group,
            measured: Vec::new(),
        }
    }

    /// # Panics
    /// If the state of the handlers differs from that after the same number of plain calls.
    fn measure<C: Fn(u64) -> u64>(&mut self, way: &'static str, make: impl Fn(Mixers) -> C) {
        let state = mixers();
        let call = black_box(make(state));
        let mut calls = 0;
        self.group.bench_function(way, |bencher| {
            bencher.iter(|| {
                calls += 1;
                call(black_box(calls))
            })
        });

        let expected = mixers();
        let plain_call = (self.plain)(expected);
        for n in 1..=calls {
            black_box(plain_call(n));
        }
        assert_eq!(
            state, expected,
            "{}, {way}: not all of {calls} calls were executed",
            self.name
        );
        if calls > 0 {
            self.measured.push(way);
        }
    }
}

/// The fastest samples of this run as multiples of the plain call's. Other load on the machine can only slow a sample
/// down, so the fastest sample depends least on it.
#[derive(Default)]
struct Ratios(String);

impl Ratios {
    fn add<P>(&mut self, shape: Shape<P>) {
        let Shape {
            name,
            group,
            measured,
            ..
        } = shape;
        group.finish();
        let mut first = None;
        for way in measured {
            let Some(time) = fastest(name, way) else {
                continue;
            };
            let ratio = time / *first.get_or_insert(time);
            let _ = writeln!(self.0, "{name:<8} {way:<16} {ratio:>6.2}");
        }
    }
}

/// The time of a call in the fastest sample, in nanoseconds. With `--test`, criterion takes no samples.
fn fastest(shape: &str, way: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("{RESULTS}/{shape}/{way}/new/sample.json")).ok()?;
    let samples: serde_json::Value = serde_json::from_str(&text).ok()?;
    let (times, calls) = (samples["times"].as_array()?, samples["iters"].as_array()?);
    let per_call = times
        .iter()
        .zip(calls)
        .map(|(time, calls)| Some(time.as_f64()? / calls.as_f64()?));
    per_call.flatten().min_by(f64::total_cmp)
}

impl fmt::Display for Ratios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
