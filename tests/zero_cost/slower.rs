//! What `by_hand.rs` does, and one thing more: every call is counted. The test has to tell these from their twins.

use super::services::*;
use std::cell::Cell;

/// The counter comes last, so that the services stand where they stand in `by_hand.rs`.
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
pub fn event_3(audit: &Counted<(Sales, Revenue, Largest)>, cents: u64) {
    let (sales, revenue, largest) = audit.inner();
    revenue.add(cents);
    sales.count();
    largest.see(cents);
}

#[inline(never)]
pub fn nested(shop: &Counted<(Rates, Categories)>, item: u64, cents: u64) -> u64 {
    let (rates, categories) = shop.inner();
    Tax.on(cents, rates.of(categories.of(item)))
}
