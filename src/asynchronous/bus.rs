//! The asynchronous calls of the frozen bus.

use super::entry::{Answer, HasAsyncCommandHandler, HasAsyncQueryHandler, Perform};
use super::event::{Deliver, PublishAsync};
use super::subscribers::Call;
use super::{AsyncExecuteCommand, AsyncPublishEvent, AsyncSendQuery, BusError};
use crate::bus::Bus;
use crate::message::{Command, Event, Query};
use crate::table::{At, Find, First, Found, Tail};

impl<T, O> Bus<T, O> {
    /// Sends a query to its handler, asynchronous or not, and returns the answer.
    ///
    /// The future is the handler's own: nothing is boxed, and a nested call is part of its caller's
    /// future. It is `Send`. Dropping it cancels the handler at its current `.await`. A synchronous handler
    /// runs when the future is first polled.
    ///
    /// The message must not borrow (`Q: 'static`), and every handler on the bus must be `Sync`. A bus with
    /// a mailbox is not `Sync` and does not offer asynchronous calls.
    ///
    /// # Errors
    /// The error of the handler, or of a nested call.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Double(u32);
    /// query!(Double -> u32);
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let bus = BusBuilder::new()
    ///     .register_query_async_fn(|query: Double| async move { Ok(query.0 * 2) })
    ///     .build();
    /// assert_eq!(bus.send_async(Double(21)).await.unwrap(), 42);
    /// # }
    /// ```
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

    /// Executes a command: runs its handler, asynchronous or not. `Ok` means that the handler succeeded.
    ///
    /// The future is the handler's own, as with [`send_async`](Bus::send_async).
    ///
    /// # Errors
    /// The error of an asynchronous handler. The `Err` of a synchronous handler becomes
    /// [`BusError::Rejected`] with that error as its source; it must be an
    /// [`Error`](core::error::Error) that is `Send` and `Sync`, a `String` or a `&'static str`.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Withdraw(u32);
    /// command!(Withdraw -> Result<(), &'static str>, name = "bank.withdraw");
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let bus = BusBuilder::new().register_command_fn(|_: Withdraw| Err("too much")).build();
    /// let error = bus.execute_async(Withdraw(101)).await.unwrap_err();
    /// assert_eq!(error.to_string(), "bank.withdraw: its handler failed: too much");
    /// # }
    /// ```
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

    /// Publishes an event to all its subscribers, asynchronous or not, and waits for all of them. They
    /// start in registration order and run concurrently. An event may have no subscribers.
    ///
    /// All subscribers run within one future, so they are concurrent but not parallel. Dropping it cancels
    /// those that have not finished.
    ///
    /// # Errors
    /// [`BusError::Rejected`], whose source is a
    /// [`PublishError`](crate::message::PublishError) with each failure in registration order.
    /// It is retryable if at least one of the failures is.
    ///
    /// ```
    /// use static_bus::{asynchronous::BusError, message::PublishError, prelude::*};
    /// struct OrderPlaced;
    /// event!(OrderPlaced);
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let bus = BusBuilder::new()
    ///     .subscribe_fn(|_: &OrderPlaced| ())
    ///     .subscribe_async_fn(|_: &OrderPlaced| async {
    ///         Err(BusError::rejected::<OrderPlaced>("mail server is down"))
    ///     })
    ///     .build();
    /// let error = bus.publish_async(&OrderPlaced).await.unwrap_err();
    /// let BusError::Rejected { source, .. } = error else { panic!() };
    /// let failures = source.downcast::<PublishError<BusError>>().unwrap().into_failures();
    /// assert_eq!(failures[0].position, 1);
    /// # }
    /// ```
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
    Found<T, Q>: HasAsyncQueryHandler<Q>,
    <Found<T, Q> as HasAsyncQueryHandler<Q>>::Mode:
        Answer<Q, <Found<T, Q> as HasAsyncQueryHandler<Q>>::Handler, Self>,
    Self: Sync,
{
    #[inline]
    fn send_async(&self, query: Q) -> impl Future<Output = Result<Q::Response, BusError>> + Send {
        let handler = self.table.at().find().handler();
        <Found<T, Q> as HasAsyncQueryHandler<Q>>::Mode::answer(handler, query, self)
    }
}
impl<T, O, C: Command + 'static> AsyncExecuteCommand<C> for Bus<T, O>
where
    T: At<First<C>>,
    T::Slot: Find<Tail<C>>,
    Found<T, C>: HasAsyncCommandHandler<C>,
    <Found<T, C> as HasAsyncCommandHandler<C>>::Mode:
        Perform<C, <Found<T, C> as HasAsyncCommandHandler<C>>::Handler, Self>,
    Self: Sync,
{
    #[inline]
    fn execute_async(&self, command: C) -> impl Future<Output = Result<(), BusError>> + Send {
        let handler = self.table.at().find().handler();
        <Found<T, C> as HasAsyncCommandHandler<C>>::Mode::perform(handler, command, self)
    }
}
impl<T, O, E: Event + Sync> AsyncPublishEvent<E> for Bus<T, O>
where
    T: At<First<E>>,
    T::Slot: Find<Tail<E>>,
    Found<T, E>: PublishAsync<E>,
    <Found<T, E> as PublishAsync<E>>::Mode:
        Deliver<E, <Found<T, E> as PublishAsync<E>>::Subscribers, Self>,
    Self: Sync,
{
    #[inline]
    fn publish_async(&self, event: &E) -> impl Future<Output = Result<(), BusError>> + Send {
        let call = Call { event, bus: self };
        async move {
            let subscribers = call.bus.table.at().find().subscribers();
            let heard = <Found<T, E> as PublishAsync<E>>::Mode::deliver(subscribers, &call).await;
            <Found<T, E> as PublishAsync<E>>::Mode::result(heard)
        }
    }
}
