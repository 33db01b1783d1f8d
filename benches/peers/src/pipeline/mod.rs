//! Tick → indicator → strategy → order → fill → portfolio: written by hand as one loop, on
//! static-bus, and on nautilus's message bus.

mod handwritten;
mod market;
#[cfg(feature = "nautilus")]
mod on_nautilus;
mod on_static_bus;
mod services;

use std::hint::black_box;

use market::{BATCH, Market};
use services::{State, Tick};

use crate::{
    allocations,
    measure::{self, Contestant},
};

const ROUNDS: usize = 401;

/// Runs the services over a batch of ticks.
type Trade = Box<dyn FnMut(State, &[Tick]) -> State>;

/// One variant of the pipeline, and its progress.
struct Way<'a> {
    name: &'static str,
    trade: Trade,
    market: &'a Market,
    batch: usize,
    state: State,
}

impl Contestant for Way<'_> {
    fn batch(&mut self) -> u64 {
        BATCH as u64
    }
    /// Loads the ticks into the cache. Otherwise the first variant of a round would do it for the others.
    fn prepare(&mut self, _: u64) {
        let ticks = self.market.batch(self.batch);
        black_box(ticks.iter().map(|tick| tick.price).max());
    }
    fn run(&mut self, _: u64) {
        self.state = (self.trade)(self.state, self.market.batch(self.batch));
        self.batch += 1;
    }
}

pub fn run() {
    let market = &Market::new(ROUNDS + 1);
    let way = |name, trade: Trade| Way {
        name,
        trade,
        market,
        batch: 0,
        state: State::default(),
    };
    let mut ways = Vec::from([
        way("handwritten loop", Box::new(handwritten::run)),
        way("static-bus", Box::new(on_static_bus::run)),
    ]);
    #[cfg(feature = "nautilus")]
    {
        let mut pipeline = on_nautilus::OnNautilus::new();
        let trade = Box::new(move |state, ticks: &[Tick]| pipeline.run(state, ticks));
        ways.push(way("nautilus-common 0.57", trade));
    }

    let allocations: Vec<u64> = ways
        .iter_mut()
        .map(|way| allocations::count(|| way.run(BATCH as u64)))
        .collect();
    let mut contestants: Vec<&mut Way> = ways.iter_mut().collect();
    let scores = measure::compare(ROUNDS, &mut contestants);

    println!("| way | a tick | allocations a tick | state |");
    println!("|---|--:|--:|---|");
    for ((way, score), allocations) in ways.iter().zip(scores).zip(allocations) {
        println!(
            "| {} | {:.2} ns, ×{:.2} | {:.2} | {:016x} |",
            way.name,
            score.nanoseconds,
            score.ratio,
            allocations as f64 / BATCH as f64,
            way.state.hash(),
        );
    }
    println!();
    println!(
        "{} ticks, {} fills.",
        (ROUNDS + 1) * BATCH,
        ways[0].state.portfolio.fills()
    );
    for way in &ways {
        assert_eq!(
            way.state.hash(),
            ways[0].state.hash(),
            "{} ends in another state than {}",
            way.name,
            ways[0].name
        );
    }
}
