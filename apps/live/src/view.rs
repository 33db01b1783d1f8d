//! The run as it is watched: a progress bar on a terminal, a line each second elsewhere. It is on stderr,
//! so stdout has the result alone.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use static_bus::prelude::*;
use trading::messages::{GetEquity, GetPosition};

use crate::messages::Tick;

/// The present state of a run. Subscribes to ticks.
#[derive(Default)]
pub struct Gauges {
    ticks: AtomicU64,
    /// The bits of a number, as those of the equity.
    position: AtomicU64,
    equity: AtomicU64,
    /// From the socket to the strategy, in nanoseconds.
    lag: AtomicU64,
}

impl<B> EventHandler<Tick, B> for Gauges
where
    B: SendQuery<GetPosition> + SendQuery<GetEquity>,
{
    fn handle(&self, tick: &Tick, bus: &B) {
        self.ticks.fetch_add(1, Relaxed);
        self.position
            .store(bus.send(GetPosition).to_bits(), Relaxed);
        self.equity.store(bus.send(GetEquity).to_bits(), Relaxed);
        if let Some(read) = tick.read {
            self.lag.store(read.elapsed().as_nanos() as u64, Relaxed);
        }
    }
}

/// Shows the gauges until the run has ended.
pub fn watch(gauges: &Gauges, ticks: u64, has_ended: impl Fn() -> bool) {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} ticks{msg}");
    let bar = ProgressBar::new(ticks).with_style(style.expect("the template is well-formed"));
    let interval = Duration::from_millis(if bar.is_hidden() { 1000 } else { 100 });
    let (mut shown, mut at) = (0, Instant::now());
    while !has_ended() {
        thread::sleep(Duration::from_millis(20));
        if at.elapsed() < interval {
            continue;
        }
        let done = gauges.ticks.load(Relaxed);
        let rate = (done - shown) as f64 / at.elapsed().as_secs_f64();
        let text = format!(
            ", {rate:.0}/s, position {}, equity {:.2}, lag {:.1?}",
            f64::from_bits(gauges.position.load(Relaxed)),
            f64::from_bits(gauges.equity.load(Relaxed)),
            Duration::from_nanos(gauges.lag.load(Relaxed)),
        );
        if bar.is_hidden() {
            note(&format!("{done}/{ticks} ticks{text}"));
        }
        bar.set_position(done);
        bar.set_message(text);
        (shown, at) = (done, Instant::now());
    }
    bar.finish_and_clear();
}

/// Prints a line to stderr. Nobody may be reading it, which is no reason to end a run.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
