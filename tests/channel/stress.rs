//! Many runs with threads that meet at different moments.

use crate::{Input, Tick, number};
use static_bus::live::{self, Wait};
use std::{
    collections::BTreeSet,
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Passes a different, short time in each run.
fn dither(run: u64) {
    for _ in 0..run.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56 {
        std::hint::spin_loop();
    }
}

#[test]
fn nothing_is_lost_doubled_or_reordered_between_many_threads() {
    const SENDERS: u64 = 3;
    const MESSAGES: u64 = 20_000;
    for wait in [Wait::Yield, Wait::Park] {
        for capacity in [1, 2, 64] {
            let (sender, receiver) = live::channel::<Input>(capacity);
            let sender = sender.with_wait(wait);
            thread::scope(|threads| {
                for thread in 0..SENDERS {
                    let sender = sender.clone();
                    threads.spawn(move || {
                        for n in 0..MESSAGES {
                            sender.post(Tick(n * SENDERS + thread)).unwrap();
                        }
                    });
                }
                drop(sender);
                let mut next = [0; SENDERS as usize];
                for n in receiver.map(number) {
                    let next = &mut next[(n % SENDERS) as usize];
                    assert_eq!(n / SENDERS, *next);
                    *next += 1;
                }
                assert_eq!(next, [MESSAGES; SENDERS as usize]);
            });
        }
    }
}

#[test]
fn a_receiver_that_parks_misses_no_message() {
    // One message under way at a time, so the receiver parks before most of them.
    const MESSAGES: u64 = 20_000;
    let (request, requests) = live::channel::<Input>(1);
    let (response, mut responses) = live::channel::<Input>(1);
    thread::scope(|threads| {
        threads.spawn(move || {
            for n in requests.map(number) {
                dither(n);
                response.post(Tick(n)).unwrap();
            }
        });
        for n in 0..MESSAGES {
            request.post(Tick(n)).unwrap();
            dither(n ^ 0xff);
            assert_eq!(responses.next().map(number), Some(n));
        }
        drop(request);
    });
}

#[test]
fn a_close_at_any_moment_splits_the_messages_into_accepted_and_refused() {
    for run in 0..3_000 {
        let (sender, receiver) = live::channel::<Input>(4);
        let (start, accepted) = (Barrier::new(3), AtomicU64::new(0));
        let mut received = Vec::new();
        thread::scope(|threads| {
            for first in [0, 1_000] {
                let (sender, start, accepted) = (sender.clone(), &start, &accepted);
                threads.spawn(move || {
                    start.wait();
                    for n in first.. {
                        match sender.post(Tick(n)) {
                            Ok(()) => accepted.fetch_add(1, Ordering::Relaxed),
                            Err(refused) => {
                                assert_eq!(refused.0, Tick(n));
                                break;
                            }
                        };
                    }
                });
            }
            start.wait();
            dither(run);
            received.extend(receiver.try_next().map(number));
            match run % 3 {
                0 => receiver.close(),
                1 => sender.close(),
                _ => {}
            }
            match run % 3 {
                2 => drop(receiver),
                _ => received.extend(receiver.map(number)),
            }
        });
        received.extend(std::iter::from_fn(|| sender.reclaim()).map(number));
        let accepted = accepted.into_inner() as usize;
        assert_eq!(received.len(), accepted, "run {run}");
        assert_eq!(BTreeSet::from_iter(received).len(), accepted, "run {run}");
    }
}
