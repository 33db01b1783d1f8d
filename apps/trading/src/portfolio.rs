//! The account: its equity, and the open position.

use std::cell::Cell;

use serde::Serialize;
use static_bus::prelude::*;

use crate::messages::{BarClose, EquityMarked, Fill, GetEquity, GetPosition, TradeClosed};

#[derive(Serialize)]
pub struct Portfolio {
    /// At the start.
    cash: f64,
    equity: Cell<f64>,
    /// The profit of all closed trades, less the commission of the open position.
    realized: Cell<f64>,
    /// The fill that opened the current position.
    entry: Cell<Option<Fill>>,
}

impl Portfolio {
    pub fn new(cash: f64) -> Self {
        Self {
            cash,
            equity: Cell::new(cash),
            realized: Cell::new(0.0),
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
        let realized = self.realized.get() - fill.commission;
        let Some(entry) = self.entry.take() else {
            self.realized.set(realized);
            self.entry.set(Some(*fill));
            return;
        };
        debug_assert_eq!(entry.units, -fill.units, "a position is closed whole");
        let gain = entry.units * (fill.price - entry.price);
        self.realized.set(realized + gain);
        bus.publish(&TradeClosed {
            size: entry.units,
            entry_bar: entry.bar,
            exit_bar: fill.bar,
            entry_price: entry.price,
            exit_price: fill.price,
            pnl: gain - entry.commission - fill.commission,
        });
    }
}

impl<B> EventHandler<BarClose, B> for Portfolio
where
    B: PublishEvent<EquityMarked>,
{
    fn handle(&self, close: &BarClose, bus: &B) {
        let gain = |entry: Fill| entry.units * (close.price - entry.price);
        let pnl = self.realized.get() + self.entry.get().map_or(0.0, gain);
        let equity = self.cash + pnl;
        self.equity.set(equity);
        bus.publish(&EquityMarked {
            day: close.day,
            equity,
            pnl,
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
