//! A bus with a map at run time: from the type of a message to its boxed handlers, looked up for each message.

use std::any::{Any, TypeId};
use std::collections::HashMap;

use super::work::{Mixers, Refused};

trait Message: 'static {
    type Answer: 'static;
}
type Handler<M> = Box<dyn Fn(&M, &MapBus) -> <M as Message>::Answer>;

/// For each message the list of its handlers, a `Vec<Handler<M>>`.
#[derive(Default)]
struct MapBus(HashMap<TypeId, Box<dyn Any>>);

impl MapBus {
    fn with<M: Message>(mut self, handler: impl Fn(&M, &MapBus) -> M::Answer + 'static) -> Self {
        let handlers = self
            .0
            .entry(TypeId::of::<M>())
            .or_insert_with(|| Box::new(Vec::<Handler<M>>::new()));
        let handlers: &mut Vec<Handler<M>> = handlers.downcast_mut().expect("the key is the type");
        handlers.push(Box::new(handler));
        self
    }

    fn handlers<M: Message>(&self) -> &[Handler<M>] {
        let handlers = self.0.get(&TypeId::of::<M>());
        handlers.map_or(&[], |it| {
            it.downcast_ref::<Vec<Handler<M>>>()
                .expect("the key is the type")
        })
    }

    /// # Panics
    /// If the message has no handler.
    fn send<M: Message>(&self, message: M) -> M::Answer {
        self.handlers::<M>()[0](&message, self)
    }

    fn publish<M: Message<Answer = ()>>(&self, message: &M) {
        for handler in self.handlers::<M>() {
            handler(message, self);
        }
    }
}

struct Ask(u64);
impl Message for Ask {
    type Answer = u64;
}
struct Order(u64);
impl Message for Order {
    type Answer = Result<(), Refused>;
}
struct Tick(u64);
impl Message for Tick {
    type Answer = ();
}
struct Outer(u64);
impl Message for Outer {
    type Answer = u64;
}
struct Middle(u64);
impl Message for Middle {
    type Answer = u64;
}

pub fn query([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    let bus = MapBus::default().with(|m: &Ask, _| a.mix(m.0));
    move |n| bus.send(Ask(n))
}

pub fn command([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    let bus = MapBus::default().with(|m: &Order, _| a.accept(m.0));
    move |n| u64::from(bus.send(Order(n)).is_ok())
}

pub fn event_1([a, ..]: Mixers) -> impl Fn(u64) -> u64 {
    let bus = MapBus::default().with(|m: &Tick, _| _ = a.mix(m.0));
    move |n| {
        bus.publish(&Tick(n));
        0
    }
}

pub fn event_3([a, b, c]: Mixers) -> impl Fn(u64) -> u64 {
    let bus = MapBus::default()
        .with(|m: &Tick, _| _ = a.mix(m.0))
        .with(|m: &Tick, _| _ = b.mix(m.0))
        .with(|m: &Tick, _| _ = c.mix(m.0));
    move |n| {
        bus.publish(&Tick(n));
        0
    }
}

pub fn nested([a, b, c]: Mixers) -> impl Fn(u64) -> u64 {
    let bus = MapBus::default()
        .with(|m: &Outer, bus| a.mix(bus.send(Middle(m.0))))
        .with(|m: &Middle, bus| b.mix(bus.send(Ask(m.0))))
        .with(|m: &Ask, _| c.mix(m.0));
    move |n| bus.send(Outer(n))
}
