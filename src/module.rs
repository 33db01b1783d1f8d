//! Modules: groups of handlers that are mounted together.
//!
//! A module is a struct that [`module!`](crate::module!) declares next to the services it registers, or an
//! `HList` of entries and modules:
//!
//! ```
//! mod users {
//!     use static_bus::prelude::*;
//!
//!     pub struct GetName(pub u32);
//!     query!(GetName -> Option<&'static str>);
//!
//!     #[derive(Default)]
//!     pub struct Users;
//!     impl<B> QueryHandler<GetName, B> for Users {
//!         fn handle(&self, query: GetName, _bus: &B) -> Option<&'static str> {
//!             (query.0 == 7).then_some("Ada")
//!         }
//!     }
//!
//!     module! {
//!         #[derive(Default)]
//!         pub struct Module {
//!             users: Users => [query GetName],
//!         }
//!     }
//! }
//!
//! use static_bus::prelude::*;
//! # fn main() {
//! let bus = BusBuilder::new().mount(users::Module::default()).build();
//! assert_eq!(bus.send::<users::GetName>(users::GetName(7)), Some("Ada"));
//! # }
//! ```

mod declare;
mod mount;

pub(crate) use mount::Mounted;
#[doc(hidden)]
pub use mount::{FromHandler, Mount};

use crate::handler::Function;
use crate::layer::{Layer, Layered};
use crate::message::{Command, Event, Query};
use crate::table::{CommandEntry, QueryEntry, SingleSubscriber};
use core::marker::PhantomData;

/// A group of handlers that is mounted at once: an `HList` of entries and modules, or a type that returns
/// one.
///
/// [`module!`](crate::module!) declares such a type. An impl by hand serves where its syntax does not:
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
/// struct Arithmetic;
/// impl Module for Arithmetic {
///     type Handlers = HList![OnQuery<Double, Doubler>];
///     fn handlers(self) -> Self::Handlers {
///         hlist![on_query(Doubler)]
///     }
/// }
///
/// let bus = BusBuilder::new().mount(Arithmetic).build();
/// assert_eq!(bus.send::<Double>(Double(21)), 42);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a module",
    label = "neither a module nor an entry of one",
    note = "a handler needs its messages: `handler: {Self} => [query Q]` in `module!`, `on_query::<Q, _>(handler)` in an `hlist![…]`"
)]
pub trait Module {
    /// An `HList` of [`OnQuery`], [`OnCommand`], [`OnEvent`] and other modules.
    type Handlers;
    /// Returns the handlers, and consumes the module.
    fn handlers(self) -> Self::Handlers;

    /// Puts a [layer](mod@crate::layer) around each handler of the module. The one added last is the outermost.
    fn layer<L: Layer>(self, layer: L) -> Layered<Self, L>
    where
        Self: Sized,
    {
        Layered {
            module: self,
            layer,
        }
    }
}

/// Defines an entry of modules, the function that makes one, and its place in the table.
macro_rules! entries {
    ($($(#[$type_doc:meta])* $entry:ident: $Kind:ident => $InTable:ident::$new:ident, $(#[$make_doc:meta])* $make:ident;)*) => { $(
        $(#[$type_doc])*
        pub struct $entry<M, H> {
            handler: H,
            message: PhantomData<fn(M)>,
        }
        impl<M, H: Clone> Clone for $entry<M, H> {
            fn clone(&self) -> Self {
                $make(self.handler.clone())
            }
        }
        $(#[$make_doc])*
        #[inline]
        pub const fn $make<M, H>(handler: H) -> $entry<M, H> {
            $entry { handler, message: PhantomData }
        }
        impl<M, H> $crate::module::Module for $entry<M, H> {
            type Handlers = Self;
            #[inline]
            fn handlers(self) -> Self {
                self
            }
        }
        impl<M, H> $crate::module::FromHandler<H> for $entry<M, H> {
            #[inline]
            fn from_handler(handler: H) -> Self {
                $make(handler)
            }
        }
        impl<M: $Kind, H, Table> $crate::module::Mount<Table> for $entry<M, H>
        where
            M::NameKey: $crate::table::InsertInto<Table, $InTable<M, H>>,
        {
            type Out = <M::NameKey as $crate::table::InsertInto<Table, $InTable<M, H>>>::Out;
            #[inline]
            fn mount(self, table: Table) -> Self::Out {
                <M::NameKey as $crate::table::InsertInto<_, _>>::insert(table, $InTable::$new(self.handler))
            }
        }
    )* };
}
#[cfg(feature = "async")]
pub(crate) use entries;

entries! {
    /// A module's entry: `H` answers query `M`. Made by [`on_query`].
    OnQuery: Query => QueryEntry::new,
    /// A module's entry: `handler` answers query `M`.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Ping;
    /// query!(Ping -> u8);
    /// struct Pong;
    /// impl<B> QueryHandler<Ping, B> for Pong {
    ///     fn handle(&self, _: Ping, _bus: &B) -> u8 { 1 }
    /// }
    /// let bus = BusBuilder::new().mount(hlist![on_query::<Ping, _>(Pong)]).build();
    /// assert_eq!(bus.send::<Ping>(Ping), 1);
    /// ```
    on_query;
    /// A module's entry: `H` handles command `M`. Made by [`on_command`].
    OnCommand: Command => CommandEntry::new,
    /// A module's entry: `handler` handles command `M`.
    ///
    /// ```
    /// use static_bus::prelude::*;
    /// struct Stop;
    /// command!(Stop -> Result<(), &'static str>);
    /// struct Engine;
    /// impl<B> CommandHandler<Stop, B> for Engine {
    ///     fn handle(&self, _: Stop, _bus: &B) -> Result<(), &'static str> { Err("it stands") }
    /// }
    /// let bus = BusBuilder::new().mount(hlist![on_command::<Stop, _>(Engine)]).build();
    /// assert_eq!(bus.execute(Stop), Err("it stands"));
    /// ```
    on_command;
    /// A module's entry: `H` subscribes to event `M`. Made by [`on_event`].
    OnEvent: Event => SingleSubscriber::of,
    /// A module's entry: `handler` subscribes to event `M`.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use static_bus::prelude::*;
    /// struct Clicked;
    /// event!(Clicked);
    /// #[derive(Default)]
    /// struct Clicks(Cell<u32>);
    /// impl<B> EventHandler<Clicked, B> for Clicks {
    ///     fn handle(&self, _: &Clicked, _bus: &B) { self.0.set(self.0.get() + 1) }
    /// }
    /// let clicks = Clicks::default();
    /// let bus = BusBuilder::new().mount(hlist![on_event::<Clicked, _>(&clicks)]).build();
    /// bus.publish(&Clicked);
    /// assert_eq!(clicks.0.get(), 1);
    /// ```
    on_event;
}

/// A module's entry: a function or closure answers query `Q`.
///
/// ```
/// use static_bus::prelude::*;
/// struct Double(u32);
/// query!(Double -> u32);
/// let arithmetic = hlist![on_query_fn(|query: Double| query.0 * 2)];
/// let bus = BusBuilder::new().mount(arithmetic).build();
/// assert_eq!(bus.send::<Double>(Double(21)), 42);
/// ```
#[inline]
pub const fn on_query_fn<Q: Query, F: Fn(Q) -> Q::Response>(
    function: F,
) -> OnQuery<Q, Function<F>> {
    on_query(Function(function))
}

/// A module's entry: a function or closure handles command `C`.
///
/// ```
/// use std::cell::Cell;
/// use static_bus::prelude::*;
/// struct Deposit(u32);
/// command!(Deposit);
/// let balance = Cell::new(0);
/// let account = hlist![on_command_fn(|command: Deposit| balance.set(balance.get() + command.0))];
/// BusBuilder::new().mount(account).build().execute(Deposit(5));
/// assert_eq!(balance.get(), 5);
/// ```
#[inline]
pub const fn on_command_fn<C: Command, F: Fn(C) -> C::Output>(
    function: F,
) -> OnCommand<C, Function<F>> {
    on_command(Function(function))
}

/// A module's entry: a function or closure subscribes to event `E`.
///
/// ```
/// use std::cell::Cell;
/// use static_bus::prelude::*;
/// struct Clicked;
/// event!(Clicked);
/// let clicks = Cell::new(0);
/// let counter = hlist![on_event_fn(|_: &Clicked| clicks.set(clicks.get() + 1))];
/// BusBuilder::new().mount(counter).build().publish(&Clicked);
/// assert_eq!(clicks.get(), 1);
/// ```
#[inline]
pub const fn on_event_fn<E: Event, F: Fn(&E) -> E::Output>(function: F) -> OnEvent<E, Function<F>> {
    on_event(Function(function))
}
