//! The computation, without the dispatch. All variants share it, so a comparison of them measures
//! only the dispatch.

use super::ticks::{SYMBOLS, Symbol, Tick, mix};

/// An executed order. Sold units are negative.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    pub symbol: Symbol,
    pub units: f64,
    pub price: f64,
    pub commission: f64,
}

/// Units ordered on each signal.
const LOT: f64 = 1.0;
/// The largest position of a symbol, long or short.
const LIMIT: f64 = 40.0;
const COMMISSION: f64 = 0.000_1;
const CASH: f64 = 1_000_000.0;

/// A fast and a slow moving average of one symbol's prices, and its traded volume.
#[derive(Clone, Copy, Default)]
pub struct Averages {
    fast: f64,
    slow: f64,
    volume: f64,
}
impl Averages {
    #[inline]
    pub fn push(&mut self, tick: &Tick) {
        self.fast += (tick.price - self.fast) * 0.125;
        self.slow += (tick.price - self.slow) * 0.03125;
        self.volume += tick.size;
    }

    #[inline]
    pub fn spread(&self) -> f64 {
        self.fast - self.slow
    }
}

/// The units to order at a spread of the averages.
#[inline]
pub fn direction(spread: f64) -> f64 {
    if spread > 0.0 { LOT } else { -LOT }
}

/// True if the position with these units is within the limits.
#[inline]
pub fn within_limits(units: f64, held: f64, equity: f64) -> bool {
    (held + units).abs() <= LIMIT && equity > 0.0
}

/// Executes an order at this price.
#[inline]
pub fn fill(symbol: Symbol, units: f64, price: f64) -> Fill {
    Fill {
        symbol,
        units,
        price,
        commission: units.abs() * price * COMMISSION,
    }
}

/// The position in one symbol.
#[derive(Clone, Copy, Default)]
pub struct Holding {
    pub units: f64,
    price: f64,
}

/// Cash, and the value of all positions.
#[derive(Clone, Copy)]
pub struct Account {
    cash: f64,
    value: f64,
}
impl Default for Account {
    fn default() -> Self {
        Self {
            cash: CASH,
            value: 0.0,
        }
    }
}
impl Account {
    /// Values a position at this price. Returns the account's equity.
    #[inline]
    pub fn mark(&mut self, holding: &mut Holding, price: f64) -> f64 {
        self.value += holding.units * (price - holding.price);
        holding.price = price;
        self.equity()
    }

    #[inline]
    pub fn book(&mut self, holding: &mut Holding, fill: &Fill) {
        holding.units += fill.units;
        self.value += fill.units * holding.price;
        self.cash -= fill.units * fill.price + fill.commission;
    }

    #[inline]
    pub fn equity(&self) -> f64 {
        self.cash + self.value
    }
}

/// The course of the equity, and the cost of trading.
#[derive(Clone, Copy, Default)]
pub struct Statistics {
    peak: f64,
    drawdown: f64,
    fees: f64,
    marks: u64,
    fills: u64,
}
impl Statistics {
    #[inline]
    pub fn mark(&mut self, equity: f64) {
        self.peak = self.peak.max(equity);
        self.drawdown = self.drawdown.max(self.peak - equity);
        self.marks += 1;
    }

    #[inline]
    pub fn fill(&mut self, fill: &Fill) {
        self.fees += fill.commission;
        self.fills += 1;
    }
}

/// The number of orders, and of orders that risk refused.
#[derive(Clone, Copy, Default)]
pub struct Decisions {
    pub ordered: u64,
    pub refused: u64,
}

/// The state of all services: the input and the output of a variant.
#[derive(Clone, Copy, Default)]
pub struct State {
    pub averages: [Averages; SYMBOLS],
    pub holdings: [Holding; SYMBOLS],
    pub account: Account,
    pub statistics: Statistics,
    pub decisions: Decisions,
}

impl State {
    /// A hash of all fields.
    pub fn hash(&self) -> u64 {
        let mut hash = 0;
        let mut add = |bits: u64| hash = mix(hash ^ bits);
        for Averages { fast, slow, volume } in self.averages {
            [fast, slow, volume]
                .map(f64::to_bits)
                .into_iter()
                .for_each(&mut add);
        }
        for Holding { units, price } in self.holdings {
            [units, price]
                .map(f64::to_bits)
                .into_iter()
                .for_each(&mut add);
        }
        let Account { cash, value } = self.account;
        let Statistics {
            peak,
            drawdown,
            fees,
            marks,
            fills,
        } = self.statistics;
        let Decisions { ordered, refused } = self.decisions;
        let money = [cash, value, peak, drawdown, fees].map(f64::to_bits);
        let counts = [marks, fills, ordered, refused];
        money.into_iter().chain(counts).for_each(add);
        hash
    }

    /// The number of messages on a bus up to this state.
    ///
    /// A tick makes seven messages (Tick, EquityMarked, GetSpread, Signal, CheckOrder, GetPosition
    /// and GetEquity), and two more when risk accepts (PlaceOrder and Fill).
    pub fn messages(&self) -> u64 {
        let Decisions { ordered, refused } = self.decisions;
        7 * (ordered + refused) + 2 * ordered
    }
}
