//! A query nested three deep whose handlers count their messages: in a layer, and by hand.

use std::cell::Cell;

use static_bus::layer::{AroundQuery, Layer, Layered};
use static_bus::{prelude::*, wiring::Registration};

use super::services::{Categories, Rates, Tax};
use super::through_the_bus::{GetCategory, GetRate, GetTax};

/// Counts the messages of each handler.
pub struct Counted;
#[derive(Default)]
pub struct Count(Cell<u64>);

impl Layer for Counted {
    type Around = Count;
    fn around(&self, _: Registration) -> Count {
        Count::default()
    }
}
impl Count {
    #[inline]
    fn up(&self) {
        self.0.set(self.0.get() + 1);
    }
}
impl<Q: Query, B: ?Sized> AroundQuery<Q, B> for Count {
    #[inline]
    fn query(&self, query: Q, _bus: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response {
        self.up();
        next(query)
    }
}

type Shop = HList![OnQuery<GetTax, Tax>, OnQuery<GetRate, Rates>, OnQuery<GetCategory, Categories>];
pub type Bus = BusOf<Layered<Shop, Counted>>;

pub fn bus() -> Bus {
    let shop: Shop = hlist![
        on_query(Tax),
        on_query(Rates::default()),
        on_query(Categories::default())
    ];
    BusBuilder::new().mount(shop.layer(Counted)).build()
}
#[inline(never)]
pub fn by_bus(bus: &Bus, item: u64, cents: u64) -> u64 {
    bus.send::<GetTax>(GetTax { item, cents })
}

#[derive(Default)]
pub struct ByHand {
    rates: (Rates, Count),
    categories: (Categories, Count),
    tax: Count,
}
#[inline(never)]
pub fn by_hand(shop: &ByHand, item: u64, cents: u64) -> u64 {
    shop.tax.up();
    shop.rates.1.up();
    shop.categories.1.up();
    let category = shop.categories.0.of(item);
    Tax.on(cents, shop.rates.0.of(category))
}
