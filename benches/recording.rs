//! The cost of recording on the thread of the bus: the same loop without a log and with one, in turns.
//!
//! ```text
//! cargo bench --bench recording
//! ```

use std::cell::Cell;
use std::hint::black_box;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use static_bus::log::{Durability, Options, Writer};
use static_bus::mailbox::Cascade;
use static_bus::prelude::*;
use static_bus::time::Time;

/// Messages of one turn.
const TICKS: u64 = 2_000;
const TURNS: usize = 401;

#[derive(Serialize, Deserialize)]
struct Tick {
    symbol: u32,
    price: f64,
    size: u32,
}
event!(Tick);
mailbox! {
    #[derive(Serialize, Deserialize)]
    enum Input { event Tick }
}

fn tick(number: u64) -> (Time, Input) {
    let tick = Tick {
        symbol: (number % 500) as u32,
        price: number as f64 / 3.0,
        size: (number * 31 % 1_000) as u32,
    };
    (Time::from_nanos(number as i64 * 1_000), tick.into())
}

/// Delivers ticks, with a call before each; returns the nanoseconds of one tick.
fn run(ticks: Range<u64>, mut before: impl FnMut(Time, &Input)) -> f64 {
    let sum = Cell::new(0.0);
    let bus = BusBuilder::new()
        .subscribe_fn(|tick: &Tick| sum.set(sum.get() + tick.price * f64::from(tick.size)))
        .build();
    let start = Instant::now();
    for number in ticks {
        let (time, input) = tick(black_box(number));
        before(time, &input);
        input.deliver(&bus);
    }
    let elapsed = start.elapsed();
    black_box(sum.get());
    elapsed.as_nanos() as f64 / TICKS as f64
}

/// A writer that has written before, so that its buffer's memory is in use.
fn writer(folder: &Path, durability: Durability) -> Writer<Input> {
    let options = Options::new().durability(durability);
    let log = folder.join(format!("{durability:?}"));
    let mut writer = options.create(log).expect("a log");
    for _ in 0..200_000 {
        writer.record(Time::MIN, &tick(0).1).expect("recorded");
    }
    writer
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder for the logs");
    let ways = [Durability::Process, Durability::Disk];
    let mut writers = ways.map(|durability| writer(folder.path(), durability));
    let mut last = 0;
    let mut times = vec![];
    for _ in 0..TURNS {
        let ticks = last..last + TICKS;
        last = ticks.end;
        let plain = run(ticks.clone(), |_, _| ());
        let recorded = writers.each_mut().map(|writer| {
            let nanos = run(ticks.clone(), |time, input| {
                writer.record(time, input).expect("recorded")
            });
            // Not measured: so that no turn waits for the disk.
            writer.flush().expect("written");
            nanos
        });
        times.push((plain, recorded));
    }
    let median = |nanos: &dyn Fn(&(f64, [f64; 2])) -> f64| {
        let mut all: Vec<f64> = times.iter().map(nanos).collect();
        all.sort_by(f64::total_cmp);
        all[TURNS / 2]
    };
    println!("medians of {TURNS} turns of {TICKS} ticks:");
    println!(
        "without a log        {:6.1} ns a tick",
        median(&|(plain, _)| *plain)
    );
    for (way, durability) in ways.iter().enumerate() {
        let nanos = median(&|(_, recorded)| recorded[way]);
        let more = median(&|(plain, recorded)| recorded[way] - plain);
        let ratio = median(&|(plain, recorded)| recorded[way] / plain);
        let durability = format!("{durability:?}");
        println!(
            "recorded, {durability:10} {nanos:6.1} ns a tick, {more:5.1} ns more, {ratio:5.1} times"
        );
    }
}
