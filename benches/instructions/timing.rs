//! A query nested three deep, whose handlers are within the layer `Timed`.

use static_bus::layer::{Counter, Layered, Timed};
use static_bus::prelude::*;

use super::services::{Categories, Rates, Tax};
use super::through_the_bus::{GetCategory, GetRate, GetTax};

type Shop = HList![OnQuery<GetTax, Tax>, OnQuery<GetRate, Rates>, OnQuery<GetCategory, Categories>];
pub type Bus<C> = BusOf<Layered<Shop, Timed<C>>>;

pub fn bus<C: Counter>(timed: Timed<C>) -> Bus<C> {
    let shop: Shop = hlist![
        on_query(Tax),
        on_query(Rates::default()),
        on_query(Categories::default())
    ];
    BusBuilder::new().mount(shop.layer(timed)).build()
}

#[inline(never)]
pub fn by_bus<C: Counter>(bus: &Bus<C>, item: u64, cents: u64) -> u64 {
    bus.send::<GetTax>(GetTax { item, cents })
}
