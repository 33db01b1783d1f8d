//! Cancels all orders when the feed is silent: nobody should trade on old prices.

use std::{cell::Cell, time::Duration};

use serde::Serialize;
use static_bus::{
    prelude::*,
    time::{Handle, Timeline},
};
use trading::messages::CancelOrders;

use crate::messages::{MarketClosed, MarketOpened, Stale, Tick, Timers};

#[derive(Serialize)]
pub struct Watchdog<'a> {
    #[serde(skip)]
    timeline: &'a Timeline<Timers>,
    #[serde(skip)]
    alarm: Cell<Option<Handle>>,
    patience: Cell<Duration>,
    /// The number of silences.
    silences: Cell<u64>,
}

impl<'a> Watchdog<'a> {
    pub fn new(timeline: &'a Timeline<Timers>) -> Self {
        Self {
            timeline,
            alarm: Cell::default(),
            patience: Cell::default(),
            silences: Cell::default(),
        }
    }

    pub fn silences(&self) -> u64 {
        self.silences.get()
    }

    /// Replaces the alarm by one that is due after the patience, or by none.
    fn set_alarm(&self, on: bool) {
        let due = self.timeline.now().saturating_add(self.patience.get());
        let alarm = on.then(|| self.timeline.schedule(due, Stale));
        if let Some(last) = self.alarm.replace(alarm) {
            self.timeline.cancel(last);
        }
    }
}

impl<B> EventHandler<MarketOpened, B> for Watchdog<'_> {
    fn handle(&self, market: &MarketOpened, _bus: &B) {
        self.patience.set(market.patience);
        self.set_alarm(true);
    }
}

impl<B> EventHandler<Tick, B> for Watchdog<'_> {
    fn handle(&self, _: &Tick, _bus: &B) {
        self.set_alarm(true);
    }
}

impl<B> EventHandler<Stale, B> for Watchdog<'_>
where
    B: PostMessage<CancelOrders>,
{
    fn handle(&self, _: &Stale, bus: &B) {
        self.silences.set(self.silences.get() + 1);
        bus.post(CancelOrders);
    }
}

impl<B> EventHandler<MarketClosed, B> for Watchdog<'_> {
    fn handle(&self, _: &MarketClosed, _bus: &B) {
        self.set_alarm(false);
    }
}
