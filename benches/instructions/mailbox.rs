//! Events with one subscriber: called by hand, and through the mailbox.

use std::cell::Cell;

use static_bus::prelude::*;

pub struct Tick(pub u64);
event!(Tick);

mailbox! { pub enum Posted { event Tick } }

/// Mixes each tick into its state, so no two calls can be merged.
#[derive(Default)]
pub struct Mixer(Cell<u64>);
impl Mixer {
    #[inline]
    fn mix(&self, number: u64) {
        self.0.set(self.0.get().rotate_left(5) ^ number);
    }
}
impl<B> EventHandler<Tick, B> for Mixer {
    #[inline]
    fn handle(&self, tick: &Tick, _bus: &B) {
        self.mix(tick.0);
    }
}

pub type Bus = BusOf<HList![OnEvent<Tick, Mixer>], static_bus::mailbox::Mailbox<Posted>>;

/// A bus whose queue holds 1,000 messages without allocating.
pub fn bus() -> Bus {
    BusBuilder::new()
        .subscribe::<Tick, _>(Mixer::default())
        .mailbox::<Posted>(1_000)
        .build()
}

#[inline(never)]
pub fn by_hand(mixer: &Mixer, ticks: u64) -> usize {
    for tick in 0..ticks {
        mixer.mix(tick);
    }
    ticks as usize
}

#[inline(never)]
pub fn post_and_settle(bus: &Bus, ticks: u64) -> usize {
    for tick in 0..ticks {
        bus.post(Tick(tick));
    }
    bus.settle().unwrap_or(0)
}
