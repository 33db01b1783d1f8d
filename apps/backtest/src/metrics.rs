//! The result of the run: equity, drawdown, trades, fees and the Sharpe ratio.

use std::cell::RefCell;

use static_bus::prelude::*;

use crate::messages::{EquityMarked, Fill, TradeClosed};

/// Trading days in a year.
const YEAR: i32 = 252;

#[derive(Default)]
pub struct Metrics(RefCell<Performance>);

impl Metrics {
    pub fn into_performance(self) -> Performance {
        self.0.into_inner()
    }
}

impl<B> EventHandler<EquityMarked, B> for Metrics {
    fn handle(&self, marked: &EquityMarked, _bus: &B) {
        self.0.borrow_mut().mark(*marked);
    }
}

impl<B> EventHandler<Fill, B> for Metrics {
    fn handle(&self, fill: &Fill, _bus: &B) {
        self.0.borrow_mut().fees += fill.commission;
    }
}

impl<B> EventHandler<TradeClosed, B> for Metrics {
    fn handle(&self, trade: &TradeClosed, _bus: &B) {
        self.0.borrow_mut().trades.push(*trade);
    }
}

#[derive(Default)]
pub struct Performance {
    pub equity_final: f64,
    pub equity_peak: f64,
    /// Negative, or zero.
    pub max_drawdown_pct: f64,
    pub fees: f64,
    pub trades: Vec<TradeClosed>,
    /// At each close.
    pub equities: Vec<f64>,
    /// The last equity of each day.
    daily: Vec<EquityMarked>,
}

impl Performance {
    fn mark(&mut self, marked: EquityMarked) {
        let equity = marked.equity;
        self.equity_final = equity;
        self.equities.push(equity);
        self.equity_peak = if self.daily.is_empty() {
            equity
        } else {
            self.equity_peak.max(equity)
        };
        self.max_drawdown_pct = self
            .max_drawdown_pct
            .min((equity / self.equity_peak - 1.0) * 100.0);
        match self.daily.last_mut() {
            Some(last) if last.day == marked.day => *last = marked,
            _ => self.daily.push(marked),
        }
    }

    /// The share of closed trades with a profit; `None` without a trade.
    pub fn win_rate_pct(&self) -> Option<f64> {
        let won = self.trades.iter().filter(|trade| trade.pnl > 0.0).count();
        (!self.trades.is_empty()).then(|| won as f64 / self.trades.len() as f64 * 100.0)
    }

    /// Annual return over annual volatility, both from daily returns.
    ///
    /// `None` where it has no meaning: too few days, no movement, or an account at or below zero.
    pub fn sharpe(&self) -> Option<f64> {
        let returns: Vec<f64> = self
            .daily
            .windows(2)
            .map(|days| days[1].equity / days[0].equity - 1.0)
            .collect();
        if returns.len() < 2 || self.daily.iter().any(|day| day.equity <= 0.0) {
            return None;
        }
        let count = returns.len() as f64;
        let mean = returns.iter().sum::<f64>() / count;
        let variance = returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let growth = (returns.iter().map(|r| r.ln_1p()).sum::<f64>() / count).exp();
        let annual_return = growth.powi(YEAR) - 1.0;
        let volatility = ((variance + growth.powi(2)).powi(YEAR) - growth.powi(2 * YEAR)).sqrt();
        Some(annual_return / volatility).filter(|ratio| ratio.is_finite())
    }
}
