//! Inventory: the stock of each item.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use static_bus::prelude::*;

use crate::orders::OrderPlaced;

/// The number of units of this item in stock.
pub struct GetStock {
    pub item: &'static str,
}
query!(GetStock -> u32);

module! {
    #[derive(Default)]
    pub struct Module {
        /// One service, two messages.
        inventory: Rc<Inventory> => [query GetStock, event OrderPlaced],
    }
}

pub struct Inventory {
    stock: RefCell<HashMap<&'static str, u32>>,
}

impl Default for Inventory {
    fn default() -> Self {
        Inventory {
            stock: RefCell::new(HashMap::from([("lamp", 3)])),
        }
    }
}

impl<B> QueryHandler<GetStock, B> for Inventory {
    fn handle(&self, query: GetStock, _bus: &B) -> u32 {
        self.stock.borrow().get(query.item).copied().unwrap_or(0)
    }
}

impl<B> EventHandler<OrderPlaced, B> for Inventory {
    fn handle(&self, event: &OrderPlaced, _bus: &B) {
        if let Some(left) = self.stock.borrow_mut().get_mut(event.item) {
            *left = left.saturating_sub(event.quantity);
        }
    }
}
