//! Four synthetic tick streams, made from a seed as they are read, and merged by time. Nothing is
//! stored, so a hundred million ticks take no more memory than one. The merge is written here and not
//! taken from the library: the ticks are part of the baseline, which contains no code of the library.

pub const SYMBOLS: usize = 4;

/// The index of a symbol.
pub type Symbol = usize;

/// A trade on the market.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    pub symbol: Symbol,
    pub price: f64,
    pub size: f64,
}

/// The merged streams. They never end.
pub struct Ticks {
    markets: [Market; SYMBOLS],
    /// The time and the tick that each market reports next.
    heads: [(i64, Tick); SYMBOLS],
}

impl Ticks {
    pub fn new(seed: u64) -> Self {
        let mut markets = std::array::from_fn(|symbol| Market::new(symbol, seed));
        let heads = markets.each_mut().map(Market::next);
        Self { markets, heads }
    }

    /// The earliest tick, and its time; at equal times, that of the first symbol.
    #[inline]
    pub fn next(&mut self) -> (i64, Tick) {
        // Indices from comparisons: a branch on random times would be mispredicted.
        let later = |a: usize, b: usize| usize::from(self.heads[b].0 < self.heads[a].0);
        let pair = [later(0, 1), 2 + later(2, 3)];
        let first = pair[later(pair[0], pair[1])];
        let next = self.markets[first].next();
        std::mem::replace(&mut self.heads[first], next)
    }
}

/// A random walk of one symbol's price, in cents.
struct Market {
    symbol: Symbol,
    random: u64,
    time: i64,
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

    #[inline]
    fn next(&mut self) -> (i64, Tick) {
        // SplitMix64 (Steele, Lea and Flood, 2014): a counter, scrambled.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = mix(self.random);
        let up_to = |shift: u32, most: u64| bits >> shift & most;

        self.time += 1 + up_to(0, 255) as i64;
        let step = up_to(8, 3) as i64 - up_to(10, 3) as i64;
        self.cents = (self.cents + step).max(100);
        let tick = Tick {
            symbol: self.symbol,
            price: self.cents as f64 * 0.01,
            size: (1 + up_to(12, 63)) as f64,
        };
        (self.time, tick)
    }
}

/// The finaliser of SplitMix64: each bit of the result depends on all bits of the input.
#[inline]
pub fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
