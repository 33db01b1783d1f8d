//! A handler within a layer.

use super::{AroundCommand, AroundEvent, AroundQuery, Layer};
use crate::handler::{CommandHandler, EventHandler, QueryHandler};
use crate::message::{Command, Event, Query};

/// A handler within a layer.
///
/// It names the layer and not what the layer made, so that errors and [`wiring`](mod@crate::wiring) do.
pub struct Wrapped<H, L: Layer> {
    pub(super) handler: H,
    pub(super) around: L::Around,
}
impl<H, L: Layer> Wrapped<H, L> {
    #[inline]
    pub(crate) const fn new(handler: H, around: L::Around) -> Self {
        Wrapped { handler, around }
    }
    /// The handler within another layer, made of what this one has.
    #[inline]
    pub(crate) fn map<N: Layer>(self, map: impl FnOnce(L::Around) -> N::Around) -> Wrapped<H, N> {
        Wrapped::new(self.handler, map(self.around))
    }
}
/// The prefix of the type name of every `Wrapped`.
pub(crate) const WRAPPED: &str = concat!(module_path!(), "::Wrapped<");

impl<H: Clone, L: Layer<Around: Clone>> Clone for Wrapped<H, L> {
    fn clone(&self) -> Self {
        Wrapped::new(self.handler.clone(), self.around.clone())
    }
}

impl<Q, B, H, L> QueryHandler<Q, B> for Wrapped<H, L>
where
    Q: Query,
    B: ?Sized,
    H: QueryHandler<Q, B>,
    L: Layer<Around: AroundQuery<Q, B>>,
{
    #[inline]
    fn handle(&self, query: Q, bus: &B) -> Q::Response {
        let next = |query| self.handler.handle(query, bus);
        self.around.query(query, bus, next)
    }
}
impl<C, B, H, L> CommandHandler<C, B> for Wrapped<H, L>
where
    C: Command,
    B: ?Sized,
    H: CommandHandler<C, B>,
    L: Layer<Around: AroundCommand<C, B>>,
{
    #[inline]
    fn handle(&self, command: C, bus: &B) -> C::Output {
        let next = |command| self.handler.handle(command, bus);
        self.around.command(command, bus, next)
    }
}
impl<E, B, H, L> EventHandler<E, B> for Wrapped<H, L>
where
    E: Event,
    B: ?Sized,
    H: EventHandler<E, B>,
    L: Layer<Around: AroundEvent<E, B>>,
{
    #[inline]
    fn handle(&self, event: &E, bus: &B) -> E::Output {
        let next = |event: &E| self.handler.handle(event, bus);
        self.around.event(event, bus, next)
    }
}
