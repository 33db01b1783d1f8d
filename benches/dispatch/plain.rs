//! No dispatch: the handlers are called by name.

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
