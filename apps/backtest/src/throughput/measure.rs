//! The loop of all variants.

use std::{
    iter,
    time::{Duration, Instant},
};

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
                handle(&ticks.next().1);
            }
            clock(start.elapsed());
        }
    }

    /// The ticks with their times, for a loop that is not written here.
    #[inline]
    pub fn timed(self) -> impl Iterator<Item = (i64, Tick)> {
        let Self {
            ticks,
            mut batches,
            batch,
            clock,
        } = self;
        let mut left = 0;
        let mut start = None;
        iter::from_fn(move || {
            if left == 0 {
                if let Some(start) = start {
                    clock(Instant::elapsed(&start));
                }
                batches = batches.checked_sub(1)?;
                left = batch;
                start = Some(Instant::now());
            }
            left -= 1;
            Some(ticks.next())
        })
    }
}
