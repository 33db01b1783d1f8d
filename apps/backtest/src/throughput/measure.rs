//! The loop that all variants run.

use std::time::{Duration, Instant};

use super::ticks::{Tick, Ticks};

/// The next ticks, to be run in batches.
pub struct Stretch<'a> {
    pub ticks: &'a mut Ticks,
    pub batches: u64,
    /// Ticks in a batch.
    pub batch: u64,
    /// Hears what each batch took.
    pub clock: &'a mut dyn FnMut(Duration),
}

impl Stretch<'_> {
    /// Hands each tick to a variant.
    ///
    /// Throughput and latency are taken with this one loop, of few large batches or of many that hold
    /// one tick: with a single call in it, the compiler can do its best with what is called.
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
