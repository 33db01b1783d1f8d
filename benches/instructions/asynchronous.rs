//! A query nested three deep with asynchronous handlers, through the bus and as a chain of `async fn`s.
//!
//! With `WAITS` the deepest handler waits once, so the whole chain is suspended and resumed.

use std::future::poll_fn;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use static_bus::{asynchronous::BusError, prelude::*};

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

/// Each service has a reference to all of them, as a handler has one to the bus.
#[derive(Default)]
pub struct Shop<const WAITS: bool> {
    tax: Tax,
    rates: Rates,
    shelf: Shelf<WAITS>,
}
impl Tax {
    #[inline]
    async fn tax<const WAITS: bool>(
        &self,
        item: u64,
        cents: u64,
        shop: &Shop<WAITS>,
    ) -> Result<u64, BusError> {
        Ok(self.on(cents, shop.rates.rate(item, shop).await?))
    }
}
impl Rates {
    #[inline]
    async fn rate<const WAITS: bool>(
        &self,
        item: u64,
        shop: &Shop<WAITS>,
    ) -> Result<u64, BusError> {
        Ok(self.of(shop.shelf.category(item, shop).await?))
    }
}
impl<const WAITS: bool> Shelf<WAITS> {
    #[inline]
    async fn category(&self, item: u64, _shop: &Shop<WAITS>) -> Result<u8, BusError> {
        if WAITS {
            once().await;
        }
        Ok(self.0.of(item))
    }
}
pub trait Taxes {
    fn tax(&self, item: u64, cents: u64) -> impl Future<Output = Result<u64, BusError>>;
}
impl<const WAITS: bool> Taxes for Shop<WAITS> {
    #[inline]
    fn tax(&self, item: u64, cents: u64) -> impl Future<Output = Result<u64, BusError>> {
        self.tax.tax(item, cents, self)
    }
}
#[inline(never)]
pub fn by_hand(shop: &impl Taxes, item: u64, cents: u64) -> u64 {
    run(shop.tax(item, cents))
}

/// Pending for one poll, opaque to the compiler.
#[inline]
async fn once() {
    let mut polls = black_box(2);
    poll_fn(|_| {
        polls -= 1;
        if black_box(polls) > 0 {
            return Poll::Pending;
        }
        Poll::Ready(())
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
