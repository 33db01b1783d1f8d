//! Four synthetic tick streams, made from a seed as they are read and merged by time. Nothing is
//! stored, so a hundred million ticks take no more memory than one.

use static_bus::sim::{Merge, Stream, Time, merge};

pub const SYMBOLS: usize = 4;

/// The place of a symbol in [`NAMES`].
pub type Symbol = usize;
const NAMES: [&str; SYMBOLS] = ["AAA", "BBB", "CCC", "DDD"];

/// A trade that the market reports.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    pub symbol: Symbol,
    pub price: f64,
    pub size: f64,
}

/// The merged streams. They never end.
#[derive(Clone)]
pub struct Ticks(Merge<Market, Tick>);

impl Ticks {
    pub fn new(seed: u64) -> Self {
        let streams = NAMES.iter().enumerate();
        Self(merge(streams.map(|(symbol, name)| {
            Stream::new(*name, Market::new(symbol, seed))
        })))
    }

    #[inline]
    pub fn next(&mut self) -> Tick {
        let Some(Ok((_, tick))) = self.0.next() else {
            unreachable!("a market never closes, and its time only grows")
        };
        tick
    }
}

/// A random walk of one symbol's price, in cents.
#[derive(Clone)]
struct Market {
    symbol: Symbol,
    random: u64,
    time: Time,
    cents: i64,
}

impl Market {
    fn new(symbol: Symbol, seed: u64) -> Self {
        Self {
            symbol,
            random: mix(seed ^ mix(symbol as u64 + 1)),
            time: 0,
            cents: 5_000 * (symbol as i64 + 1),
        }
    }
}

impl Iterator for Market {
    type Item = (Time, Tick);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // SplitMix64 (Steele, Lea and Flood, 2014): a counter, scrambled.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = mix(self.random);
        let up_to = |shift: u32, most: u64| bits >> shift & most;

        self.time += 1 + up_to(0, 255);
        let step = up_to(8, 3) as i64 - up_to(10, 3) as i64;
        self.cents = (self.cents + step).max(100);
        let tick = Tick {
            symbol: self.symbol,
            price: self.cents as f64 * 0.01,
            size: (1 + up_to(12, 63)) as f64,
        };
        Some((self.time, tick))
    }
}

/// The finaliser of SplitMix64: each bit of the result depends on all bits given.
#[inline]
pub fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
