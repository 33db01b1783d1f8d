//! The time from the socket to the strategy, and to its orders.

use std::{
    cell::{Cell, RefCell},
    fmt,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use static_bus::prelude::*;
use trading::messages::PlaceOrder;

use crate::messages::Tick;

/// Subscribes to ticks, before all other modules.
pub struct Latency {
    /// The time at which the latest tick was read.
    read: Cell<Option<Instant>>,
    ticks: Times,
    orders: Times,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            read: Cell::new(None),
            ticks: Times::new(),
            orders: Times::new(),
        }
    }
}

impl<B> EventHandler<Tick, B> for Latency {
    fn handle(&self, tick: &Tick, _bus: &B) {
        self.read.set(tick.read);
        self.ticks.add(tick.read);
    }
}

/// A handler of orders whose time is taken after it has run.
pub struct TimedOrders<'a, H>(pub &'a Latency, pub H);

impl<B, H> CommandHandler<PlaceOrder, B> for TimedOrders<'_, H>
where
    H: CommandHandler<PlaceOrder, B>,
{
    fn handle(&self, order: PlaceOrder, bus: &B) {
        self.1.handle(order, bus);
        self.0.orders.add(self.0.read.get());
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "from the socket    count       p50       p99     p99.9")?;
        writeln!(f, "to the strategy {}", self.ticks)?;
        write!(f, "to the order    {}", self.orders)
    }
}

/// Times of up to a minute, with three digits.
struct Times(RefCell<Histogram<u64>>);

impl Times {
    fn new() -> Self {
        let longest = Duration::from_secs(60).as_nanos() as u64;
        let histogram = Histogram::new_with_max(longest, 3).expect("the bounds are valid");
        Self(RefCell::new(histogram))
    }

    /// Adds the time since then.
    fn add(&self, then: Option<Instant>) {
        if let Some(then) = then {
            let nanos = then.elapsed().as_nanos() as u64;
            self.0.borrow_mut().saturating_record(nanos);
        }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = self.0.borrow();
        write!(f, "{:>8}", times.len())?;
        for quantile in [0.5, 0.99, 0.999] {
            let time = Duration::from_nanos(times.value_at_quantile(quantile));
            write!(f, "{:>10}", format!("{time:.1?}"))?;
        }
        Ok(())
    }
}
