//! Wiring: the builder, modules, and the entries that modules are made of.

use crate::bus::{Bus, NoOutbox};
use crate::handler::Function;
use crate::key::InBucket;
use crate::message::{Command, Event, Message, Query};
#[cfg(feature = "alloc")]
use crate::outbox::Outbox;
use crate::table::{Collect, EMPTY, Insert, Merge, Part, Root, Topic, Wired};
use core::marker::PhantomData;
use frunk::{HCons, HNil};

macro_rules! entries {
    ($($(#[$doc:meta])* $entry:ident $make:ident)*) => { $(
        $(#[$doc])*
        pub struct $entry<M, H> {
            pub(crate) handler: H,
            message: PhantomData<fn(M)>,
        }
        impl<M, H: Clone> Clone for $entry<M, H> {
            fn clone(&self) -> Self { $make(self.handler.clone()) }
        }
        $(#[$doc])*
        #[inline]
        pub const fn $make<M, H>(handler: H) -> $entry<M, H> {
            $entry { handler, message: PhantomData }
        }
    )* };
}
entries! {
    /// A module's entry: `handler` answers query `M`.
    OnQuery on_query
    /// A module's entry: `handler` carries out command `M`.
    OnCommand on_command
    /// A module's entry: `handler` subscribes to event `M`.
    OnEvent on_event
}

/// A group of handlers that is mounted whole: an HList, or a type that makes one.
pub trait Module {
    /// An HList of [`OnQuery`], [`OnCommand`] and [`OnEvent`].
    type Handlers;
    /// Gives up the handlers.
    fn handlers(self) -> Self::Handlers;
}
impl Module for HNil {
    type Handlers = HNil;
    fn handlers(self) -> HNil {
        self
    }
}
impl<E, T> Module for HCons<E, T> {
    type Handlers = Self;
    fn handlers(self) -> Self {
        self
    }
}

/// The type of the bus built from an HList of entries, so that it can be stored.
pub type BusOf<Handlers, Outbox = NoOutbox> = Bus<<Handlers as Collect<Root>>::Out, Outbox>;

/// Collects handlers in its type; [`build`](BusBuilder::build) freezes them. Nobody needs to write
/// its parameters.
#[must_use]
pub struct BusBuilder<T = Root, O = NoOutbox> {
    table: T,
    outbox: O,
}

impl BusBuilder {
    /// An empty bus.
    pub const fn new() -> Self {
        BusBuilder {
            table: EMPTY,
            outbox: NoOutbox,
        }
    }
}
impl Default for BusBuilder {
    fn default() -> Self {
        Self::new()
    }
}

type With<T, M, E> = <T as Insert<<M as Message>::Key, E>>::Out;

impl<T, O> BusBuilder<T, O> {
    #[inline]
    fn with<M: Message, E>(self, entry: E) -> BusBuilder<With<T, M, E>, O>
    where
        T: Insert<M::Key, E>,
    {
        BusBuilder {
            table: self.table.insert(entry),
            outbox: self.outbox,
        }
    }

    /// Registers the one handler of query `Q`. A second one does not compile.
    #[inline]
    pub fn register_query<Q: Query, H>(self, handler: H) -> BusBuilder<With<T, Q, OnQuery<Q, H>>, O>
    where
        T: Insert<Q::Key, OnQuery<Q, H>>,
    {
        self.with::<Q, _>(on_query(handler))
    }

    /// Registers a function as the one handler of query `Q`.
    #[inline]
    pub fn register_query_fn<Q: Query, F: Fn(Q) -> Q::Response>(
        self,
        function: F,
    ) -> BusBuilder<With<T, Q, OnQuery<Q, Function<F>>>, O>
    where
        T: Insert<Q::Key, OnQuery<Q, Function<F>>>,
    {
        self.with::<Q, _>(on_query(Function(function)))
    }

    /// Registers the one handler of command `C`. A second one does not compile.
    #[inline]
    pub fn register_command<C: Command, H>(
        self,
        handler: H,
    ) -> BusBuilder<With<T, C, OnCommand<C, H>>, O>
    where
        T: Insert<C::Key, OnCommand<C, H>>,
    {
        self.with::<C, _>(on_command(handler))
    }

    /// Registers a function as the one handler of command `C`.
    #[inline]
    pub fn register_command_fn<C: Command, F: Fn(C) -> C::Output>(
        self,
        function: F,
    ) -> BusBuilder<With<T, C, OnCommand<C, Function<F>>>, O>
    where
        T: Insert<C::Key, OnCommand<C, Function<F>>>,
    {
        self.with::<C, _>(on_command(Function(function)))
    }

    /// Adds a subscriber of event `E`, after those that are there.
    #[inline]
    pub fn subscribe<E: Event, H>(
        self,
        handler: H,
    ) -> BusBuilder<With<T, E, <OnEvent<E, H> as Part>::Entry>, O>
    where
        E::Key: InBucket,
        T: Insert<E::Key, Topic<E, HCons<H, HNil>>>,
    {
        self.with::<E, _>(on_event(handler).entry())
    }

    /// Adds a function as a subscriber of event `E`.
    #[inline]
    pub fn subscribe_fn<E: Event, F: Fn(&E) -> E::Output>(
        self,
        function: F,
    ) -> BusBuilder<With<T, E, Topic<E, HCons<Function<F>, HNil>>>, O>
    where
        E::Key: InBucket,
        T: Insert<E::Key, Topic<E, HCons<Function<F>, HNil>>>,
    {
        self.with::<E, _>(on_event(Function(function)).entry())
    }

    /// Adds all handlers of a module, in order.
    #[inline]
    pub fn mount<M: Module>(
        self,
        module: M,
    ) -> BusBuilder<<T as Merge<<M::Handlers as Collect<Root>>::Out>>::Out, O>
    where
        M::Handlers: Collect<Root>,
        T: Merge<<M::Handlers as Collect<Root>>::Out>,
    {
        let table = self.table.merge(module.handlers().collect(EMPTY));
        BusBuilder {
            table,
            outbox: self.outbox,
        }
    }

    /// Freezes the bus. Every handler's needs are checked here.
    #[inline]
    pub fn build(self) -> Bus<T, O>
    where
        T: Wired<Bus<T, O>>,
        O: Wired<Bus<T, O>>,
    {
        Bus {
            table: self.table,
            outbox: self.outbox,
        }
    }
}

#[cfg(feature = "alloc")]
impl<T> BusBuilder<T> {
    /// Adds an outbox for the messages of `C` (see [`outbox!`](crate::outbox!)). Posting does not
    /// allocate while no more than `capacity` messages are queued.
    pub fn outbox<C>(self, capacity: usize) -> BusBuilder<T, Outbox<C>> {
        BusBuilder {
            table: self.table,
            outbox: Outbox::with_capacity(capacity),
        }
    }
}

#[cfg(feature = "alloc")]
impl<T, C> BusBuilder<T, Outbox<C>> {
    /// How many messages one `settle` delivers before it gives up: 1,000,000 unless set.
    pub fn cascade_limit(mut self, limit: usize) -> Self {
        self.outbox.limit = limit;
        self
    }
}
