//! Cash and the open position.

use std::cell::Cell;

use static_bus::prelude::*;

use crate::messages::{BarClose, EquityMarked, Fill, GetEquity, GetPosition, TradeClosed};

pub struct Portfolio {
    cash: Cell<f64>,
    equity: Cell<f64>,
    /// The fill that opened the current position.
    entry: Cell<Option<Fill>>,
}

impl Portfolio {
    pub fn new(cash: f64) -> Self {
        Self {
            cash: Cell::new(cash),
            equity: Cell::new(cash),
            entry: Cell::new(None),
        }
    }

    fn units(&self) -> f64 {
        self.entry.get().map_or(0.0, |entry| entry.units)
    }
}

impl<B> EventHandler<Fill, B> for Portfolio
where
    B: PublishEvent<TradeClosed>,
{
    fn handle(&self, fill: &Fill, bus: &B) {
        self.cash
            .set(self.cash.get() - fill.units * fill.price - fill.commission);
        let Some(entry) = self.entry.take() else {
            self.entry.set(Some(*fill));
            return;
        };
        debug_assert_eq!(entry.units, -fill.units, "a position is closed whole");
        bus.publish(&TradeClosed {
            size: entry.units,
            entry_bar: entry.bar,
            exit_bar: fill.bar,
            entry_price: entry.price,
            exit_price: fill.price,
            pnl: entry.units * (fill.price - entry.price) - entry.commission - fill.commission,
        });
    }
}

impl<B> EventHandler<BarClose, B> for Portfolio
where
    B: PublishEvent<EquityMarked>,
{
    fn handle(&self, close: &BarClose, bus: &B) {
        let equity = self.cash.get() + self.units() * close.price;
        self.equity.set(equity);
        bus.publish(&EquityMarked {
            day: close.day,
            equity,
        });
    }
}

impl<B> QueryHandler<GetPosition, B> for Portfolio {
    fn handle(&self, _: GetPosition, _bus: &B) -> f64 {
        self.units()
    }
}

impl<B> QueryHandler<GetEquity, B> for Portfolio {
    fn handle(&self, _: GetEquity, _bus: &B) -> f64 {
        self.equity.get()
    }
}
