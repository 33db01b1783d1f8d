//! The services on static-bus.

use static_bus::prelude::*;

use super::services::{
    Averaged, Exchange, Fill, Indicator, PlaceOrder, Portfolio, Services, Shared, State, Strategy,
    Tick,
};

event!(Tick);
event!(Averaged);
event!(Fill);
command!(PlaceOrder);

impl<B> EventHandler<Tick, B> for Shared<Exchange> {
    #[inline]
    fn handle(&self, tick: &Tick, _: &B) {
        self.with(|exchange| exchange.on_tick(*tick));
    }
}
impl<B> EventHandler<Tick, B> for Shared<Portfolio> {
    #[inline]
    fn handle(&self, tick: &Tick, _: &B) {
        self.with(|portfolio| portfolio.on_tick(*tick));
    }
}
impl<B: PublishEvent<Averaged>> EventHandler<Tick, B> for Shared<Indicator> {
    #[inline]
    fn handle(&self, tick: &Tick, bus: &B) {
        let averaged = self.with(|indicator| indicator.on_tick(*tick));
        bus.publish(&averaged);
    }
}
impl<B: ExecuteCommand<PlaceOrder>> EventHandler<Averaged, B> for Shared<Strategy> {
    #[inline]
    fn handle(&self, averaged: &Averaged, bus: &B) {
        if let Some(order) = self.get().on_averaged(*averaged) {
            bus.execute(order);
        }
    }
}
impl<B: PublishEvent<Fill>> CommandHandler<PlaceOrder, B> for Shared<Exchange> {
    #[inline]
    fn handle(&self, order: PlaceOrder, bus: &B) {
        bus.publish(&self.get().on_order(order));
    }
}
impl<B> EventHandler<Fill, B> for Shared<Portfolio> {
    #[inline]
    fn handle(&self, fill: &Fill, _: &B) {
        self.with(|portfolio| portfolio.on_fill(*fill));
    }
}
impl<B> EventHandler<Fill, B> for Shared<Strategy> {
    #[inline]
    fn handle(&self, fill: &Fill, _: &B) {
        self.with(|strategy| strategy.on_fill(*fill));
    }
}

#[inline(never)]
pub fn run(state: State, ticks: &[Tick]) -> State {
    let services = Services::default();
    services.resume(state);
    let bus = BusBuilder::new()
        .subscribe::<Tick, _>(&services.exchange)
        .subscribe::<Tick, _>(&services.portfolio)
        .subscribe::<Tick, _>(&services.indicator)
        .subscribe::<Averaged, _>(&services.strategy)
        .register_command::<PlaceOrder, _>(&services.exchange)
        .subscribe::<Fill, _>(&services.portfolio)
        .subscribe::<Fill, _>(&services.strategy)
        .build();
    for tick in ticks {
        bus.publish(tick);
    }
    services.state()
}
