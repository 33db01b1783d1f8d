//! The bus of a module, within two layers that only call `next`.

use static_bus::layer::{AroundCommand, AroundEvent, AroundQuery, Layer, Layered};
use static_bus::{prelude::*, wiring::Registration};

pub type Built<M> = BusOf<Layered<Layered<M, Pass>, Pass>>;

pub struct Pass;
impl Layer for Pass {
    type Around = Pass;
    fn around(&self, _: Registration) -> Pass {
        Pass
    }
}
impl<Q: Query, B: ?Sized> AroundQuery<Q, B> for Pass {
    #[inline]
    fn query(&self, query: Q, _bus: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response {
        next(query)
    }
}
impl<C: Command, B: ?Sized> AroundCommand<C, B> for Pass {
    #[inline]
    fn command(&self, command: C, _bus: &B, next: impl Fn(C) -> C::Output) -> C::Output {
        next(command)
    }
}
impl<E: Event, B: ?Sized> AroundEvent<E, B> for Pass {
    #[inline]
    fn event(&self, event: &E, _bus: &B, next: impl Fn(&E) -> E::Output) -> E::Output {
        next(event)
    }
}
