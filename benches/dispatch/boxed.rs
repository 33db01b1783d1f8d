//! Handlers as `Box<dyn Fn>`: one indirect call for each.

use super::work::{Mixers, Refused};

type Handler<I, O> = Box<dyn Fn(I) -> O>;

pub fn query([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    let handler: Handler<u64, u64> = Box::new(|n| a.mix(n));
    move |n| handler(n)
}

pub fn command([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    let handler: Handler<u64, Result<(), Refused>> = Box::new(|n| a.accept(n));
    move |n| u64::from(handler(n).is_ok())
}

pub fn event_1([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    publish_to(vec![Box::new(|n| _ = a.mix(n))])
}

pub fn event_3([a, b, c]: Mixers) -> impl Fn(u64) -> u64 {
    publish_to(vec![
        Box::new(|n| _ = a.mix(n)),
        Box::new(|n| _ = b.mix(n)),
        Box::new(|n| _ = c.mix(n)),
    ])
}

fn publish_to(subscribers: Vec<Handler<u64, ()>>) -> impl Fn(u64) -> u64 {
    move |n| {
        for subscriber in &subscribers {
            subscriber(n);
        }
        0
    }
}

pub fn nested([a, b, c]: Mixers) -> impl Fn(u64) -> u64 {
    let inner: Handler<u64, u64> = Box::new(|n| c.mix(n));
    let middle: Handler<u64, u64> = Box::new(move |n| b.mix(inner(n)));
    let outer: Handler<u64, u64> = Box::new(move |n| a.mix(middle(n)));
    move |n| outer(n)
}
