//! The modules of the strategy's bus, the same in a live run and in a replay, and what they come to.

use std::fmt;

use serde::Serialize;
use static_bus::{prelude::*, time::Timeline};
use trading::{
    Settings,
    indicators::Indicators,
    messages::{
        BarClose, CheckOrder, EquityMarked, Fill, GetEquity, GetPosition, GetSma, OrderCancelled,
        Signal, TradeClosed,
    },
    metrics::{Metrics, Performance},
    portfolio::Portfolio,
    risk::Risk,
    strategy::Strategy,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    bars::Bars,
    messages::{MarketClosed, MarketOpened, Stale, Tick, Timers},
    watchdog::Watchdog,
};

/// More than the messages that one input posts, so the mailbox never grows.
pub const MAILBOX: usize = 64;

/// The state of all modules.
#[derive(Serialize)]
pub struct State<'a> {
    watchdog: Watchdog<'a>,
    indicators: Indicators,
    portfolio: Portfolio,
    strategy: Strategy,
    metrics: Metrics,
}

module! {
    /// The modules. At a close the averages and the account are up to date when the strategy reads them,
    /// because subscribers run in this order.
    pub struct Desk<'a> {
        watchdog: &'a Watchdog<'a> => [event MarketOpened, event Tick, event Stale, event MarketClosed],
        bars: Bars => [event Tick],
        indicators: &'a Indicators => [event BarClose, query GetSma],
        portfolio: &'a Portfolio => [event Fill, event BarClose, query GetPosition, query GetEquity],
        strategy: &'a Strategy => [event BarClose, event Signal, event Fill, event OrderCancelled],
        metrics: &'a Metrics => [event Fill, event EquityMarked, event TradeClosed],
        risk: Risk => [query CheckOrder],
    }
}

impl<'a> State<'a> {
    pub fn new(timeline: &'a Timeline<Timers>) -> Self {
        let Settings {
            fast,
            slow,
            size,
            cash,
            ..
        } = Settings::DEFAULT;
        Self {
            watchdog: Watchdog::new(timeline),
            indicators: Indicators::new(fast, slow),
            portfolio: Portfolio::new(cash),
            strategy: Strategy::new(size),
            metrics: Metrics::default(),
        }
    }

    pub fn desk(&'a self) -> Desk<'a> {
        Desk {
            watchdog: &self.watchdog,
            bars: Bars,
            indicators: &self.indicators,
            portfolio: &self.portfolio,
            strategy: &self.strategy,
            metrics: &self.metrics,
            risk: Risk,
        }
    }

    pub fn into_outcome(self) -> Outcome {
        let bytes = rmp_serde::to_vec(&self).expect("no module is in use");
        Outcome {
            hash: xxh3_64(&bytes),
            silences: self.watchdog.silences(),
            performance: self.metrics.into_performance(),
        }
    }
}

/// The result of a run. `Display` prints the trades, the figures and the hash, with all digits.
pub struct Outcome {
    /// Of the serialized state of all modules.
    hash: u64,
    silences: u64,
    /// `None` before the first close.
    performance: Option<Performance>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Performance {
            figures,
            trades,
            marks,
        }) = &self.performance
        {
            writeln!(f, "size  entry                exit                 profit")?;
            for trade in trades {
                writeln!(
                    f,
                    "{:<6}{:<20} {:<20} {}",
                    trade.size,
                    format!("{} at {}", trade.entry_bar, trade.entry_price),
                    format!("{} at {}", trade.exit_bar, trade.exit_price),
                    trade.pnl
                )?;
            }
            writeln!(f, "\nbars           {}", marks.len())?;
            writeln!(f, "closed trades  {}", figures.closed_trades)?;
            writeln!(f, "fees           {}", figures.fees)?;
            writeln!(f, "final equity   {}", figures.equity_final)?;
        }
        writeln!(f, "silences       {}", self.silences)?;
        write!(f, "state hash     {:016x}", self.hash)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use serde_json::Value;
    use static_bus::{sim::Replay, time::Time};
    use trading::{
        bars,
        exchange::Exchange,
        messages::{BarOpen, CancelOrders, Cascade, PlaceOrder},
    };

    use super::*;
    use crate::{feed::ticks, messages::Input};

    #[test]
    fn with_the_exchange_on_the_same_bus_the_modules_trade_as_in_the_backtest() {
        let timeline = Timeline::new();
        let (state, exchange) = (
            State::new(&timeline),
            Exchange::new(Settings::DEFAULT.commission),
        );
        let bus = BusBuilder::new()
            .mount(state.desk())
            .subscribe::<BarOpen, _>(&exchange)
            .register_command::<PlaceOrder, _>(&exchange)
            .register_command::<CancelOrders, _>(&exchange)
            .mailbox::<Cascade>(MAILBOX)
            .build();
        let bars = bars::load(None).expect("the bars are part of the program");
        let opened = MarketOpened {
            patience: Duration::MAX,
        };
        let opened = (Time::EPOCH, Input::from(opened));
        let ticks = ticks(&bars).map(|(micros, tick)| (Time::from_micros(micros), tick.into()));
        let inputs = [opened].into_iter().chain(ticks).map(Ok::<_, Infallible>);
        Replay::new(&bus, &timeline, inputs)
            .run()
            .expect("a tick posts few messages");
        drop(bus);

        let oracle = include_str!("../../backtest/data/oracle_sp500.json");
        let oracle: Value = serde_json::from_str(oracle).expect("the oracle is JSON");
        let oracle = &oracle["sp500_10_20"];
        let figures = state
            .into_outcome()
            .performance
            .expect("there are bars")
            .figures;
        assert_eq!(oracle["closed_trades"], figures.closed_trades);
        let equity = oracle["equity_final"].as_f64().expect("a number");
        assert!((figures.equity_final / equity - 1.0).abs() < 1e-9);
    }
}
