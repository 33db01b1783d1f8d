//! Rounds: every contestant runs once in each, one after another, so other load on the machine affects
//! all of them, and each is compared with the first of the same round.
//!
//! Batches are short and rounds are many: on a busy machine most batches then run undisturbed, and
//! determine the medians.

use std::time::{Duration, Instant};

/// Long compared with reading the clock, shorter than a time slice of the scheduler.
const BATCH: Duration = Duration::from_micros(500);

/// Something that can be run for `n` steps, and checks itself.
pub trait Contestant: Sized {
    fn run(&mut self, n: u64);
    /// The preparation of `run`, which is not measured.
    fn prepare(&mut self, n: u64);

    /// The number of steps of a batch. Determining it is also the warm-up.
    fn batch(&mut self) -> u64 {
        let mut n = 256;
        while time(self, n) < BATCH {
            n *= 2;
        }
        n
    }
}

pub struct Score {
    /// Median time of a step.
    pub nanoseconds: f64,
    /// Median of the ratios to the first contestant of the same round.
    pub ratio: f64,
}

/// Runs all contestants round by round; the first is the baseline.
pub fn compare<C: Contestant>(rounds: usize, contestants: &mut [&mut C]) -> Vec<Score> {
    let sizes: Vec<u64> = contestants.iter_mut().map(|c| c.batch()).collect();
    let mut times = vec![Vec::with_capacity(rounds); contestants.len()];
    for _ in 0..rounds {
        for ((contestant, n), times) in contestants.iter_mut().zip(&sizes).zip(&mut times) {
            let elapsed = time(*contestant, *n);
            times.push(elapsed.as_secs_f64() * 1e9 / *n as f64);
        }
    }
    let baseline = times[0].clone();
    times
        .into_iter()
        .map(|times| Score {
            ratio: median(times.iter().zip(&baseline).map(|(a, b)| a / b)),
            nanoseconds: median(times),
        })
        .collect()
}

fn time(contestant: &mut impl Contestant, n: u64) -> Duration {
    contestant.prepare(n);
    let start = Instant::now();
    contestant.run(n);
    start.elapsed()
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
