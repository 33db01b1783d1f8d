//! The counterparts of `through_the_bus.rs`: the same calls without a bus.

use super::services::*;

pub type Query = Prices;

#[inline(never)]
pub fn query(prices: &Query, item: u64) -> u64 {
    prices.of(item)
}

pub type Command = Stock;

#[inline(never)]
pub fn command(stock: &Command, amount: u32) -> Result<(), OutOfStock> {
    stock.take(amount)
}

pub type Event1 = Revenue;

#[inline(never)]
pub fn event_1(revenue: &Event1, cents: u64) {
    revenue.add(cents);
}

/// In the order of rustc's layout of the bus, so the offsets are equal.
#[derive(Default)]
pub struct Event3 {
    pub revenue: Revenue,
    pub sales: Sales,
    pub largest: Largest,
}

#[inline(never)]
pub fn event_3(audit: &Event3, cents: u64) {
    audit.revenue.add(cents);
    audit.sales.count();
    audit.largest.see(cents);
}

pub type Event9 = ([Revenue; 8], Largest);

#[inline(never)]
pub fn event_9((revenues, largest): &Event9, cents: u64) {
    for revenue in revenues {
        revenue.add(cents);
    }
    largest.see(cents);
}

#[derive(Default)]
pub struct Nested {
    pub tax: Tax,
    pub rates: Rates,
    pub categories: Categories,
}

#[inline(never)]
pub fn nested(shop: &Nested, item: u64, cents: u64) -> u64 {
    let category = shop.categories.of(item);
    let percent = shop.rates.of(category);
    shop.tax.on(cents, percent)
}
