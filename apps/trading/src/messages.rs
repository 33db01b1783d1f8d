//! The messages of the services, and the mailbox that breaks the cycle.

use serde::{Deserialize, Serialize};
use static_bus::prelude::*;

/// A bar begins; pending orders are filled at its open.
#[derive(Clone, Copy, Debug)]
pub struct BarOpen {
    pub bar: usize,
    pub price: f64,
}
event!(BarOpen);

/// A bar is complete.
#[derive(Clone, Copy, Debug)]
pub struct BarClose {
    /// Days since 1970-01-01.
    pub day: i64,
    pub price: f64,
}
event!(BarClose);

/// An order was executed. Sold units are negative.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Fill {
    pub bar: usize,
    pub units: f64,
    pub price: f64,
    pub commission: f64,
}
event!(Fill);

/// An order was cancelled before it was executed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct OrderCancelled {
    pub units: f64,
}
event!(OrderCancelled);

/// The averages crossed.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    pub direction: Direction,
}
event!(Signal);

#[derive(Clone, Copy, Debug, Serialize)]
pub enum Direction {
    Buy,
    Sell,
}

/// Risk refused an order.
#[derive(Clone, Copy, Debug)]
pub struct OrderRejected;
event!(OrderRejected);

/// A position was closed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TradeClosed {
    pub size: f64,
    pub entry_bar: usize,
    pub exit_bar: usize,
    pub entry_price: f64,
    pub exit_price: f64,
    /// Net of the commissions of both fills.
    pub pnl: f64,
}
event!(TradeClosed);

/// The account was valued at a bar's close.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EquityMarked {
    pub day: i64,
    pub equity: f64,
    /// The equity less the cash at the start, with the digits that the equity rounds away.
    pub pnl: f64,
}
event!(EquityMarked);

/// Buy (or, with negative units, sell) at the next open.
#[derive(Clone, Copy, Debug)]
pub struct PlaceOrder {
    pub units: f64,
}
command!(PlaceOrder);

/// Cancel every order that is not filled.
#[derive(Clone, Copy, Debug)]
pub struct CancelOrders;
command!(CancelOrders);

/// The mean of the last closes; `None` before there are enough.
#[derive(Clone, Copy, Debug)]
pub struct GetSma(pub Average);
query!(GetSma -> Option<f64>);

#[derive(Clone, Copy, Debug)]
pub enum Average {
    Fast,
    Slow,
}

/// Units held; negative when short.
#[derive(Clone, Copy, Debug)]
pub struct GetPosition;
query!(GetPosition -> f64);

/// The account's value at the latest close.
#[derive(Clone, Copy, Debug)]
pub struct GetEquity;
query!(GetEquity -> f64);

/// True if these units may be ordered to open a position.
#[derive(Clone, Copy, Debug)]
pub struct CheckOrder {
    pub units: f64,
}
query!(CheckOrder -> Verdict);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Rejected,
}

mailbox! {
    /// Messages that are delivered after all subscribers of the current one have run.
    pub enum Cascade {
        event Fill,
        event OrderCancelled,
        event Signal,
        event OrderRejected,
        command CancelOrders,
        command PlaceOrder,
    }
}
