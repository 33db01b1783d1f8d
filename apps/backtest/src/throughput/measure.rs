//! The loop of all variants.

use std::time::{Duration, Instant};

use super::ticks::{Tick, Ticks};

/// The next ticks, in batches.
pub struct Stretch<'a> {
    pub ticks: &'a mut Ticks,
    pub batches: u64,
    /// Ticks in a batch.
    pub batch: u64,
    /// Called with the time of each batch.
    pub clock: &'a mut dyn FnMut(Duration),
}

impl Stretch<'_> {
    /// Calls `handle` with each tick.
    ///
    /// Throughput and latency use this one loop, with few large batches or with many of
    /// one tick: it has a single call, which the compiler can inline.
    #[inline]
    pub fn drive(self, mut handle: impl FnMut(&Tick)) {
        let Self {
            ticks,
            batches,
            batch,
            clock,
        } = self;
        for _ in 0..batches {
            let start = Instant::now();
            for _ in 0..batch {
                handle(&ticks.next());
            }
            clock(start.elapsed());
        }
    }
}
