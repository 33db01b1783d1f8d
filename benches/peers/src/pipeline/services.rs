//! The trading services: the work for each message, without dispatch.
//!
//! Prices and money are whole cents.

use std::cell::Cell;

#[derive(Clone, Copy)]
pub struct Tick {
    pub price: i64,
}
#[derive(Clone, Copy)]
pub struct Averaged {
    pub fast: i64,
    pub slow: i64,
}
#[derive(Clone, Copy)]
pub struct PlaceOrder {
    pub units: i64,
}
#[derive(Clone, Copy)]
pub struct Fill {
    pub units: i64,
    pub price: i64,
    pub fee: i64,
}

/// Two exponential moving averages, in 1/65536 of a cent.
#[derive(Clone, Copy, Default)]
pub struct Indicator {
    fast: i64,
    slow: i64,
}
impl Indicator {
    #[inline]
    pub fn on_tick(&mut self, tick: Tick) -> Averaged {
        let price = tick.price << 16;
        self.fast += (price - self.fast) >> 3;
        self.slow += (price - self.slow) >> 5;
        Averaged {
            fast: self.fast,
            slow: self.slow,
        }
    }
}

/// Long while the fast average is above the slow one, short otherwise.
#[derive(Clone, Copy, Default)]
pub struct Strategy {
    position: i64,
}
impl Strategy {
    const SIZE: i64 = 10;

    #[inline]
    pub fn on_averaged(&self, averaged: Averaged) -> Option<PlaceOrder> {
        let long = averaged.fast > averaged.slow;
        let wanted = if long { Self::SIZE } else { -Self::SIZE };
        let units = wanted - self.position;
        (units != 0).then_some(PlaceOrder { units })
    }
    #[inline]
    pub fn on_fill(&mut self, fill: Fill) {
        self.position += fill.units;
    }
}

/// Fills every order at once, half a spread away from the last price.
#[derive(Clone, Copy, Default)]
pub struct Exchange {
    price: i64,
}
impl Exchange {
    const HALF_SPREAD: i64 = 1;
    const FEE: i64 = 2;

    #[inline]
    pub fn on_tick(&mut self, tick: Tick) {
        self.price = tick.price;
    }
    #[inline]
    pub fn on_order(&self, order: PlaceOrder) -> Fill {
        Fill {
            units: order.units,
            price: self.price + order.units.signum() * Self::HALF_SPREAD,
            fee: order.units.abs() * Self::FEE,
        }
    }
}

#[derive(Clone, Copy, Default)]
pub struct Portfolio {
    cash: i64,
    position: i64,
    peak: i64,
    drawdown: i64,
    fills: u64,
    journal: u64,
}
impl Portfolio {
    #[inline]
    pub fn on_tick(&mut self, tick: Tick) {
        let equity = self.cash + self.position * tick.price;
        self.peak = self.peak.max(equity);
        self.drawdown = self.drawdown.max(self.peak - equity);
    }
    #[inline]
    pub fn on_fill(&mut self, fill: Fill) {
        self.cash -= fill.units * fill.price + fill.fee;
        self.position += fill.units;
        self.fills += 1;
        self.journal = mix(self.journal, [self.cash, self.position]);
    }
    pub fn fills(&self) -> u64 {
        self.fills
    }
}

/// The state of all services.
#[derive(Clone, Copy, Default)]
pub struct State {
    pub indicator: Indicator,
    pub strategy: Strategy,
    pub exchange: Exchange,
    pub portfolio: Portfolio,
}
impl State {
    /// A hash of every field, and of every fill in order.
    pub fn hash(&self) -> u64 {
        let Portfolio {
            cash,
            position,
            peak,
            drawdown,
            journal,
            ..
        } = self.portfolio;
        let hash = mix(journal, [cash, position, peak, drawdown]);
        let Indicator { fast, slow } = self.indicator;
        mix(
            hash,
            [fast, slow, self.strategy.position, self.exchange.price],
        )
    }
}

/// FNV-1a, a word at a time.
#[inline]
fn mix(hash: u64, values: impl IntoIterator<Item = i64>) -> u64 {
    values.into_iter().fold(hash, |hash, value| {
        (hash ^ value as u64).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A service on a bus: several messages reach it, so its state is in a cell.
#[derive(Default)]
pub struct Shared<T>(Cell<T>);
impl<T: Copy> Shared<T> {
    #[inline]
    pub fn get(&self) -> T {
        self.0.get()
    }
    #[inline]
    pub fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut state = self.0.get();
        let result = change(&mut state);
        self.0.set(state);
        result
    }
}

/// The services of a bus.
#[derive(Default)]
pub struct Services {
    pub indicator: Shared<Indicator>,
    pub strategy: Shared<Strategy>,
    pub exchange: Shared<Exchange>,
    pub portfolio: Shared<Portfolio>,
}
impl Services {
    #[inline]
    pub fn state(&self) -> State {
        State {
            indicator: self.indicator.get(),
            strategy: self.strategy.get(),
            exchange: self.exchange.get(),
            portfolio: self.portfolio.get(),
        }
    }
    #[inline]
    pub fn resume(&self, state: State) {
        self.indicator.0.set(state.indicator);
        self.strategy.0.set(state.strategy);
        self.exchange.0.set(state.exchange);
        self.portfolio.0.set(state.portfolio);
    }
}
