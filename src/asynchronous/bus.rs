//! The frozen bus, asked asynchronously.

use super::topic::{AsyncSubscribers, PublishAsync};
use super::wire::{Answer, CarryOutAsync, Perform, RespondAsync};
use super::{AsyncExecuteCommand, AsyncPublishEvent, AsyncSendQuery, BusError};
use crate::bus::Bus;
use crate::message::{Command, Event, EventOutput, Failure, Message, PublishError, Query};
use crate::table::{At, Find, First, Found, Tail};
use alloc::{boxed::Box, vec::Vec};

impl<T, O> Bus<T, O> {
    /// Sends a query to its handler.
    #[inline]
    pub fn send_async<Q: Query>(
        &self,
        query: Q,
    ) -> impl Future<Output = Result<Q::Response, BusError>> + Send
    where
        Self: AsyncSendQuery<Q>,
    {
        AsyncSendQuery::send_async(self, query)
    }

    /// Has a command carried out by its handler.
    #[inline]
    pub fn execute_async<C: Command>(
        &self,
        command: C,
    ) -> impl Future<Output = Result<(), BusError>> + Send
    where
        Self: AsyncExecuteCommand<C>,
    {
        AsyncExecuteCommand::execute_async(self, command)
    }

    /// Publishes an event to all its subscribers.
    #[inline]
    pub fn publish_async<E: Event>(
        &self,
        event: &E,
    ) -> impl Future<Output = Result<(), BusError>> + Send
    where
        Self: AsyncPublishEvent<E>,
    {
        AsyncPublishEvent::publish_async(self, event)
    }
}

impl<T, O, Q: Query + 'static> AsyncSendQuery<Q> for Bus<T, O>
where
    T: At<First<Q>>,
    T::Slot: Find<Tail<Q>>,
    Found<T, Q>: RespondAsync<Q>,
    <Found<T, Q> as RespondAsync<Q>>::Mode:
        Answer<Q, <Found<T, Q> as RespondAsync<Q>>::Handler, Self>,
    Self: Sync,
{
    #[inline]
    fn send_async(&self, query: Q) -> impl Future<Output = Result<Q::Response, BusError>> + Send {
        let handler = self.table.at().find().handler();
        <Found<T, Q> as RespondAsync<Q>>::Mode::answer(handler, query, self)
    }
}
impl<T, O, C: Command + 'static> AsyncExecuteCommand<C> for Bus<T, O>
where
    T: At<First<C>>,
    T::Slot: Find<Tail<C>>,
    Found<T, C>: CarryOutAsync<C>,
    <Found<T, C> as CarryOutAsync<C>>::Mode:
        Perform<C, <Found<T, C> as CarryOutAsync<C>>::Handler, Self>,
    Self: Sync,
{
    #[inline]
    fn execute_async(&self, command: C) -> impl Future<Output = Result<(), BusError>> + Send {
        let handler = self.table.at().find().handler();
        <Found<T, C> as CarryOutAsync<C>>::Mode::perform(handler, command, self)
    }
}
impl<T, O, E: Event + Sync> AsyncPublishEvent<E> for Bus<T, O>
where
    T: At<First<E>>,
    T::Slot: Find<Tail<E>>,
    Found<T, E>: PublishAsync<E>,
    <Found<T, E> as PublishAsync<E>>::Subscribers: AsyncSubscribers<E, Self> + Sync,
    Self: Sync,
{
    #[inline]
    async fn publish_async(&self, event: &E) -> Result<(), BusError> {
        let subscribers = self.table.at().find().subscribers();
        let (count, failures) = subscribers.deliver(event, self).await;
        finish::<E>(failures, count)
    }
}

/// All failures as one.
fn finish<E: Message>(
    failures: Vec<Failure<BusError>>,
    subscribers: usize,
) -> Result<(), BusError> {
    let retryable = failures.iter().any(|failure| failure.error.is_retryable());
    let published: Result<(), PublishError<BusError>> =
        <Result<(), BusError>>::finish(failures, subscribers, E::NAME);
    published.map_err(|error| BusError::Rejected {
        message: E::NAME,
        source: Box::new(error),
        retryable,
    })
}
