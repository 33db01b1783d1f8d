//! Wiring: the builder that collects handlers in its type.

mod any_bus;

#[doc(hidden)]
pub use any_bus::AnyBus;

use crate::bus::{Bus, NoMailbox};
use crate::handler::{CommandHandler, EventHandler, Function, QueryHandler};
use crate::layer::Layer;
#[cfg(feature = "alloc")]
use crate::mailbox::Mailbox;
use crate::message::{Command, Event, Message, Query};
use crate::module::{Module, Mount, Mounted};
use crate::table::{
    CommandEntry, Fit, InsertInto, QueryEntry, ROOT, Root, SingleSubscriber, Wired, Wrap,
};

/// The type of the bus built from module `M`, so that it can be stored in a struct or a static.
///
/// `M` is a struct of [`module!`](crate::module!), or an `HList` of entries and modules.
/// [`build_as`](BusBuilder::build_as) makes a bus of this type, from modules or from a chain of registrations.
/// A bus with a mailbox is `BusOf<M, Mailbox<Cascade>>`.
///
/// ```
/// use static_bus::prelude::*;
///
/// struct Double(u32);
/// query!(Double -> u32);
///
/// struct Doubler;
/// impl<B> QueryHandler<Double, B> for Doubler {
///     fn handle(&self, query: Double, _bus: &B) -> u32 {
///         query.0 * 2
///     }
/// }
///
/// struct App {
///     bus: BusOf<HList![OnQuery<Double, Doubler>]>,
/// }
///
/// let app = App { bus: BusBuilder::new().register_query(Doubler).build_as() };
/// assert_eq!(app.bus.send::<Double>(Double(21)), 42);
/// ```
pub type BusOf<M, Mailbox = NoMailbox> = Bus<Mounted<M, Root>, Mailbox>;

/// Collects handlers in its type; [`build`](BusBuilder::build) freezes them into a [`Bus`].
///
/// There is no need to write its parameters: `T` is the table of handlers, `O` the mailbox.
///
/// ```
/// use std::cell::Cell;
/// use static_bus::prelude::*;
///
/// struct Add(u32, u32);
/// query!(Add -> u32);
/// struct Reset;
/// command!(Reset);
/// struct Added(u32);
/// event!(Added);
///
/// let total = Cell::new(0);
/// let bus = BusBuilder::new()
///     .register_query_fn(|query: Add| query.0 + query.1)
///     .register_command_fn(|_: Reset| total.set(0))
///     .subscribe_fn(|event: &Added| total.set(total.get() + event.0))
///     .build();
///
/// let sum = bus.send::<Add>(Add(2, 3));
/// bus.publish(&Added(sum));
/// assert_eq!(total.get(), 5);
/// bus.execute(Reset);
/// assert_eq!(total.get(), 0);
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct BusBuilder<T = Root, O = NoMailbox> {
    table: T,
    mailbox: O,
}

impl BusBuilder {
    /// A builder without handlers.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// let bus = BusBuilder::new().build();
    /// assert_eq!(format!("{bus:?}"), "Bus []");
    /// ```
    pub const fn new() -> Self {
        BusBuilder {
            table: ROOT,
            mailbox: NoMailbox,
        }
    }
}
impl Default for BusBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// Table `T` after the insertion of entry `W` of message `M`.
pub(crate) type With<T, M, W> = <<M as Message>::NameKey as InsertInto<T, W>>::Out;

impl<T, O> BusBuilder<T, O> {
    /// Registers the one handler of query `Q`. A second one does not compile.
    ///
    /// If `H` handles one query, the compiler infers `Q`: `register_query(Converter)`.
    ///
    /// The handler's bounds on the bus are checked by [`build`](BusBuilder::build), so the order of
    /// registration does not matter.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct GetRate;
    /// query!(GetRate -> f64);
    /// struct Convert(f64);
    /// query!(Convert -> f64);
    ///
    /// struct Converter;
    /// impl<B: SendQuery<GetRate>> QueryHandler<Convert, B> for Converter {
    ///     fn handle(&self, query: Convert, bus: &B) -> f64 {
    ///         query.0 * bus.send(GetRate)
    ///     }
    /// }
    ///
    /// let bus = BusBuilder::new()
    ///     .register_query(Converter)
    ///     .register_query_fn(|_: GetRate| 1.25)
    ///     .build();
    /// assert_eq!(bus.send::<Convert>(Convert(4.0)), 5.0);
    /// ```
    #[inline]
    pub fn register_query<Q: Query, H: QueryHandler<Q, AnyBus>>(
        self,
        handler: H,
    ) -> BusBuilder<With<T, Q, QueryEntry<Q, H>>, O>
    where
        Q::NameKey: InsertInto<T, QueryEntry<Q, H>>,
    {
        self.insert::<Q, _>(QueryEntry::new(handler))
    }

    /// Registers a function or closure as the one handler of query `Q`.
    ///
    /// The function does not receive the bus. For a handler that sends messages of its own, write a type
    /// and use [`register_query`](BusBuilder::register_query).
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Double(u32);
    /// query!(Double -> u32);
    /// let bus = BusBuilder::new().register_query_fn(|query: Double| query.0 * 2).build();
    /// assert_eq!(bus.send::<Double>(Double(21)), 42);
    /// ```
    #[inline]
    pub fn register_query_fn<Q: Query, F: Fn(Q) -> Q::Response>(
        self,
        function: F,
    ) -> BusBuilder<With<T, Q, QueryEntry<Q, Function<F>>>, O>
    where
        Q::NameKey: InsertInto<T, QueryEntry<Q, Function<F>>>,
    {
        self.insert::<Q, _>(QueryEntry::new(Function(function)))
    }

    /// Registers the one handler of command `C`. A second one does not compile.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Withdraw(u32);
    /// command!(Withdraw -> Result<(), &'static str>);
    ///
    /// struct Account { limit: u32 }
    /// impl<B> CommandHandler<Withdraw, B> for Account {
    ///     fn handle(&self, command: Withdraw, _bus: &B) -> Result<(), &'static str> {
    ///         if command.0 <= self.limit { Ok(()) } else { Err("over the limit") }
    ///     }
    /// }
    ///
    /// let bus = BusBuilder::new()
    ///     .register_command::<Withdraw, _>(Account { limit: 100 })
    ///     .build();
    /// assert_eq!(bus.execute(Withdraw(101)), Err("over the limit"));
    /// ```
    #[inline]
    pub fn register_command<C: Command, H: CommandHandler<C, AnyBus>>(
        self,
        handler: H,
    ) -> BusBuilder<With<T, C, CommandEntry<C, H>>, O>
    where
        C::NameKey: InsertInto<T, CommandEntry<C, H>>,
    {
        self.insert::<C, _>(CommandEntry::new(handler))
    }

    /// Registers a function or closure as the one handler of command `C`.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use static_bus::prelude::*;
    /// struct Deposit(u32);
    /// command!(Deposit);
    /// let balance = Cell::new(0);
    /// let bus = BusBuilder::new()
    ///     .register_command_fn(|command: Deposit| balance.set(balance.get() + command.0))
    ///     .build();
    /// bus.execute(Deposit(5));
    /// assert_eq!(balance.get(), 5);
    /// ```
    #[inline]
    pub fn register_command_fn<C: Command, F: Fn(C) -> C::Output>(
        self,
        function: F,
    ) -> BusBuilder<With<T, C, CommandEntry<C, Function<F>>>, O>
    where
        C::NameKey: InsertInto<T, CommandEntry<C, Function<F>>>,
    {
        self.insert::<C, _>(CommandEntry::new(Function(function)))
    }

    /// Adds a subscriber of event `E`. It runs after those registered before it.
    ///
    /// A handler that is subscribed twice runs twice.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use static_bus::prelude::*;
    /// struct Clicked;
    /// event!(Clicked);
    ///
    /// #[derive(Default)]
    /// struct Clicks(Cell<u32>);
    /// impl<B> EventHandler<Clicked, B> for Clicks {
    ///     fn handle(&self, _: &Clicked, _bus: &B) {
    ///         self.0.set(self.0.get() + 1);
    ///     }
    /// }
    ///
    /// let clicks = Clicks::default();
    /// let bus = BusBuilder::new()
    ///     .subscribe::<Clicked, _>(&clicks)
    ///     .subscribe::<Clicked, _>(&clicks)
    ///     .build();
    /// bus.publish(&Clicked);
    /// assert_eq!(clicks.0.get(), 2);
    /// ```
    #[inline]
    pub fn subscribe<E: Event, H: EventHandler<E, AnyBus>>(
        self,
        handler: H,
    ) -> BusBuilder<With<T, E, SingleSubscriber<E, H>>, O>
    where
        E::NameKey: InsertInto<T, SingleSubscriber<E, H>>,
    {
        self.insert::<E, _>(SingleSubscriber::of(handler))
    }

    /// Adds a function or closure as a subscriber of event `E`. It runs after those registered before it.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use static_bus::prelude::*;
    /// struct Renamed(&'static str);
    /// event!(Renamed);
    /// let names = RefCell::new(vec![]);
    /// let bus = BusBuilder::new()
    ///     .subscribe_fn(|event: &Renamed| names.borrow_mut().push(event.0))
    ///     .build();
    /// bus.publish(&Renamed("Ada"));
    /// assert_eq!(*names.borrow(), ["Ada"]);
    /// ```
    #[inline]
    pub fn subscribe_fn<E: Event, F: Fn(&E) -> E::Output>(
        self,
        function: F,
    ) -> BusBuilder<With<T, E, SingleSubscriber<E, Function<F>>>, O>
    where
        E::NameKey: InsertInto<T, SingleSubscriber<E, Function<F>>>,
    {
        self.insert::<E, _>(SingleSubscriber::of(Function(function)))
    }

    /// Adds all handlers of a [module](mod@crate::module), in order.
    ///
    /// A second handler for a query or command does not compile, so a module that handles one can be
    /// mounted only once. Mounting a module takes less compile time than registering its handlers one by
    /// one.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Ping;
    /// query!(Ping -> u8);
    /// struct Pong;
    /// impl<B> QueryHandler<Ping, B> for Pong {
    ///     fn handle(&self, _: Ping, _bus: &B) -> u8 { 1 }
    /// }
    /// fn module() -> HList![OnQuery<Ping, Pong>] {
    ///     hlist![on_query(Pong)]
    /// }
    /// let bus = BusBuilder::new().mount(module()).build();
    /// assert_eq!(bus.send::<Ping>(Ping), 1);
    /// ```
    #[inline]
    pub fn mount<M: Module<Handlers: Mount<T>>>(self, module: M) -> BusBuilder<Mounted<M, T>, O> {
        BusBuilder {
            table: module.handlers().mount(self.table),
            mailbox: self.mailbox,
        }
    }

    /// Puts a [layer](mod@crate::layer) around each handler registered so far. The one added last is the outermost.
    ///
    /// What is registered after it is not within it. On a builder without handlers it does nothing.
    ///
    /// ```
    /// use static_bus::{layer::{AroundQuery, Layer}, prelude::*, wiring::Registration};
    ///
    /// /// Refuses odd numbers, without the handler.
    /// struct Even;
    /// impl Layer for Even {
    ///     type Around = Even;
    ///     fn around(&self, _: Registration) -> Even { Even }
    /// }
    /// impl<B: ?Sized> AroundQuery<Halve, B> for Even {
    ///     fn query(&self, n: Halve, _bus: &B, next: impl Fn(Halve) -> Option<u32>) -> Option<u32> {
    ///         if n.0 % 2 == 0 { next(n) } else { None }
    ///     }
    /// }
    ///
    /// struct Halve(u32);
    /// query!(Halve -> Option<u32>);
    /// let bus = BusBuilder::new().register_query_fn(|n: Halve| Some(n.0 / 2)).layer(Even).build();
    /// assert_eq!(bus.send::<Halve>(Halve(42)), Some(21));
    /// assert_eq!(bus.send::<Halve>(Halve(43)), None);
    /// ```
    pub fn layer<L: Layer>(self, layer: L) -> BusBuilder<T::In<L>, O>
    where
        T: Wrap,
    {
        BusBuilder {
            table: self
                .table
                .wrap(&mut |registration| layer.around(registration)),
            mailbox: self.mailbox,
        }
    }

    /// Freezes the bus, and checks every handler's bounds on it. If a handler needs a message that has no
    /// handler, this does not compile, and the error names both.
    ///
    /// ```compile_fail,E0277
    /// use static_bus::prelude::*;
    /// struct GetRate;
    /// query!(GetRate -> f64);
    /// struct Convert(f64);
    /// query!(Convert -> f64);
    /// struct Converter;
    /// impl<B: SendQuery<GetRate>> QueryHandler<Convert, B> for Converter {
    ///     fn handle(&self, query: Convert, bus: &B) -> f64 {
    ///         query.0 * bus.send(GetRate)
    ///     }
    /// }
    /// // error[E0277]: no handler is registered for query `GetRate`
    /// let bus = BusBuilder::new().register_query::<Convert, _>(Converter).build();
    /// ```
    #[inline]
    pub fn build(self) -> Bus<T, O>
    where
        Bus<T, O>: Wired<Bus<T, O>>,
    {
        Bus {
            table: self.table,
            mailbox: self.mailbox,
        }
    }

    /// Freezes the bus as one whose type is written elsewhere, usually with [`BusOf`], and checks that the two
    /// agree. If they do not, an error names the first message that is missing or too many.
    ///
    /// Different messages may be registered in any order. `build` needs the order of the list.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Double(u32);
    /// query!(Double -> u32);
    /// struct Doubler;
    /// impl<B> QueryHandler<Double, B> for Doubler {
    ///     fn handle(&self, query: Double, _bus: &B) -> u32 { query.0 * 2 }
    /// }
    ///
    /// module! {
    ///     struct Arithmetic {
    ///         doubler: Doubler => [query Double],
    ///     }
    /// }
    /// struct App {
    ///     bus: BusOf<Arithmetic>,
    /// }
    /// let app = App { bus: BusBuilder::new().mount(Arithmetic { doubler: Doubler }).build_as() };
    /// assert_eq!(app.bus.send::<Double>(Double(21)), 42);
    /// ```
    #[inline]
    pub fn build_as<B>(self) -> B
    where
        B: BuiltFrom<T, O> + Wired<B>,
    {
        B::built_from(self)
    }

    #[inline]
    pub(crate) fn insert<M: Message, W>(self, entry: W) -> BusBuilder<With<T, M, W>, O>
    where
        M::NameKey: InsertInto<T, W>,
    {
        BusBuilder {
            table: M::NameKey::insert(self.table, entry),
            mailbox: self.mailbox,
        }
    }
}

/// The type of a bus that has the handlers of table `T` and the mailbox `O`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the bus has another mailbox than its type",
    label = "another mailbox, or none",
    note = "the type of a bus with `.mailbox::<Cascade>(…)` is `BusOf<…, Mailbox<Cascade>>`"
)]
pub trait BuiltFrom<T, O> {
    fn built_from(builder: BusBuilder<T, O>) -> Self;
}
impl<T: Fit<Expected>, O, Expected> BuiltFrom<T, O> for Bus<Expected, O> {
    #[inline]
    fn built_from(builder: BusBuilder<T, O>) -> Self {
        Bus {
            table: builder.table.fit(),
            mailbox: builder.mailbox,
        }
    }
}

#[cfg(feature = "alloc")]
impl<T> BusBuilder<T> {
    /// Adds a [mailbox](mod@crate::mailbox) for the messages of `C`, an enum that
    /// [`mailbox!`](crate::mailbox!) declares.
    ///
    /// Posting does not allocate while no more than `capacity` messages are queued. The capacity is
    /// not a limit: the queue grows when it has to.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Tick;
    /// event!(Tick);
    /// mailbox! { enum Cascade { event Tick } }
    /// let bus = BusBuilder::new().mailbox::<Cascade>(16).build();
    /// bus.post(Tick);
    /// assert_eq!(bus.settle(), Ok(1));
    /// ```
    pub fn mailbox<C>(self, capacity: usize) -> BusBuilder<T, Mailbox<C>> {
        BusBuilder {
            table: self.table,
            mailbox: Mailbox::with_capacity(capacity),
        }
    }
}

#[cfg(feature = "alloc")]
impl<T, C> BusBuilder<T, Mailbox<C>> {
    /// Sets the maximum number of messages that one [`settle`](Bus::settle) delivers. Default:
    /// 1,000,000.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Tick;
    /// event!(Tick);
    /// mailbox! { enum Cascade { event Tick } }
    /// struct Forever;
    /// impl<B: PostMessage<Tick>> EventHandler<Tick, B> for Forever {
    ///     fn handle(&self, _: &Tick, bus: &B) { bus.post(Tick) }
    /// }
    /// let bus = BusBuilder::new()
    ///     .subscribe::<Tick, _>(Forever)
    ///     .mailbox::<Cascade>(16)
    ///     .cascade_limit(100)
    ///     .build();
    /// bus.post(Tick);
    /// assert_eq!(bus.settle().unwrap_err().limit, 100);
    /// ```
    pub fn cascade_limit(mut self, limit: usize) -> Self {
        self.mailbox.limit = limit;
        self
    }
}
