//! The figures of a run: equity, drawdown, trades, fees and the Sharpe ratio.

use std::cell::{Cell, RefCell};

use serde::Serialize;
use static_bus::prelude::*;

use crate::{
    messages::{EquityMarked, Fill, TradeClosed},
    sharpe::sharpe,
};

#[derive(Default, Serialize)]
pub struct Metrics {
    marks: RefCell<Vec<EquityMarked>>,
    trades: RefCell<Vec<TradeClosed>>,
    fees: Cell<f64>,
}

impl<B> EventHandler<EquityMarked, B> for Metrics {
    fn handle(&self, marked: &EquityMarked, _bus: &B) {
        self.marks.borrow_mut().push(*marked);
    }
}

impl<B> EventHandler<Fill, B> for Metrics {
    fn handle(&self, fill: &Fill, _bus: &B) {
        self.fees.set(self.fees.get() + fill.commission);
    }
}

impl<B> EventHandler<TradeClosed, B> for Metrics {
    fn handle(&self, trade: &TradeClosed, _bus: &B) {
        self.trades.borrow_mut().push(*trade);
    }
}

impl Metrics {
    /// `None` before the first close.
    pub fn into_performance(self) -> Option<Performance> {
        let (marks, trades) = (self.marks.into_inner(), self.trades.into_inner());
        let equities = || marks.iter().map(|mark| mark.equity);
        let won = trades.iter().filter(|trade| trade.pnl > 0.0).count();
        let last = marks.last()?;
        let figures = Figures {
            equity_final: last.equity,
            equity_peak: equities().fold(f64::NEG_INFINITY, f64::max),
            pnl: last.pnl,
            fees: self.fees.get(),
            max_drawdown_pct: drawdowns(&marks).fold(0.0, f64::min),
            closed_trades: trades.len(),
            win_rate_pct: (!trades.is_empty()).then(|| won as f64 / trades.len() as f64 * 100.0),
            sharpe: sharpe(&marks),
        };
        Some(Performance {
            figures,
            trades,
            marks,
        })
    }
}

/// A run, bar by bar.
pub struct Performance {
    pub figures: Figures,
    pub trades: Vec<TradeClosed>,
    /// At each close.
    pub marks: Vec<EquityMarked>,
}

/// A run in numbers. They are finite, because amounts are limited (see [`AMOUNTS`](crate::bars::AMOUNTS)).
#[derive(Clone, Copy)]
pub struct Figures {
    pub equity_final: f64,
    pub equity_peak: f64,
    pub pnl: f64,
    pub fees: f64,
    /// Negative, or zero.
    pub max_drawdown_pct: f64,
    pub closed_trades: usize,
    /// The share of closed trades with a profit; `None` without a trade.
    pub win_rate_pct: Option<f64>,
    pub sharpe: Option<f64>,
}

/// At each mark, in percent of the highest equity so far; zero or negative.
pub fn drawdowns(marks: &[EquityMarked]) -> impl Iterator<Item = f64> {
    let mut peak = None;
    marks.iter().map(move |mark| {
        let peak = peak.get_or_insert(*mark);
        if mark.pnl > peak.pnl {
            *peak = *mark;
        }
        (mark.pnl - peak.pnl) / peak.equity * 100.0
    })
}
