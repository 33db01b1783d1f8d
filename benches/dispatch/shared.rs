//! Handlers as `Rc<RefCell<dyn …>>`: an indirect call and a borrow flag for each.

use std::cell::RefCell;
use std::rc::Rc;

use super::work::{Mixer, Mixers, Refused};

trait Handler<I, O> {
    fn handle(&mut self, input: I) -> O;
}
type Shared<I, O> = Rc<RefCell<dyn Handler<I, O>>>;

impl Handler<u64, u64> for &Mixer {
    fn handle(&mut self, n: u64) -> u64 {
        self.mix(n)
    }
}
impl Handler<u64, Result<(), Refused>> for &Mixer {
    fn handle(&mut self, n: u64) -> Result<(), Refused> {
        self.accept(n)
    }
}
impl Handler<u64, ()> for &Mixer {
    fn handle(&mut self, n: u64) {
        self.mix(n);
    }
}

pub fn query([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    let handler: Shared<u64, u64> = Rc::new(RefCell::new(a));
    move |n| handler.borrow_mut().handle(n)
}

pub fn command([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    let handler: Shared<u64, Result<(), Refused>> = Rc::new(RefCell::new(a));
    move |n| u64::from(handler.borrow_mut().handle(n).is_ok())
}

pub fn event_1([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    publish_to(vec![Rc::new(RefCell::new(a))])
}

pub fn event_3([a, b, c]: Mixers) -> impl Fn(u64) -> u64 {
    publish_to(vec![
        Rc::new(RefCell::new(a)),
        Rc::new(RefCell::new(b)),
        Rc::new(RefCell::new(c)),
    ])
}

fn publish_to(subscribers: Vec<Shared<u64, ()>>) -> impl Fn(u64) -> u64 {
    move |n| {
        for subscriber in &subscribers {
            subscriber.borrow_mut().handle(n);
        }
        0
    }
}

struct Before(Mixers, usize, Shared<u64, u64>);
impl Handler<u64, u64> for Before {
    fn handle(&mut self, n: u64) -> u64 {
        let Before(mixers, index, next) = self;
        mixers[*index].mix(next.borrow_mut().handle(n))
    }
}

pub fn nested(mixers: Mixers) -> impl Fn(u64) -> u64 {
    let inner: Shared<u64, u64> = Rc::new(RefCell::new(&mixers[2]));
    let middle: Shared<u64, u64> = Rc::new(RefCell::new(Before(mixers, 1, inner)));
    let outer: Shared<u64, u64> = Rc::new(RefCell::new(Before(mixers, 0, middle)));
    move |n| outer.borrow_mut().handle(n)
}
