//! Follows the cross of the averages: signals at the close, and turns signals into orders.

use std::{cell::Cell, cmp::Ordering};

use serde::{Serialize, Serializer};
use static_bus::prelude::*;

use crate::messages::{
    Average, BarClose, CheckOrder, Direction, Fill, GetPosition, GetSma, OrderCancelled,
    OrderRejected, PlaceOrder, Signal, Verdict,
};

#[derive(Serialize)]
pub struct Strategy {
    size: f64,
    /// The order of the fast and the slow average at the previous close.
    #[serde(serialize_with = "serialize_order")]
    before: Cell<Option<Ordering>>,
    /// Orders that are placed, and neither filled nor cancelled.
    working: Cell<usize>,
    /// The latest signal that came while orders were working. It waits for them, because the position that
    /// they leave is not known.
    waiting: Cell<Option<Direction>>,
}

impl Strategy {
    pub fn new(size: f64) -> Self {
        Self {
            size,
            before: Cell::new(None),
            working: Cell::new(0),
            waiting: Cell::new(None),
        }
    }

    fn place(&self, units: f64, bus: &impl PostMessage<PlaceOrder>) {
        self.working.set(self.working.get() + 1);
        bus.post(PlaceOrder { units });
    }

    /// An order is filled or cancelled.
    fn complete(&self, bus: &impl PostMessage<Signal>) {
        self.working.set(self.working.get() - 1);
        if self.working.get() == 0
            && let Some(direction) = self.waiting.take()
        {
            bus.post(Signal { direction });
        }
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

fn serialize_order<S: Serializer>(
    order: &Cell<Option<Ordering>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    order.get().map(|order| order as i8).serialize(serializer)
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
        + PostMessage<PlaceOrder>
        + PostMessage<OrderRejected>,
{
    fn handle(&self, signal: &Signal, bus: &B) {
        if self.working.get() > 0 {
            self.waiting.set(Some(signal.direction));
            return;
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

impl<B> EventHandler<Fill, B> for Strategy
where
    B: PostMessage<Signal>,
{
    fn handle(&self, _: &Fill, bus: &B) {
        self.complete(bus);
    }
}

impl<B> EventHandler<OrderCancelled, B> for Strategy
where
    B: PostMessage<Signal>,
{
    fn handle(&self, _: &OrderCancelled, bus: &B) {
        self.complete(bus);
    }
}
