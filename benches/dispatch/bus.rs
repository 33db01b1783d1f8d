//! static-bus.

use static_bus::prelude::*;

use super::work::{Mixer, Mixers, Refused};

pub struct Ask(u64);
query!(Ask -> u64);
pub struct Order(u64);
command!(Order -> Result<(), Refused>);
pub struct Tick(u64);
event!(Tick);

impl<B> QueryHandler<Ask, B> for Mixer {
    #[inline]
    fn handle(&self, query: Ask, _bus: &B) -> u64 {
        self.mix(query.0)
    }
}
impl<B> CommandHandler<Order, B> for Mixer {
    #[inline]
    fn handle(&self, command: Order, _bus: &B) -> Result<(), Refused> {
        self.accept(command.0)
    }
}
impl<B> EventHandler<Tick, B> for Mixer {
    #[inline]
    fn handle(&self, event: &Tick, _bus: &B) {
        self.mix(event.0);
    }
}

pub fn query([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    let bus = BusBuilder::new().register_query::<Ask, _>(a).build();
    move |n| bus.send::<Ask>(Ask(n))
}

pub fn command([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    let bus = BusBuilder::new().register_command::<Order, _>(a).build();
    move |n| u64::from(bus.execute(Order(n)).is_ok())
}

pub fn event_1([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    let bus = BusBuilder::new().subscribe::<Tick, _>(a).build();
    move |n| {
        bus.publish(&Tick(n));
        0
    }
}

pub fn event_3([a, b, c]: Mixers) -> impl Fn(u64) -> u64 {
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(a)
        .subscribe::<Tick, _>(b)
        .subscribe::<Tick, _>(c)
        .build();
    move |n| {
        bus.publish(&Tick(n));
        0
    }
}

pub struct Outer(u64);
query!(Outer -> u64);
pub struct Middle(u64);
query!(Middle -> u64);

impl<B: SendQuery<Middle>> QueryHandler<Outer, B> for Mixer {
    #[inline]
    fn handle(&self, query: Outer, bus: &B) -> u64 {
        self.mix(bus.send(Middle(query.0)))
    }
}
impl<B: SendQuery<Ask>> QueryHandler<Middle, B> for Mixer {
    #[inline]
    fn handle(&self, query: Middle, bus: &B) -> u64 {
        self.mix(bus.send(Ask(query.0)))
    }
}

pub fn nested([a, b, c]: Mixers) -> impl Fn(u64) -> u64 {
    let bus = BusBuilder::new()
        .register_query::<Outer, _>(a)
        .register_query::<Middle, _>(b)
        .register_query::<Ask, _>(c)
        .build();
    move |n| bus.send::<Outer>(Outer(n))
}

mailbox! { pub enum Posted { event Tick } }

pub fn post_and_settle([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(a)
        .mailbox::<Posted>(16)
        .build();
    move |n| {
        bus.post(Tick(n));
        u64::from(bus.settle().is_ok())
    }
}
