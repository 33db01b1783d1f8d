//! The functions of `by_hand.rs`, with a counter of calls. The test must detect the difference.

use super::services::*;
use std::cell::Cell;

/// The counter is the last field, so the services have the offsets of `by_hand.rs`.
#[repr(C)]
pub struct Counted<T> {
    inner: T,
    calls: Cell<u64>,
}
impl<T> Counted<T> {
    fn inner(&self) -> &T {
        self.calls.set(self.calls.get() + 1);
        &self.inner
    }
}

#[inline(never)]
pub fn query(prices: &Counted<Prices>, item: u64) -> u64 {
    prices.inner().of(item)
}

#[inline(never)]
pub fn command(stock: &Counted<Stock>, amount: u32) -> Result<(), OutOfStock> {
    stock.inner().take(amount)
}

#[inline(never)]
pub fn event_1(revenue: &Counted<Revenue>, cents: u64) {
    revenue.inner().add(cents);
}

#[inline(never)]
pub fn event_3(audit: &Counted<(Revenue, Sales, Largest)>, cents: u64) {
    let (revenue, sales, largest) = audit.inner();
    revenue.add(cents);
    sales.count();
    largest.see(cents);
}

#[inline(never)]
pub fn event_9(audit: &Counted<([Revenue; 8], Largest)>, cents: u64) {
    let (revenues, largest) = audit.inner();
    for revenue in revenues {
        revenue.add(cents);
    }
    largest.see(cents);
}

#[inline(never)]
pub fn nested(shop: &Counted<(Rates, Categories)>, item: u64, cents: u64) -> u64 {
    let (rates, categories) = shop.inner();
    Tax.on(cents, rates.of(categories.of(item)))
}
