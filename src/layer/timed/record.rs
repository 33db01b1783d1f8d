//! The times of one handler: a histogram and sums, in ticks of the clock.

use crate::wiring::Registration;
use alloc::vec::Vec;
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A counter of the layer [`Timed`](super::Timed): `AtomicU64`, or `Cell<u64>` on one thread. Sealed.
pub trait Counter: Sized + sealed::Sealed {
    #[doc(hidden)]
    fn zero() -> Self;
    #[doc(hidden)]
    fn get(&self) -> u64;
    #[doc(hidden)]
    fn add(&self, number: u64);
    /// Sets it to `number` if that is greater.
    #[doc(hidden)]
    fn raise(&self, number: u64);
    #[doc(hidden)]
    fn reset(&self);
}
impl Counter for AtomicU64 {
    fn zero() -> Self {
        AtomicU64::new(0)
    }
    #[inline]
    fn get(&self) -> u64 {
        self.load(Relaxed)
    }
    #[inline]
    fn add(&self, number: u64) {
        self.fetch_add(number, Relaxed);
    }
    #[inline]
    fn raise(&self, number: u64) {
        // A write is rare, and much dearer than this read.
        if number > self.load(Relaxed) {
            self.fetch_max(number, Relaxed);
        }
    }
    fn reset(&self) {
        self.store(0, Relaxed);
    }
}
impl Counter for Cell<u64> {
    fn zero() -> Self {
        Cell::new(0)
    }
    #[inline]
    fn get(&self) -> u64 {
        Cell::get(self)
    }
    #[inline]
    fn add(&self, number: u64) {
        self.set(Cell::get(self).wrapping_add(number));
    }
    #[inline]
    fn raise(&self, number: u64) {
        self.set(Cell::get(self).max(number));
    }
    fn reset(&self) {
        self.set(0);
    }
}
mod sealed {
    pub trait Sealed {}
    impl Sealed for super::AtomicU64 {}
    impl Sealed for super::Cell<u64> {}
}

/// Each power of two is divided into `2^PRECISION` buckets of equal width, so the relative width is at most 1/32.
const PRECISION: u32 = 5;
/// The greatest value: at 4 GHz, 73 minutes.
const MAX: u64 = (1 << 44) - 1;
const BUCKETS: usize = bucket(MAX) + 1;

/// The bucket of a value. Up to `2^(PRECISION + 1)` each value has one of its own.
#[inline]
const fn bucket(ticks: u64) -> usize {
    let shift = (ticks | 1 << PRECISION).ilog2() - PRECISION;
    ((shift as usize) << PRECISION) + (ticks >> shift) as usize
}
/// The greatest value in a bucket.
const fn greatest(bucket: usize) -> u64 {
    let octave = bucket >> PRECISION;
    if octave == 0 {
        return bucket as u64;
    }
    let shift = octave - 1;
    let next = (bucket + 1 - (shift << PRECISION)) as u64;
    (next << shift) - 1
}

pub(crate) struct Record<C> {
    registration: Registration,
    total: C,
    exclusive: C,
    max: C,
    buckets: [C; BUCKETS],
}

impl<C: Counter> Record<C> {
    pub(super) fn new(registration: Registration) -> Self {
        Record {
            registration,
            total: C::zero(),
            exclusive: C::zero(),
            max: C::zero(),
            buckets: [(); BUCKETS].map(|()| C::zero()),
        }
    }

    /// Adds a call.
    #[inline]
    pub(super) fn add(&self, total: u64, exclusive: u64) {
        self.buckets[bucket(total.min(MAX))].add(1);
        self.total.add(total);
        self.exclusive.add(exclusive);
        self.max.raise(total);
    }

    pub(super) fn reset(&self) {
        let sums = [&self.total, &self.exclusive, &self.max];
        sums.into_iter()
            .chain(&self.buckets)
            .for_each(Counter::reset);
    }

    pub(super) fn registration(&self) -> Registration {
        self.registration
    }
    pub(super) fn total(&self) -> u64 {
        self.total.get()
    }
    pub(super) fn exclusive(&self) -> u64 {
        self.exclusive.get()
    }
    pub(super) fn distribution(&self) -> Distribution {
        let counts = self.buckets.iter().map(Counter::get).enumerate();
        let counts: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
        Distribution {
            count: counts.iter().map(|(_, count)| count).sum(),
            max: self.max.get(),
            counts,
        }
    }
}

/// The distribution of the total times.
#[derive(Debug, Clone)]
pub(super) struct Distribution {
    pub(super) count: u64,
    pub(super) max: u64,
    /// The buckets that are not empty, in order, and their counts.
    counts: Vec<(usize, u64)>,
}
impl Distribution {
    /// The time within which a share of the calls, from 0 to 1, has ended.
    pub(super) fn quantile(&self, share: f64) -> u64 {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut sum = 0;
        let found = self.counts.iter().find(|(_, count)| {
            sum += count;
            sum >= rank
        });
        found.map_or(self.max, |(bucket, _)| greatest(*bucket).min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_value_of_a_bucket_is_at_most_one_part_in_32_too_high() {
        let powers = (0..44).flat_map(|power| {
            let power = 1_u64 << power;
            [power - 1, power, power + 1, power + power / 3]
        });
        for value in powers.chain(0..1_000).filter(|value| *value <= MAX) {
            let high = greatest(bucket(value));
            assert!(high >= value, "{value}: {high}");
            assert!(high - value <= value / 32, "{value}: {high}");
            assert_eq!(bucket(high), bucket(value));
            assert_eq!(bucket(high + 1), bucket(value) + 1);
        }
        assert_eq!(bucket(MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let values: Vec<u64> = (1..=1_000).collect();
        let record =
            Record::<Cell<u64>>::new(Registration::new::<Ping, ()>(crate::wiring::Kind::Query));
        for value in &values {
            record.add(*value, 0);
        }
        let distribution = record.distribution();
        for (share, expected) in [(0.0, 1), (0.5, 500), (0.9, 900), (0.999, 999), (1.0, 1_000)] {
            let found = distribution.quantile(share);
            assert_eq!(bucket(found), bucket(expected), "{share}: {found}");
        }
        assert_eq!(distribution.quantile(1.0), 1_000, "the maximum is exact");
    }
    struct Ping;
    crate::query!(Ping -> u8);
}
