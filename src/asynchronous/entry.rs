//! The entries of asynchronous queries and commands.
//!
//! An asynchronous call looks up its handler in the same table as a synchronous one, and accepts the
//! entry of an asynchronous or of a synchronous handler. The entry's `Mode`, a type, distinguishes the
//! two, and turns the call into a future.

use super::{AsyncCommandHandler, AsyncQueryHandler, BusError, outcome::Outcome, refusal::Unasked};
use crate::handler::{CommandHandler, QueryHandler};
use crate::key::{Other, Rest, Same};
use crate::layer::{Layer, Wrapped};
use crate::message::{Command, Message, Query};
use crate::table::{
    CommandEntry, Find, FindIf, Fit, HasCommandHandler, HasQueryHandler, InsertIf, InsertInto,
    MergeInto, PlaceFor, QueryEntry, Registered, RestOf, SameHandlers, SecondCommandHandler,
    SecondQueryHandler, Take, TakeIf, Wired, entry, wrap_handler,
};
use crate::wiring::{Kind, Registration, Registrations};
use core::marker::PhantomData;

entry! {
    /// A query `M`, its asynchronous handler, and the entries after it in its bucket.
    AsyncQueryEntry
}
entry! {
    /// A command `M`, its asynchronous handler, and the entries after it in its bucket.
    AsyncCommandEntry
}

/// The mode of a synchronous handler: it returns its result.
pub enum SyncMode {}
/// The mode of an asynchronous handler: it returns a future.
pub enum AsyncMode {}

// ----- queries

/// An entry with a handler of query `Q`, asynchronous or not.
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
        &self.handler
    }
}

/// A mode that turns a call of the query handler `H` into a future.
pub(crate) trait Answer<Q: Query, H, B> {
    fn answer(
        handler: &H,
        query: Q,
        bus: &B,
    ) -> impl Future<Output = Result<Q::Response, BusError>> + Send;
}
impl<Q: Query, H: AsyncQueryHandler<Q, B>, B: Sync> Answer<Q, H, B> for AsyncMode {
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

/// An entry with a handler of command `C`, asynchronous or not.
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
        &self.handler
    }
}

/// A mode that turns a call of the command handler `H` into a future.
pub(crate) trait Perform<C: Command, H, B> {
    fn perform(
        handler: &H,
        command: C,
        bus: &B,
    ) -> impl Future<Output = Result<(), BusError>> + Send;
}
impl<C: Command, H: AsyncCommandHandler<C, B>, B: Sync> Perform<C, H, B> for AsyncMode {
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

// ----- the traits of every entry

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

wrap_handler!(AsyncQueryEntry: Query, AsyncCommandEntry: Command);

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
