//! The frozen bus.

use crate::dispatch::{ExecuteCommand, PublishEvent, SendQuery};
use crate::message::{Command, Event, EventOutput, Query};
use crate::table::{Carry, Find, Publish, Respond, Wired};

/// No outbox: nothing can be posted.
#[derive(Debug, Clone, Copy)]
pub struct NoOutbox;
impl<B> Wired<B> for NoOutbox {}

/// The frozen bus: each call goes straight to its handlers. Nobody needs to write its parameters.
#[derive(Clone)]
pub struct Bus<T, O = NoOutbox> {
    pub(crate) table: T,
    pub(crate) outbox: O,
}

impl<T, O> Bus<T, O> {
    /// Sends a query to its handler and returns the answer.
    #[inline]
    pub fn send<Q: Query>(&self, query: Q) -> Q::Response
    where
        Self: SendQuery<Q>,
    {
        SendQuery::send(self, query)
    }

    /// Has a command carried out by its handler, and returns `()` or the handler's `Result`.
    #[inline]
    pub fn execute<C: Command>(&self, command: C) -> C::Output
    where
        Self: ExecuteCommand<C>,
    {
        ExecuteCommand::execute(self, command)
    }

    /// Publishes an event to all its subscribers, in registration order.
    ///
    /// # Errors
    /// When the event's output is a `Result`: the failures of those that failed, after all ran.
    #[inline]
    pub fn publish<E: Event>(&self, event: &E) -> <E::Output as EventOutput>::Published
    where
        Self: PublishEvent<E>,
    {
        PublishEvent::publish(self, event)
    }
}

impl<T, O, Q: Query> SendQuery<Q> for Bus<T, O>
where
    T: Find<Q::Key>,
    T::Found: Respond<Q, Self>,
{
    #[inline]
    fn send(&self, query: Q) -> Q::Response {
        self.table.find().respond(query, self)
    }
}
impl<T, O, C: Command> ExecuteCommand<C> for Bus<T, O>
where
    T: Find<C::Key>,
    T::Found: Carry<C, Self>,
{
    #[inline]
    fn execute(&self, command: C) -> C::Output {
        self.table.find().carry(command, self)
    }
}
impl<T, O, E: Event> PublishEvent<E> for Bus<T, O>
where
    T: Find<E::Key>,
    T::Found: Publish<E, Self>,
{
    #[inline]
    fn publish(&self, event: &E) -> <E::Output as EventOutput>::Published {
        self.table.find().publish(event, self)
    }
}
