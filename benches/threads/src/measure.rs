//! Rounds: every channel runs once in each, one after another, so other load on the machine affects all of
//! them, and each is compared with the first of the same round.
//!
//! Rounds are short and many: on a busy machine most of them then run undisturbed, and determine the
//! medians.

use crate::allocations;
use crate::channel::{Channel, Halt, Input, Quote};
use core_affinity::CoreId;
use quanta::Clock;
use std::{hint, sync::Barrier, thread};

const CAPACITY: usize = 1024;
/// At one message in a microsecond, 10 ms.
const PACED: u64 = 10_000;
const UNPACED: u64 = 50_000;
const COUNTED: u64 = 5_000;

/// The cores of the two threads.
pub struct Cores {
    sender: CoreId,
    receiver: CoreId,
}

impl Cores {
    pub fn find() -> Option<Cores> {
        match *core_affinity::get_core_ids()? {
            [sender, receiver, ..] => Some(Cores { sender, receiver }),
            _ => None,
        }
    }
}

/// Times in nanoseconds.
pub struct Round {
    /// One-way latency at one message in a microsecond.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// Time of a message if the sender does not pause.
    pub unpaced: f64,
    /// Allocations for each message.
    pub allocations: f64,
}

/// Runs all contestants round by round.
pub fn alternate(
    rounds: usize,
    cores: &Cores,
    contestants: &[crate::Contestant],
) -> Vec<Vec<Round>> {
    let round = || contestants.iter().map(|(_, run)| run(cores)).collect();
    round(); // the warm-up
    (0..rounds).map(|_| round()).collect()
}

pub fn round<C: Channel>(cores: &Cores) -> Round {
    let clock = Clock::new();
    let mut latencies = vec![0; PACED as usize];
    transfer::<C>(
        cores,
        |sender| {
            let start = clock.raw();
            for n in 0..PACED {
                while clock.delta_as_nanos(start, clock.raw()) < n * 1_000 {
                    hint::spin_loop();
                }
                send::<C>(sender, clock.raw());
            }
        },
        |receiver| {
            for latency in &mut latencies {
                let sent = receive::<C>(receiver);
                *latency = clock.delta_as_nanos(sent, clock.raw());
            }
        },
    );
    latencies.sort_unstable();
    let percentile = |share: f64| latencies[(latencies.len() as f64 * share) as usize] as f64;

    let mut unpaced = 0;
    transfer::<C>(
        cores,
        |sender| {
            let start = clock.raw();
            (0..UNPACED).for_each(|_| send::<C>(sender, start));
        },
        |receiver| {
            let start = (0..UNPACED).fold(0, |_, _| receive::<C>(receiver));
            unpaced = clock.delta_as_nanos(start, clock.raw());
        },
    );

    let mut allocations = 0;
    transfer::<C>(
        cores,
        |sender| {
            // Of the receiver as well, which is behind the sender by a channel at most.
            allocations = allocations::count(|| (0..COUNTED).for_each(|n| send::<C>(sender, n)));
        },
        |receiver| (0..COUNTED).for_each(|_| _ = receive::<C>(receiver)),
    );

    Round {
        p50: percentile(0.5),
        p99: percentile(0.99),
        p999: percentile(0.999),
        unpaced: unpaced as f64 / UNPACED as f64,
        allocations: allocations as f64 / COUNTED as f64,
    }
}

/// Runs both sides of a new channel, each on its core.
fn transfer<C: Channel>(
    cores: &Cores,
    send: impl FnOnce(&mut C::Sender),
    receive: impl FnOnce(&mut C::Receiver) + Send,
) {
    let (mut sender, mut receiver) = C::new(CAPACITY);
    let ready = Barrier::new(2);
    thread::scope(|threads| {
        threads.spawn(|| {
            core_affinity::set_for_current(cores.receiver);
            ready.wait();
            receive(&mut receiver);
        });
        core_affinity::set_for_current(cores.sender);
        ready.wait();
        send(&mut sender);
    });
}

#[inline]
fn send<C: Channel>(sender: &mut C::Sender, sent: u64) {
    let quote = Quote {
        sent,
        rest: [sent; 2],
    };
    while !C::try_send(sender, Input::Quote(quote)) {
        hint::spin_loop();
    }
}

#[inline]
fn receive<C: Channel>(receiver: &mut C::Receiver) -> u64 {
    loop {
        match C::try_receive(receiver) {
            None => hint::spin_loop(),
            Some(Input::Quote(quote)) => {
                hint::black_box(quote.rest);
                return quote.sent;
            }
            Some(Input::Halt(Halt)) => unreachable!("only quotes are sent"),
        }
    }
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
