//! Runs all variants over the same ticks, in turns, and compares them.

use std::{hint::black_box, time::Duration};

use ::static_bus::layer::Report;
use allocation_counter::measure;
use hdrhistogram::Histogram;

use super::{handwritten, measure::Stretch, model::State, static_bus, ticks::Ticks};

/// Ticks in a round. All variants run one round before any runs the next, so other load on the machine
/// affects all of them. A round is shorter than a scheduler's time slice: an interrupted one is an
/// outlier, which does not affect the median.
const ROUND: u64 = 5_000;
/// The number of ticks whose latencies are measured one by one.
const TIMED: u64 = 5_000_000;

pub struct Contest {
    pub ticks: u64,
    pub seed: u64,
    /// Messages on the bus for all ticks.
    pub messages: u64,
    /// Nanoseconds per tick for making and merging the ticks alone.
    pub empty_loop: f64,
    /// The number of ticks behind the percentiles.
    pub timed: u64,
    /// The median time of one tick in the empty loop: reading the clock, and making the tick.
    pub empty_loop_p50: u64,
    pub handwritten: Standing,
    /// The bus, orders and fills handled where they are sent.
    pub acyclic: Standing,
    /// The same, with the time of each handler measured.
    pub acyclic_timed: Standing,
    /// The same, driven by a replay.
    pub replayed: Standing,
    /// The bus, orders and fills through the mailbox.
    pub with_mailbox: Standing,
    /// The time of each handler, from the variant that measures it.
    pub handlers: Report,
}

/// The results of a variant.
#[derive(Clone, Copy)]
pub struct Standing {
    pub name: &'static str,
    /// The median of all rounds.
    pub ns_per_tick: f64,
    /// The ratio to the handwritten loop: the median of the ratios of all rounds.
    pub ratio: f64,
    /// The same ratio, after the cost of making and merging the ticks is subtracted from both.
    pub net_ratio: f64,
    pub latency: Percentiles,
    pub allocations: u64,
    pub state_hash: u64,
}

/// In nanoseconds.
#[derive(Clone, Copy)]
pub struct Percentiles {
    pub p50: u64,
    pub p99: u64,
    pub p99_9: u64,
}

pub fn run(ticks: u64, seed: u64) -> Result<Contest, String> {
    let mut entrants = [
        Entrant::new("empty loop", seed, empty_loop),
        Entrant::new("handwritten", seed, handwritten::run),
        Entrant::new("static-bus", seed, static_bus::run_acyclic),
        Entrant::new("with `Timed`", seed, static_bus::run_timed),
        Entrant::new("by `Replay`", seed, static_bus::run_replayed),
        Entrant::new("static-bus", seed, static_bus::run_with_mailbox),
    ];
    take_turns(&mut entrants, ticks);

    let timed = ticks.min(TIMED);
    let [
        empty,
        handwritten,
        acyclic,
        acyclic_timed,
        replayed,
        with_mailbox,
    ] = &entrants;
    let standing = |entrant: &Entrant| entrant.standing(empty, handwritten, timed);
    let contest = Contest {
        ticks,
        seed,
        messages: handwritten.state.messages(),
        empty_loop: empty.ns_per_tick(),
        timed,
        empty_loop_p50: empty.latency(timed).p50,
        handwritten: standing(handwritten),
        acyclic: standing(acyclic),
        acyclic_timed: standing(acyclic_timed),
        replayed: standing(replayed),
        with_mailbox: standing(with_mailbox),
        handlers: static_bus::times(Ticks::new(seed), timed),
    };
    contest.check()?;
    Ok(contest)
}

impl Contest {
    /// A result counts only if the variant computes the same as the handwritten loop, and does not allocate.
    fn check(&self) -> Result<(), String> {
        let expected = self.handwritten.state_hash;
        let variants = [
            ("", &self.handwritten),
            ("", &self.acyclic),
            ("", &self.acyclic_timed),
            ("", &self.replayed),
            (" with a mailbox", &self.with_mailbox),
        ];
        for (path, standing) in variants {
            let Standing {
                name,
                state_hash,
                allocations,
                ..
            } = standing;
            if *state_hash != expected {
                return Err(format!(
                    "{name}{path} ended in state {state_hash:016x}, handwritten in {expected:016x}; \
                     make their logic the same"
                ));
            }
            if *allocations != 0 {
                return Err(format!(
                    "{name}{path} allocated {allocations} times in its loop; remove the allocations"
                ));
            }
        }
        Ok(())
    }
}

fn take_turns(entrants: &mut [Entrant], ticks: u64) {
    let rounds = ticks.div_ceil(ROUND);
    for round in 0..rounds {
        let count = ROUND.min(ticks - round * ROUND);
        let first = round as usize % entrants.len();
        let (late, early) = entrants.split_at_mut(first);
        for entrant in early.iter_mut().chain(late) {
            entrant.run_next(count);
        }
    }
}

struct Entrant {
    name: &'static str,
    run: fn(&mut State, Stretch),
    state: State,
    ticks: Ticks,
    seed: u64,
    allocations: u64,
    /// Nanoseconds per tick of each round.
    rounds: Vec<f64>,
}

impl Entrant {
    fn new(name: &'static str, seed: u64, run: fn(&mut State, Stretch)) -> Self {
        Self {
            name,
            run,
            state: State::default(),
            ticks: Ticks::new(seed),
            seed,
            allocations: 0,
            rounds: Vec::new(),
        }
    }

    /// Runs the next ticks in one batch.
    fn run_next(&mut self, count: u64) {
        // A run without ticks has only the allocations of building a bus.
        let setup = measure(|| {
            let stretch = Stretch {
                ticks: &mut self.ticks,
                batches: 0,
                batch: 0,
                clock: &mut |_| {},
            };
            (self.run)(&mut self.state, stretch);
        });
        let mut elapsed = Duration::ZERO;
        let whole = measure(|| {
            let stretch = Stretch {
                ticks: &mut self.ticks,
                batches: 1,
                batch: count,
                clock: &mut |time| elapsed = time,
            };
            (self.run)(&mut self.state, stretch);
        });
        self.allocations += whole.count_total - setup.count_total;
        self.rounds.push(nanoseconds(elapsed) / count as f64);
    }

    fn standing(&self, empty: &Self, handwritten: &Self, timed: u64) -> Standing {
        let rounds = self.rounds.iter().zip(&handwritten.rounds);
        let net = |ns: &f64, empty: &f64| ns - empty;
        let net_ratios = rounds
            .clone()
            .zip(&empty.rounds)
            .map(|((own, baseline), empty)| net(own, empty) / net(baseline, empty));
        Standing {
            name: self.name,
            ns_per_tick: self.ns_per_tick(),
            ratio: median(rounds.map(|(own, baseline)| own / baseline)),
            net_ratio: median(net_ratios),
            latency: self.latency(timed),
            allocations: self.allocations,
            state_hash: self.state.hash(),
        }
    }

    fn ns_per_tick(&self) -> f64 {
        median(self.rounds.iter().copied())
    }

    /// Runs the first ticks again, with the clock read before and after each.
    fn latency(&self, count: u64) -> Percentiles {
        // Up to a second, to three digits. It does not grow, so it does not allocate.
        let mut latencies: Histogram<u64> =
            Histogram::new_with_bounds(1, 1_000_000_000, 3).expect("the bounds are in order");
        let stretch = Stretch {
            ticks: &mut Ticks::new(self.seed),
            batches: count,
            batch: 1,
            clock: &mut |time| latencies.saturating_record(time.as_nanos() as u64),
        };
        (self.run)(&mut State::default(), stretch);
        let at = |quantile| latencies.value_at_quantile(quantile);
        Percentiles {
            p50: at(0.5),
            p99: at(0.99),
            p99_9: at(0.999),
        }
    }
}

/// The cost of the ticks alone.
fn empty_loop(_: &mut State, stretch: Stretch) {
    stretch.drive(|tick| {
        black_box(tick);
    });
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
