//! The wires of asynchronous queries and commands.
//!
//! An asynchronous call looks its handler up in the same table as any other, and takes what it finds
//! there: a wire of a handler that waits, or of one that does not. Which of the two it is is the
//! wire's `Mode`, a type, and the mode knows how to make a future of a call.

use super::{AsyncCommandHandler, AsyncQueryHandler, BusError, outcome::Outcome, refusal::Unasked};
use crate::handler::{CommandHandler, QueryHandler};
use crate::key::{Other, Rest, Same};
use crate::message::{Command, Message, Query};
use crate::table::{
    CarryOut, CommandWire, Find, FindIf, InsertIf, InsertInto, Pour, QueryWire, Registrations,
    Respond, RestOf, SecondCommandHandler, SecondQueryHandler, Wired, wire,
};
use crate::wiring::{Kind, Registration};
use core::marker::PhantomData;

wire! {
    /// A query `M`, its asynchronous handler, and the wires after it in its bucket.
    AsyncQueryWire
}
wire! {
    /// A command `M`, its asynchronous handler, and the wires after it in its bucket.
    AsyncCommandWire
}

/// The handler returns when it is done.
pub enum AtOnce {}
/// The handler is a future.
pub enum InTime {}

// ----- queries

/// Holds a handler of query `Q`, asynchronous or not.
#[diagnostic::on_unimplemented(
    message = "no handler is registered for query `{Q}`",
    label = "nobody handles `{Q}`",
    note = "register one: `.register_query_async::<{Q}, _>(handler)`, `.register_query::<{Q}, _>(handler)`, one of their `…_fn`, or mount a module that has one"
)]
pub(crate) trait RespondAsync<Q> {
    type Handler;
    type Mode;
    fn handler(&self) -> &Self::Handler;
}
impl<Q: Query, H, T> RespondAsync<Q> for AsyncQueryWire<Q, H, T> {
    type Handler = H;
    type Mode = InTime;
    #[inline]
    fn handler(&self) -> &H {
        &self.handler
    }
}
impl<Q: Query, H, T> RespondAsync<Q> for QueryWire<Q, H, T> {
    type Handler = H;
    type Mode = AtOnce;
    #[inline]
    fn handler(&self) -> &H {
        Respond::handler(self)
    }
}

/// Makes a future of a query's handler `H`.
pub(crate) trait Answer<Q: Query, H, B> {
    fn answer(
        handler: &H,
        query: Q,
        bus: &B,
    ) -> impl Future<Output = Result<Q::Response, BusError>> + Send;
}
impl<Q: Query, H: AsyncQueryHandler<Q, B>, B> Answer<Q, H, B> for InTime {
    #[inline]
    fn answer(
        handler: &H,
        query: Q,
        bus: &B,
    ) -> impl Future<Output = Result<Q::Response, BusError>> + Send {
        handler.handle(query, bus)
    }
}
impl<Q: Query + Send, H: QueryHandler<Q, B> + Sync, B: Sync> Answer<Q, H, B> for AtOnce {
    #[inline]
    async fn answer(handler: &H, query: Q, bus: &B) -> Result<Q::Response, BusError> {
        Ok(handler.handle(query, bus))
    }
}

// ----- commands

/// Holds a handler of command `C`, asynchronous or not.
#[diagnostic::on_unimplemented(
    message = "no handler is registered for command `{C}`",
    label = "nobody handles `{C}`",
    note = "register one: `.register_command_async::<{C}, _>(handler)`, `.register_command::<{C}, _>(handler)`, one of their `…_fn`, or mount a module that has one"
)]
pub(crate) trait CarryOutAsync<C> {
    type Handler;
    type Mode;
    fn handler(&self) -> &Self::Handler;
}
impl<C: Command, H, T> CarryOutAsync<C> for AsyncCommandWire<C, H, T> {
    type Handler = H;
    type Mode = InTime;
    #[inline]
    fn handler(&self) -> &H {
        &self.handler
    }
}
impl<C: Command, H, T> CarryOutAsync<C> for CommandWire<C, H, T> {
    type Handler = H;
    type Mode = AtOnce;
    #[inline]
    fn handler(&self) -> &H {
        CarryOut::handler(self)
    }
}

/// Makes a future of a command's handler `H`.
pub(crate) trait Perform<C: Command, H, B> {
    fn perform(
        handler: &H,
        command: C,
        bus: &B,
    ) -> impl Future<Output = Result<(), BusError>> + Send;
}
impl<C: Command, H: AsyncCommandHandler<C, B>, B> Perform<C, H, B> for InTime {
    #[inline]
    fn perform(
        handler: &H,
        command: C,
        bus: &B,
    ) -> impl Future<Output = Result<(), BusError>> + Send {
        handler.handle(command, bus)
    }
}
impl<C: Command + Send, H: CommandHandler<C, B> + Sync, B: Sync> Perform<C, H, B> for AtOnce
where
    C::Output: Outcome<C>,
{
    #[inline]
    async fn perform(handler: &H, command: C, bus: &B) -> Result<(), BusError> {
        handler.handle(command, bus).outcome()
    }
}

// ----- the same table

#[diagnostic::do_not_recommend]
impl<Q: Query, H, T> Respond<Q> for AsyncQueryWire<Q, H, T> {
    type Handler = Unasked<H>;
    fn handler(&self) -> &Unasked<H> {
        &Unasked(PhantomData)
    }
}
#[diagnostic::do_not_recommend]
impl<C: Command, H, T> CarryOut<C> for AsyncCommandWire<C, H, T> {
    type Handler = Unasked<H>;
    fn handler(&self) -> &Unasked<H> {
        &Unasked(PhantomData)
    }
}

impl<M, H, T, R, W: SecondQueryHandler<M>> InsertIf<Same, R, W> for AsyncQueryWire<M, H, T> {
    type Out = Self;
    fn insert_if(self, _: W) -> Self {
        self
    }
}
impl<M, H, T, R, W: SecondCommandHandler<M>> InsertIf<Same, R, W> for AsyncCommandWire<M, H, T> {
    type Out = Self;
    fn insert_if(self, _: W) -> Self {
        self
    }
}

impl<Q: Query, H: AsyncQueryHandler<Q, B>, T: Wired<B>, B> Wired<B> for AsyncQueryWire<Q, H, T> {}
impl<C: Command, H: AsyncCommandHandler<C, B>, T: Wired<B>, B> Wired<B>
    for AsyncCommandWire<C, H, T>
{
}

impl<Q: Query, H, T: Registrations> Registrations for AsyncQueryWire<Q, H, T> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        visit(Registration::new::<Q, H>(Kind::Query));
        T::each(visit);
    }
}
impl<C: Command, H, T: Registrations> Registrations for AsyncCommandWire<C, H, T> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        visit(Registration::new::<C, H>(Kind::Command));
        T::each(visit);
    }
}
