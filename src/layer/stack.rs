//! Two layers as one, so that several around one table are a single parameter of its type.

use super::{AroundCommand, AroundEvent, AroundQuery, Layer};
use crate::message::{Command, Event, Query};
use crate::wiring::Registration;

/// An inner and an outer layer, or what they made for one handler.
#[derive(Clone)]
pub struct Stack<Inner, Outer>(pub(crate) Inner, pub(crate) Outer);

/// The prefix of the type name of every `Stack`.
pub(crate) const STACK: &str = concat!(module_path!(), "::Stack<");

impl<Inner: Layer, Outer: Layer> Layer for Stack<Inner, Outer> {
    type Around = Stack<Inner::Around, Outer::Around>;
    fn around(&self, registration: Registration) -> Self::Around {
        Stack(self.0.around(registration), self.1.around(registration))
    }
}

impl<Q, B, Inner, Outer> AroundQuery<Q, B> for Stack<Inner, Outer>
where
    Q: Query,
    B: ?Sized,
    Inner: AroundQuery<Q, B>,
    Outer: AroundQuery<Q, B>,
{
    #[inline]
    fn query(&self, query: Q, bus: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response {
        let inner = |query| self.0.query(query, bus, &next);
        self.1.query(query, bus, inner)
    }
}
impl<C, B, Inner, Outer> AroundCommand<C, B> for Stack<Inner, Outer>
where
    C: Command,
    B: ?Sized,
    Inner: AroundCommand<C, B>,
    Outer: AroundCommand<C, B>,
{
    #[inline]
    fn command(&self, command: C, bus: &B, next: impl Fn(C) -> C::Output) -> C::Output {
        let inner = |command| self.0.command(command, bus, &next);
        self.1.command(command, bus, inner)
    }
}
impl<E, B, Inner, Outer> AroundEvent<E, B> for Stack<Inner, Outer>
where
    E: Event,
    B: ?Sized,
    Inner: AroundEvent<E, B>,
    Outer: AroundEvent<E, B>,
{
    #[inline]
    fn event(&self, event: &E, bus: &B, next: impl Fn(&E) -> E::Output) -> E::Output {
        let inner = |event: &E| self.0.event(event, bus, &next);
        self.1.event(event, bus, inner)
    }
}
