//! Each function sends one message through a bus. Its counterpart in `by_hand.rs` has the same name.

use super::built::Built;
use super::services::*;
use static_bus::prelude::*;

// ----- one query

pub struct GetPrice {
    pub item: u64,
}
query!(GetPrice -> u64);

impl<B> QueryHandler<GetPrice, B> for Prices {
    #[inline]
    fn handle(&self, query: GetPrice, _bus: &B) -> u64 {
        self.of(query.item)
    }
}

pub type Query = Built<HList![OnQuery<GetPrice, Prices>]>;

#[inline(never)]
pub fn query(bus: &Query, item: u64) -> u64 {
    bus.send::<GetPrice>(GetPrice { item })
}

// ----- one command

pub struct TakeStock {
    pub amount: u32,
}
command!(TakeStock -> Result<(), OutOfStock>);

impl<B> CommandHandler<TakeStock, B> for Stock {
    #[inline]
    fn handle(&self, command: TakeStock, _bus: &B) -> Result<(), OutOfStock> {
        self.take(command.amount)
    }
}

pub type Command = Built<HList![OnCommand<TakeStock, Stock>]>;

#[inline(never)]
pub fn command(bus: &Command, amount: u32) -> Result<(), OutOfStock> {
    bus.execute(TakeStock { amount })
}

// ----- an event with one subscriber, with three, and with nine

pub struct Sold {
    pub cents: u64,
}
event!(Sold);

impl<B> EventHandler<Sold, B> for Revenue {
    #[inline]
    fn handle(&self, event: &Sold, _bus: &B) {
        self.add(event.cents);
    }
}
impl<B> EventHandler<Sold, B> for Sales {
    #[inline]
    fn handle(&self, _event: &Sold, _bus: &B) {
        self.count();
    }
}
impl<B> EventHandler<Sold, B> for Largest {
    #[inline]
    fn handle(&self, event: &Sold, _bus: &B) {
        self.see(event.cents);
    }
}

pub type Event1 = Built<HList![OnEvent<Sold, Revenue>]>;

#[inline(never)]
pub fn event_1(bus: &Event1, cents: u64) {
    bus.publish(&Sold { cents });
}

pub type Event3 =
    Built<HList![OnEvent<Sold, Revenue>, OnEvent<Sold, Sales>, OnEvent<Sold, Largest>]>;

#[inline(never)]
pub fn event_3(bus: &Event3, cents: u64) {
    bus.publish(&Sold { cents });
}

pub type Event9 = Built<
    HList![
        OnEvent<Sold, Revenue>, OnEvent<Sold, Revenue>, OnEvent<Sold, Revenue>,
        OnEvent<Sold, Revenue>, OnEvent<Sold, Revenue>, OnEvent<Sold, Revenue>,
        OnEvent<Sold, Revenue>, OnEvent<Sold, Revenue>, OnEvent<Sold, Largest>
    ],
>;

#[inline(never)]
pub fn event_9(bus: &Event9, cents: u64) {
    bus.publish(&Sold { cents });
}

// ----- a query whose handler sends a query, whose handler sends a query

pub struct GetTax {
    pub item: u64,
    pub cents: u64,
}
query!(GetTax -> u64);

pub struct GetRate {
    pub item: u64,
}
query!(GetRate -> u64);

pub struct GetCategory {
    pub item: u64,
}
query!(GetCategory -> u8);

impl<B: SendQuery<GetRate>> QueryHandler<GetTax, B> for Tax {
    #[inline]
    fn handle(&self, query: GetTax, bus: &B) -> u64 {
        self.on(query.cents, bus.send(GetRate { item: query.item }))
    }
}
impl<B: SendQuery<GetCategory>> QueryHandler<GetRate, B> for Rates {
    #[inline]
    fn handle(&self, query: GetRate, bus: &B) -> u64 {
        self.of(bus.send(GetCategory { item: query.item }))
    }
}
impl<B> QueryHandler<GetCategory, B> for Categories {
    #[inline]
    fn handle(&self, query: GetCategory, _bus: &B) -> u8 {
        self.of(query.item)
    }
}

pub type Nested =
    Built<HList![OnQuery<GetTax, Tax>, OnQuery<GetRate, Rates>, OnQuery<GetCategory, Categories>]>;

#[inline(never)]
pub fn nested(bus: &Nested, item: u64, cents: u64) -> u64 {
    bus.send::<GetTax>(GetTax { item, cents })
}
