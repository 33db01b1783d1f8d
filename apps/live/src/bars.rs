//! Makes bars of ticks.

use static_bus::prelude::*;
use trading::messages::{BarClose, BarOpen};

use crate::messages::{Moment, Tick};

pub struct Bars;

impl<B> EventHandler<Tick, B> for Bars
where
    B: PublishEvent<BarOpen> + PublishEvent<BarClose>,
{
    fn handle(&self, tick: &Tick, bus: &B) {
        let Tick {
            bar, day, price, ..
        } = *tick;
        match tick.moment {
            Moment::Open => bus.publish(&BarOpen { bar, price }),
            Moment::Close => bus.publish(&BarClose { day, price }),
        }
    }
}
