//! Ticks: one random walk in many batches, each used once, so the branch predictor cannot
//! learn it.

use super::services::Tick;

/// Short, so that most batches run undisturbed on a busy machine.
pub const BATCH: usize = 8192;

pub struct Market(Vec<Tick>);

impl Market {
    /// A reproducible walk: xorshift64 from a fixed seed.
    pub fn new(batches: usize) -> Self {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut price = 100_000;
        let ticks = (0..batches * BATCH).map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Steps of −5 to 5 cents, with a drift back to the start.
            price += (random % 11) as i64 - 5 + (100_000 - price) / 1_000;
            Tick { price }
        });
        Market(ticks.collect())
    }

    pub fn batch(&self, index: usize) -> &[Tick] {
        &self.0[index * BATCH..][..BATCH]
    }
}
