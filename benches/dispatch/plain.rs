//! No dispatch: the handlers are called by name.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::work::Mixers;

pub fn query([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    move |n| a.mix(n)
}

pub fn command([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    move |n| u64::from(a.accept(n).is_ok())
}

pub fn event_1([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    move |n| {
        a.mix(n);
        0
    }
}

pub fn event_3([a, b, c]: Mixers) -> impl Fn(u64) -> u64 {
    move |n| {
        a.mix(n);
        b.mix(n);
        c.mix(n);
        0
    }
}

pub fn nested([a, b, c]: Mixers) -> impl Fn(u64) -> u64 {
    move |n| a.mix(b.mix(c.mix(n)))
}

enum Queued {
    Tick(u64),
}

/// A queue of messages without a bus.
pub fn queue([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    let queue = RefCell::new(VecDeque::with_capacity(16));
    move |n| {
        queue.borrow_mut().push_back(Queued::Tick(n));
        loop {
            let next = queue.borrow_mut().pop_front();
            match next {
                Some(Queued::Tick(number)) => a.mix(number),
                None => return 1,
            };
        }
    }
}
