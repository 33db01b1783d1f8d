//! The exchange: keeps pending orders, and fills them at the next open.

use std::cell::RefCell;

use static_bus::prelude::*;

use crate::messages::{BarOpen, CancelOrders, Fill, OrderCancelled, PlaceOrder};

pub struct Exchange {
    commission: f64,
    pending: RefCell<Vec<PlaceOrder>>,
}

impl Exchange {
    pub fn new(commission: f64) -> Self {
        Self {
            commission,
            pending: RefCell::default(),
        }
    }
}

impl<B> EventHandler<BarOpen, B> for Exchange
where
    B: PostMessage<Fill>,
{
    fn handle(&self, open: &BarOpen, bus: &B) {
        let BarOpen { bar, price } = *open;
        for PlaceOrder { units } in self.pending.borrow_mut().drain(..) {
            let commission = units.abs() * price * self.commission;
            bus.post(Fill {
                bar,
                units,
                price,
                commission,
            });
        }
    }
}

impl<B> CommandHandler<PlaceOrder, B> for Exchange {
    fn handle(&self, order: PlaceOrder, _bus: &B) {
        self.pending.borrow_mut().push(order);
    }
}

impl<B> CommandHandler<CancelOrders, B> for Exchange
where
    B: PostMessage<OrderCancelled>,
{
    fn handle(&self, _: CancelOrders, bus: &B) {
        for PlaceOrder { units } in self.pending.borrow_mut().drain(..) {
            bus.post(OrderCancelled { units });
        }
    }
}
