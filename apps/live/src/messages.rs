//! The messages of a live run, and the lists of those that each bus takes from elsewhere.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use static_bus::prelude::*;
use trading::messages::{BarOpen, CancelOrders, Fill, OrderCancelled, PlaceOrder};

/// The feed begins.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct MarketOpened {
    /// The time without a tick after which the market is [`Stale`].
    pub patience: Duration,
}
event!(MarketOpened);

/// A price of the feed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Tick {
    pub bar: usize,
    /// Days since 1970-01-01.
    pub day: i64,
    pub moment: Moment,
    pub price: f64,
    /// The time at which it was read from the socket. It is neither sent nor recorded.
    #[serde(skip)]
    pub read: Option<Instant>,
}
event!(Tick);

/// The place of a tick in its bar.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Moment {
    Open,
    Close,
}

/// No tick has come for a while.
#[derive(Clone, Copy, Debug)]
pub struct Stale;
event!(Stale);

/// The feed has ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct MarketClosed;
event!(MarketClosed);

mailbox! {
    /// What the strategy's bus takes from the reader of the feed and from the exchange: the content of the
    /// log.
    #[derive(Debug, Serialize, Deserialize)]
    pub enum Input {
        event MarketOpened,
        event Tick,
        event Fill,
        event OrderCancelled,
        event MarketClosed,
    }
}

mailbox! {
    /// What the exchange's bus takes from the strategy.
    pub enum ToExchange {
        event BarOpen,
        command PlaceOrder,
        command CancelOrders,
        event MarketClosed,
    }
}

mailbox! {
    /// What the strategy's modules schedule.
    pub enum Timers {
        event Stale,
    }
}
