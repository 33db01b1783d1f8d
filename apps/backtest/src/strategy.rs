//! Follows the cross of the averages: signals at the close, and turns signals into orders.

use std::{cell::Cell, cmp::Ordering};

use static_bus::prelude::*;

use crate::messages::{
    Average, BarClose, CancelOrders, CheckOrder, Direction, Fill, GetPosition, GetSma,
    OrderRejected, PlaceOrder, Signal, Verdict,
};

pub struct Strategy {
    size: f64,
    /// The order of the fast and the slow average at the previous close.
    before: Cell<Option<Ordering>>,
    /// Orders that are placed and not filled.
    working: Cell<usize>,
}

impl Strategy {
    pub fn new(size: f64) -> Self {
        Self {
            size,
            before: Cell::new(None),
            working: Cell::new(0),
        }
    }

    fn place(&self, units: f64, bus: &impl PostMessage<PlaceOrder>) {
        self.working.set(self.working.get() + 1);
        bus.post(PlaceOrder { units });
    }
}

/// The order of two averages. A difference that rounding can make is none.
fn compare(fast: f64, slow: f64) -> Ordering {
    const ROUNDING: f64 = 1e-12;
    if (fast - slow).abs() <= ROUNDING * slow {
        Ordering::Equal
    } else {
        fast.total_cmp(&slow)
    }
}

impl<B> EventHandler<BarClose, B> for Strategy
where
    B: SendQuery<GetSma> + PostMessage<Signal>,
{
    fn handle(&self, _: &BarClose, bus: &B) {
        let Some(slow) = bus.send(GetSma(Average::Slow)) else {
            return;
        };
        let Some(fast) = bus.send(GetSma(Average::Fast)) else {
            return;
        };
        let now = compare(fast, slow);
        let direction = match (self.before.replace(Some(now)), now) {
            (Some(Ordering::Less), Ordering::Greater) => Direction::Buy,
            (Some(Ordering::Greater), Ordering::Less) => Direction::Sell,
            _ => return,
        };
        bus.post(Signal { direction });
    }
}

impl<B> EventHandler<Signal, B> for Strategy
where
    B: SendQuery<GetPosition>
        + SendQuery<CheckOrder>
        + PostMessage<CancelOrders>
        + PostMessage<PlaceOrder>
        + PostMessage<OrderRejected>,
{
    fn handle(&self, signal: &Signal, bus: &B) {
        if self.working.take() > 0 {
            bus.post(CancelOrders);
        }
        let held = bus.send(GetPosition);
        if held != 0.0 {
            self.place(-held, bus);
        }
        let units = match signal.direction {
            Direction::Buy => self.size,
            Direction::Sell => -self.size,
        };
        match bus.send(CheckOrder { units }) {
            Verdict::Accepted => self.place(units, bus),
            Verdict::Rejected => bus.post(OrderRejected),
        }
    }
}

impl<B> EventHandler<Fill, B> for Strategy {
    fn handle(&self, _: &Fill, _bus: &B) {
        self.working.set(self.working.get() - 1);
    }
}
