//! Inventory: the stock of each item.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use static_bus::prelude::*;

use crate::{journal::note, orders::OrderPlaced};

/// The number of units of this item in stock.
#[derive(Serialize, Deserialize)]
pub struct GetStock {
    pub item: String,
}
query!(GetStock -> u32, name = "inventory.stock");

module! {
    #[derive(Clone, Default)]
    pub struct Module {
        /// One service, two messages.
        inventory: Arc<Inventory> => [query GetStock, event OrderPlaced],
    }
}

pub struct Inventory {
    shelf: Mutex<Shelf>,
}

struct Shelf {
    stock: HashMap<String, u32>,
    /// The orders that were subtracted: an event may be delivered twice.
    taken: HashSet<u64>,
}

impl Default for Inventory {
    fn default() -> Self {
        Inventory {
            shelf: Mutex::new(Shelf {
                stock: HashMap::from([("lamp".to_owned(), 3)]),
                taken: HashSet::new(),
            }),
        }
    }
}

impl<B> QueryHandler<GetStock, B> for Inventory {
    fn handle(&self, query: GetStock, _bus: &B) -> u32 {
        let shelf = self.shelf.lock().unwrap();
        shelf.stock.get(&query.item).copied().unwrap_or(0)
    }
}

impl<B> EventHandler<OrderPlaced, B> for Inventory {
    fn handle(&self, event: &OrderPlaced, _bus: &B) {
        let mut shelf = self.shelf.lock().unwrap();
        if !shelf.taken.insert(event.order_id) {
            return;
        }
        let Some(left) = shelf.stock.get_mut(&event.item) else {
            return;
        };
        *left = left.saturating_sub(event.quantity);
        note("inventory", format_args!("{left} × {} left", event.item));
    }
}
