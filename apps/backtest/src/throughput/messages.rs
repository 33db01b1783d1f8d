//! Everything the parts say to each other, on either bus.

use static_bus::prelude::*;

use super::{
    model::Fill,
    ticks::{Symbol, Tick},
};

event!(Tick);
event!(Fill);

/// The account was valued at a new price.
#[derive(Clone, Copy, Debug)]
pub struct EquityMarked {
    pub equity: f64,
}
event!(EquityMarked);

/// The averages ask for these units.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    pub symbol: Symbol,
    pub units: f64,
    pub price: f64,
}
event!(Signal);

/// Buy (or, with negative units, sell) at this price.
#[derive(Clone, Copy, Debug)]
pub struct PlaceOrder {
    pub symbol: Symbol,
    pub units: f64,
    pub price: f64,
}
command!(PlaceOrder);

/// The fast average less the slow one.
#[derive(Clone, Copy, Debug)]
pub struct GetSpread(pub Symbol);
query!(GetSpread -> f64);

/// May these units be ordered?
#[derive(Clone, Copy, Debug)]
pub struct CheckOrder {
    pub symbol: Symbol,
    pub units: f64,
}
query!(CheckOrder -> bool);

/// Units held; negative when short.
#[derive(Clone, Copy, Debug)]
pub struct GetPosition(pub Symbol);
query!(GetPosition -> f64);

/// The account's value at the latest prices.
#[derive(Clone, Copy, Debug)]
pub struct GetEquity;
query!(GetEquity -> f64);

mailbox! {
    /// What is said later, after everyone has heard the message before it.
    #[derive(Clone, Copy)]
    pub enum Cascade {
        command PlaceOrder,
        event Fill,
    }
}
