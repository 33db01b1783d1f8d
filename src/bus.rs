//! The frozen bus.

use crate::dispatch::{ExecuteCommand, PublishEvent, SendQuery};
use crate::handler::{CommandHandler, QueryHandler};
use crate::message::{Command, Event, EventOutput, Query};
use crate::table::{
    At, Find, First, Found, HasCommandHandler, HasQueryHandler, Publish, Subscribers, Tail, Wired,
};
use crate::wiring::Registrations;
#[cfg(feature = "alloc")]
use crate::wiring::Wiring;
use core::fmt;

/// The frozen bus. Each call to it is a direct call of its handlers.
///
/// Made by [`BusBuilder::build`](crate::builder::BusBuilder::build); [`BusOf`](crate::builder::BusOf)
/// names its type. There is no need to write its parameters: `T` is the table of handlers, `O` the
/// mailbox.
///
/// The size of a bus is the sum of its handlers' sizes, and zero if they are stateless. It is `Clone`,
/// `Send` and `Sync` if all handlers are, and may borrow what they borrow. `Debug` prints a flat list
/// of registrations.
///
/// ```
/// use static_bus::prelude::*;
///
/// struct GetUser { id: u32 }
/// query!(GetUser -> Option<&'static str>);
///
/// let bus = BusBuilder::new()
///     .register_query_fn(|query: GetUser| (query.id == 7).then_some("Ada"))
///     .build();
/// assert_eq!(bus.send::<GetUser>(GetUser { id: 7 }), Some("Ada"));
/// ```
#[derive(Clone)]
pub struct Bus<T, O = NoMailbox> {
    pub(crate) table: T,
    #[cfg_attr(
        not(feature = "alloc"),
        expect(dead_code, reason = "a mailbox needs `alloc`")
    )]
    pub(crate) mailbox: O,
}

/// The mailbox of a bus without one: no message can be posted.
#[derive(Debug, Clone, Copy)]
pub struct NoMailbox;

impl<T, O> Bus<T, O> {
    /// Sends a query to its handler and returns the answer.
    ///
    /// The handler runs on the caller's stack. If it panics, the panic unwinds to the caller, and the
    /// bus is unchanged.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Parse(&'static str);
    /// query!(Parse -> Result<u32, std::num::ParseIntError>);
    /// let bus = BusBuilder::new().register_query_fn(|query: Parse| query.0.parse()).build();
    /// assert_eq!(bus.send::<Parse>(Parse("7")), Ok(7));
    /// assert!(bus.send::<Parse>(Parse("seven")).is_err());
    /// ```
    #[inline]
    pub fn send<Q: Query>(&self, query: Q) -> Q::Response
    where
        Self: SendQuery<Q>,
    {
        SendQuery::send(self, query)
    }

    /// Executes a command: runs its handler and returns the output.
    ///
    /// # Errors
    /// The handler's own error, if the command's output is a `Result`.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Withdraw(u32);
    /// command!(Withdraw -> Result<(), &'static str>);
    /// let bus = BusBuilder::new()
    ///     .register_command_fn(|command: Withdraw| if command.0 > 100 { Err("too much") } else { Ok(()) })
    ///     .build();
    /// assert_eq!(bus.execute(Withdraw(100)), Ok(()));
    /// assert_eq!(bus.execute(Withdraw(101)), Err("too much"));
    /// ```
    #[inline]
    pub fn execute<C: Command>(&self, command: C) -> C::Output
    where
        Self: ExecuteCommand<C>,
    {
        ExecuteCommand::execute(self, command)
    }

    /// Publishes an event to all its subscribers, in registration order. An event may have none.
    ///
    /// # Errors
    /// A [`PublishError`](crate::message::PublishError) with each failure, if the event's output is a
    /// `Result`. It is returned after every subscriber has run.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct OrderPlaced;
    /// event!(OrderPlaced -> Result<(), &'static str>);
    /// let bus = BusBuilder::new()
    ///     .subscribe_fn(|_: &OrderPlaced| Ok(()))
    ///     .subscribe_fn(|_: &OrderPlaced| Err("mail server is down"))
    ///     .build();
    /// let error = bus.publish(&OrderPlaced).unwrap_err();
    /// assert_eq!(error.failures()[0].position, 1);
    /// assert_eq!(error.failures()[0].error, "mail server is down");
    /// ```
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
    T: At<First<Q>>,
    T::Slot: Find<Tail<Q>>,
    Found<T, Q>: HasQueryHandler<Q>,
    <Found<T, Q> as HasQueryHandler<Q>>::Handler: QueryHandler<Q, Self>,
{
    #[inline]
    fn send(&self, query: Q) -> Q::Response {
        self.table.at().find().handler().handle(query, self)
    }
}
impl<T, O, C: Command> ExecuteCommand<C> for Bus<T, O>
where
    T: At<First<C>>,
    T::Slot: Find<Tail<C>>,
    Found<T, C>: HasCommandHandler<C>,
    <Found<T, C> as HasCommandHandler<C>>::Handler: CommandHandler<C, Self>,
{
    #[inline]
    fn execute(&self, command: C) -> C::Output {
        self.table.at().find().handler().handle(command, self)
    }
}
impl<T, O, E: Event> PublishEvent<E> for Bus<T, O>
where
    T: At<First<E>>,
    T::Slot: Find<Tail<E>>,
    Found<T, E>: Publish<E>,
    <Found<T, E> as Publish<E>>::Subscribers: Subscribers<E, Self>,
{
    #[inline]
    fn publish(&self, event: &E) -> <E::Output as EventOutput>::Published {
        let mut log = Default::default();
        let subscribers = self.table.at().find().subscribers();
        let count = subscribers.deliver(event, self, &mut log, 0);
        E::Output::finish(log, count, E::NAME)
    }
}

impl<T: Wired<Self>, O: Wired<Self>> Wired<Self> for Bus<T, O> {}
impl<B> Wired<B> for NoMailbox {}

#[cfg(feature = "alloc")]
impl<T: Registrations, O> Bus<T, O> {
    /// Lists all registrations.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Ping;
    /// query!(Ping -> u8, name = "net.ping");
    /// fn pong(_: Ping) -> u8 { 1 }
    /// let bus = BusBuilder::new().register_query_fn(pong).build();
    /// assert_eq!(bus.wiring().registrations().len(), 1);
    /// ```
    pub fn wiring(&self) -> Wiring {
        Wiring::of::<T>()
    }
}

/// A flat list of registrations, in the order of the table.
impl<T: Registrations, O> fmt::Debug for Bus<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bus ")?;
        let mut list = f.debug_list();
        T::each(&mut |registration| {
            list.entry(&registration);
        });
        list.finish()
    }
}
