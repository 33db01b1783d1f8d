//! The entries of asynchronous queries and commands.
//!
//! An asynchronous call looks its handler up in the same table as any other, and takes what it finds
//! there: an entry of a handler that waits, or of one that does not. Which of the two it is is the
//! entry's `Mode`, a type, and the mode knows how to make a future of a call.

use super::{AsyncCommandHandler, AsyncQueryHandler, BusError, outcome::Outcome, refusal::Unasked};
use crate::handler::{CommandHandler, QueryHandler};
use crate::key::{Other, Rest, Same};
use crate::message::{Command, Message, Query};
use crate::table::{
    CommandEntry, Find, FindIf, HasCommandHandler, HasQueryHandler, InsertIf, InsertInto,
    MergeInto, QueryEntry, Registrations, RestOf, SecondCommandHandler, SecondQueryHandler, Wired,
    entry,
};
use crate::wiring::{Kind, Registration};
use core::marker::PhantomData;

entry! {
    /// A query `M`, its asynchronous handler, and the entries after it in its bucket.
    AsyncQueryEntry
}
entry! {
    /// A command `M`, its asynchronous handler, and the entries after it in its bucket.
    AsyncCommandEntry
}

/// The handler returns when it is done.
pub enum SyncMode {}
/// The handler is a future.
pub enum AsyncMode {}

// ----- queries

/// Holds a handler of query `Q`, asynchronous or not.
#[diagnostic::on_unimplemented(
    message = "no handler is registered for query `{Q}`",
    label = "nobody handles `{Q}`",
    note = "register one: `.register_query_async::<{Q}, _>(handler)`, `.register_query::<{Q}, _>(handler)`, one of their `…_fn`, or mount a module that has one"
)]
pub(crate) trait HasAsyncQueryHandler<Q> {
    type Handler;
    type Mode;
    fn handler(&self) -> &Self::Handler;
}
impl<Q: Query, H, T> HasAsyncQueryHandler<Q> for AsyncQueryEntry<Q, H, T> {
    type Handler = H;
    type Mode = AsyncMode;
    #[inline]
    fn handler(&self) -> &H {
        &self.handler
    }
}
impl<Q: Query, H, T> HasAsyncQueryHandler<Q> for QueryEntry<Q, H, T> {
    type Handler = H;
    type Mode = SyncMode;
    #[inline]
    fn handler(&self) -> &H {
        HasQueryHandler::handler(self)
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
impl<Q: Query, H: AsyncQueryHandler<Q, B>, B> Answer<Q, H, B> for AsyncMode {
    #[inline]
    fn answer(
        handler: &H,
        query: Q,
        bus: &B,
    ) -> impl Future<Output = Result<Q::Response, BusError>> + Send {
        handler.handle(query, bus)
    }
}
impl<Q: Query + Send, H: QueryHandler<Q, B> + Sync, B: Sync> Answer<Q, H, B> for SyncMode {
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
pub(crate) trait HasAsyncCommandHandler<C> {
    type Handler;
    type Mode;
    fn handler(&self) -> &Self::Handler;
}
impl<C: Command, H, T> HasAsyncCommandHandler<C> for AsyncCommandEntry<C, H, T> {
    type Handler = H;
    type Mode = AsyncMode;
    #[inline]
    fn handler(&self) -> &H {
        &self.handler
    }
}
impl<C: Command, H, T> HasAsyncCommandHandler<C> for CommandEntry<C, H, T> {
    type Handler = H;
    type Mode = SyncMode;
    #[inline]
    fn handler(&self) -> &H {
        HasCommandHandler::handler(self)
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
impl<C: Command, H: AsyncCommandHandler<C, B>, B> Perform<C, H, B> for AsyncMode {
    #[inline]
    fn perform(
        handler: &H,
        command: C,
        bus: &B,
    ) -> impl Future<Output = Result<(), BusError>> + Send {
        handler.handle(command, bus)
    }
}
impl<C: Command + Send, H: CommandHandler<C, B> + Sync, B: Sync> Perform<C, H, B> for SyncMode
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
impl<Q: Query, H, T> HasQueryHandler<Q> for AsyncQueryEntry<Q, H, T> {
    type Handler = Unasked<H>;
    fn handler(&self) -> &Unasked<H> {
        &Unasked(PhantomData)
    }
}
#[diagnostic::do_not_recommend]
impl<C: Command, H, T> HasCommandHandler<C> for AsyncCommandEntry<C, H, T> {
    type Handler = Unasked<H>;
    fn handler(&self) -> &Unasked<H> {
        &Unasked(PhantomData)
    }
}

impl<M, H, T, R, W: SecondQueryHandler<M>> InsertIf<Same, R, W> for AsyncQueryEntry<M, H, T> {
    type Out = Self;
    fn insert_if(self, _: W) -> Self {
        self
    }
}
impl<M, H, T, R, W: SecondCommandHandler<M>> InsertIf<Same, R, W> for AsyncCommandEntry<M, H, T> {
    type Out = Self;
    fn insert_if(self, _: W) -> Self {
        self
    }
}

impl<Q: Query, H: AsyncQueryHandler<Q, B>, T: Wired<B>, B> Wired<B> for AsyncQueryEntry<Q, H, T> {}
impl<C: Command, H: AsyncCommandHandler<C, B>, T: Wired<B>, B> Wired<B>
    for AsyncCommandEntry<C, H, T>
{
}

impl<Q: Query, H, T: Registrations> Registrations for AsyncQueryEntry<Q, H, T> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        visit(Registration::new::<Q, H>(Kind::Query));
        T::each(visit);
    }
}
impl<C: Command, H, T: Registrations> Registrations for AsyncCommandEntry<C, H, T> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        visit(Registration::new::<C, H>(Kind::Command));
        T::each(visit);
    }
}
