//! The wake-ups of the channel, in each order in which the steps of the threads can happen. loom runs all of
//! them, and reports a thread that sleeps forever as a deadlock.

use loom::sync::{Arc, atomic::AtomicUsize};
use loom::thread;
use sync::{AtomicBool, Ordering};
use waiters::Waiters;

#[path = "../src/live/channel/waiters.rs"]
mod waiters;

mod sync {
    pub use loom::sync::atomic::{AtomicBool, Ordering, fence};
    pub use loom::sync::{Condvar, Mutex, MutexGuard};
    pub use std::sync::PoisonError;
}

/// A condition that orders nothing itself, as a queue may do.
#[derive(Default)]
struct Condition {
    count: AtomicUsize,
    waiters: Waiters,
}

impl Condition {
    fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.waiters.wake();
    }

    /// Takes one, or waits for one.
    fn take(&self) {
        let decrement = |count: usize| count.checked_sub(1);
        let relaxed = Ordering::Relaxed;
        let taken = self.waiters.wait(None, || {
            let count = self.count.fetch_update(relaxed, relaxed, decrement);
            count.ok()
        });
        assert!(taken.is_some());
    }
}

#[test]
fn a_waiting_thread_misses_no_change() {
    loom::model(|| {
        let condition = Arc::new(Condition::default());
        let adding = condition.clone();
        let thread = thread::spawn(move || adding.add());
        condition.take();
        thread.join().unwrap();
    });
}

#[test]
fn a_thread_that_waits_again_misses_no_change() {
    loom::model(|| {
        let condition = Arc::new(Condition::default());
        let adding = condition.clone();
        let thread = thread::spawn(move || {
            adding.add();
            adding.add();
        });
        condition.take();
        condition.take();
        thread.join().unwrap();
    });
}

#[test]
fn each_of_two_waiting_threads_is_woken() {
    // All orders of three threads would take minutes.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let condition = Arc::new(Condition::default());
        let taking = condition.clone();
        let thread = thread::spawn(move || taking.take());
        let adding = condition.clone();
        let other = thread::spawn(move || {
            adding.add();
            adding.add();
        });
        condition.take();
        thread.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn a_change_that_is_not_announced_is_a_deadlock_in_this_model() {
    let lost_wake = || {
        loom::model(|| {
            let flag = Arc::new((AtomicBool::new(false), Waiters::default()));
            let other = flag.clone();
            thread::spawn(move || other.0.store(true, Ordering::Relaxed));
            let ready = || flag.0.load(Ordering::Relaxed).then_some(());
            flag.1.wait(None, ready);
        });
    };
    assert!(std::panic::catch_unwind(lost_wake).is_err());
}
