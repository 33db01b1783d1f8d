//! A query nested three deep whose handlers may wait, through the bus and as a chain of `async fn`s.
//!
//! With `WAITS` the deepest of them waits once, so that the whole chain is left and entered again.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use static_bus::prelude::*;

use super::services::{Categories, Rates, Tax};
use super::through_the_bus::{GetCategory, GetRate, GetTax};

#[derive(Default)]
pub struct Shelf<const WAITS: bool>(Categories);

impl<B: AsyncSendQuery<GetRate>> AsyncQueryHandler<GetTax, B> for Tax {
    #[inline]
    async fn handle(&self, query: GetTax, bus: &B) -> Result<u64, BusError> {
        let GetTax { item, cents } = query;
        Ok(self.on(cents, bus.send_async(GetRate { item }).await?))
    }
}
impl<B: AsyncSendQuery<GetCategory>> AsyncQueryHandler<GetRate, B> for Rates {
    #[inline]
    async fn handle(&self, query: GetRate, bus: &B) -> Result<u64, BusError> {
        let GetRate { item } = query;
        Ok(self.of(bus.send_async(GetCategory { item }).await?))
    }
}
impl<B: Sync, const WAITS: bool> AsyncQueryHandler<GetCategory, B> for Shelf<WAITS> {
    #[inline]
    async fn handle(&self, query: GetCategory, _bus: &B) -> Result<u8, BusError> {
        if WAITS {
            once().await;
        }
        Ok(self.0.of(query.item))
    }
}

pub type Bus<const WAITS: bool> = BusOf<
    HList![
        OnQueryAsync<GetTax, Tax>,
        OnQueryAsync<GetRate, Rates>,
        OnQueryAsync<GetCategory, Shelf<WAITS>>,
    ],
>;
pub fn bus<const WAITS: bool>() -> Bus<WAITS> {
    BusBuilder::new()
        .register_query_async::<GetTax, _>(Tax)
        .register_query_async::<GetRate, _>(Rates::default())
        .register_query_async::<GetCategory, _>(Shelf::default())
        .build()
}
#[inline(never)]
pub fn by_bus<B: AsyncSendQuery<GetTax>>(bus: &B, item: u64, cents: u64) -> u64 {
    run(bus.send_async(GetTax { item, cents }))
}

#[derive(Default)]
pub struct Shop<const WAITS: bool> {
    tax: Tax,
    rates: Rates,
    shelf: Shelf<WAITS>,
}
pub trait Taxes {
    fn tax(&self, item: u64, cents: u64) -> impl Future<Output = Result<u64, BusError>>;
}
impl<const WAITS: bool> Taxes for Shop<WAITS> {
    #[inline]
    async fn tax(&self, item: u64, cents: u64) -> Result<u64, BusError> {
        Ok(self.tax.on(cents, self.rate(item).await?))
    }
}
impl<const WAITS: bool> Shop<WAITS> {
    #[inline]
    async fn rate(&self, item: u64) -> Result<u64, BusError> {
        Ok(self.rates.of(self.category(item).await?))
    }
    #[inline]
    async fn category(&self, item: u64) -> Result<u8, BusError> {
        if WAITS {
            once().await;
        }
        Ok(self.shelf.0.of(item))
    }
}
#[inline(never)]
pub fn by_hand(shop: &impl Taxes, item: u64, cents: u64) -> u64 {
    run(shop.tax(item, cents))
}

/// Waits for one poll.
#[inline]
async fn once() {
    let mut waited = false;
    poll_fn(|_| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await
}

/// Polls a future until it is ready.
#[inline]
fn run(future: impl Future<Output = Result<u64, BusError>>) -> u64 {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            return answer.unwrap_or(0);
        }
    }
}
