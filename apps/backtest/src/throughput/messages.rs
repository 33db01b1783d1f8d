//! The messages of the services.

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

/// The averages recommend an order of these units.
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
    /// The inputs of a replay.
    pub enum Input { event Tick }
}

mailbox! {
    /// Messages that are delivered after all subscribers of the current one have run.
    #[derive(Clone, Copy)]
    pub enum Cascade {
        command PlaceOrder,
        event Fill,
    }
}
