//! Buses of 1, 10, 100 and 300 handlers, all with a handler of the same query.

use static_bus::prelude::*;

/// One of 300 queries: `Ask<MODULE, N>` is number `N` of a module.
pub struct Ask<const MODULE: u8, const N: u8>(pub u64);

/// The query that is sent.
pub type First = Ask<0, 0>;

/// The handler of all queries. It has state, so a bus of 300 has 2,400 bytes.
pub struct Scale(pub u64);
impl Scale {
    #[inline]
    pub fn of(&self, number: u64) -> u64 {
        number * self.0
    }
}
impl<const MODULE: u8, const N: u8, B> QueryHandler<Ask<MODULE, N>, B> for Scale
where
    Ask<MODULE, N>: Query<Response = u64>,
{
    #[inline]
    fn handle(&self, query: Ask<MODULE, N>, _bus: &B) -> u64 {
        self.of(query.0)
    }
}

macro_rules! queries {
    ($module:literal: $($n:literal)*) => { $(
        impl Message for Ask<$module, $n> {
            const NAME: &'static str = concat!("ask.", $module, ".", $n);
            type NameKey = name_key!(concat!("ask.", $module, ".", $n));
        }
        impl Query for Ask<$module, $n> {
            type Response = u64;
        }
    )* };
}
macro_rules! handlers {
    ($module:literal: $($n:literal)*) => {
        hlist![$(on_query::<Ask<$module, $n>, _>(Scale($n + 3))),*]
    };
}
macro_rules! ten {
    ($what:ident $module:literal) => {
        $what! { $module: 0 1 2 3 4 5 6 7 8 9 }
    };
}
macro_rules! twenty {
    ($what:ident $module:literal) => {
        $what! { $module: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 }
    };
}
macro_rules! forty {
    ($what:ident $module:literal) => {
        $what! { $module: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19
        20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 }
    };
}
forty!(queries 0);
forty!(queries 1);
forty!(queries 2);
forty!(queries 3);
forty!(queries 4);
forty!(queries 5);
forty!(queries 6);
twenty!(queries 7);

pub fn one() -> impl SendQuery<First> {
    BusBuilder::new().mount(handlers!(0: 0)).build()
}

pub fn ten() -> impl SendQuery<First> {
    BusBuilder::new().mount(ten!(handlers 0)).build()
}

pub fn hundred() -> impl SendQuery<First> {
    BusBuilder::new()
        .mount(forty!(handlers 0))
        .mount(forty!(handlers 1))
        .mount(twenty!(handlers 2))
        .build()
}

pub fn three_hundred() -> impl SendQuery<First> {
    BusBuilder::new()
        .mount(forty!(handlers 0))
        .mount(forty!(handlers 1))
        .mount(forty!(handlers 2))
        .mount(forty!(handlers 3))
        .mount(forty!(handlers 4))
        .mount(forty!(handlers 5))
        .mount(forty!(handlers 6))
        .mount(twenty!(handlers 7))
        .build()
}

#[inline(never)]
pub fn by_hand(scale: &Scale, number: u64) -> u64 {
    scale.of(number)
}

#[inline(never)]
pub fn send(bus: &impl SendQuery<First>, number: u64) -> u64 {
    bus.send(Ask(number))
}
