//! The check of what a module needs.
//!
//! `assert_needs!` mounts the module and an entry for each need on one table, and requires that the module's handlers accept
//! [`Listed`], a bus that offers what is in the table and nothing else. No code of it runs.

use crate::dispatch::{ExecuteCommand, PostMessage, PublishEvent, SendQuery};
use crate::handler::{CommandHandler, EventHandler, QueryHandler};
use crate::key::Of;
use crate::message::{Command, Event, EventOutput, Message, Query};
use crate::module::{Module, Mount, Mounted};
use crate::table::{
    At, CommandEntry, EventEntry, Find, First, Found, Handlers1, InsertInto, QueryEntry, Root,
    Tail, Wired,
};
use std::marker::PhantomData;

/// The handler of each message that is listed, which is never called.
pub struct Needed;

impl<Q: Query, B: ?Sized> QueryHandler<Q, B> for Needed {
    fn handle(&self, _: Q, _: &B) -> Q::Response {
        unreachable!("no message is sent")
    }
}
impl<C: Command, B: ?Sized> CommandHandler<C, B> for Needed {
    fn handle(&self, _: C, _: &B) -> C::Output {
        unreachable!("no message is sent")
    }
}
impl<E: Event, B: ?Sized> EventHandler<E, B> for Needed {
    fn handle(&self, _: &E, _: &B) -> E::Output {
        unreachable!("no message is sent")
    }
}

/// A module's entry for a message that is posted.
pub struct Posted<M>(PhantomData<M>);
impl<M> Module for Posted<M> {
    type Handlers = Self;
    fn handlers(self) -> Self {
        self
    }
}
impl<M: Message, Table> Mount<Table> for Posted<M>
where
    M::NameKey: InsertInto<Table, EventEntry<M, Handlers1<Needed>>>,
{
    type Out = <M::NameKey as InsertInto<Table, EventEntry<M, Handlers1<Needed>>>>::Out;
    fn mount(self, table: Table) -> Self::Out {
        M::NameKey::insert(table, EventEntry::new(Handlers1(Needed)))
    }
}

/// A bus that offers the messages in table `T`, and posts those in table `P`.
pub struct Listed<T, P>(PhantomData<fn() -> (T, P)>);

/// Compiles if the module's handlers need the messages of `Sent` and `Posts`, their own, and no others.
pub fn needs<M, Sent, Posts>(_: M)
where
    M: Module<Handlers: Mount<Root>>,
    Sent: Module<Handlers: Mount<Mounted<M, Root>>>,
    Posts: Module<Handlers: Mount<Root>>,
    Mounted<M, Root>: Wired<Listed<Mounted<Sent, Mounted<M, Root>>, Mounted<Posts, Root>>>,
{
}

// ----- what the list offers

/// Declares the lookup of one kind of need in the table, and the impl of its trait for [`Listed`].
macro_rules! listed {
    (
        $Listed:ident: $Need:ident<$M:ident: $Kind:ident> in $($Entry:ident),+;
        $table:ident; $verb:literal; $($method:tt)+
    ) => {
        /// A result of a lookup that is an entry.
        #[diagnostic::on_unimplemented(
            message = $verb,
            label = "a need that is not listed",
            note = "add it to the list of `assert_needs!`, or remove the bound from the handler"
        )]
        pub trait $Listed<M> {}
        $(impl<$M, N: Message<NameKey: Of<N, $M>>, H, Next> $Listed<$M> for $Entry<N, H, Next> {})+
        impl<T, P, $M: $Kind> $Need<$M> for Listed<T, P>
        where
            $table: At<First<$M>>,
            $table::Slot: Find<Tail<$M>>,
            Found<$table, $M>: $Listed<$M>,
        {
            $($method)+
        }
    };
}
listed! {
    ListedQuery: SendQuery<Q: Query> in QueryEntry; T;
    "the module sends query `{M}`, which is not among its needs";
    fn send(&self, _: Q) -> Q::Response {
        unreachable!("no message is sent")
    }
}
listed! {
    ListedCommand: ExecuteCommand<C: Command> in CommandEntry; T;
    "the module executes command `{M}`, which is not among its needs";
    fn execute(&self, _: C) -> C::Output {
        unreachable!("no message is sent")
    }
}
listed! {
    ListedPost: PostMessage<M: Message> in EventEntry; P;
    "the module posts `{M}`, which is not among its needs";
    fn post(&self, _: M) {
        unreachable!("no message is sent")
    }
}
#[cfg(not(feature = "async"))]
listed! {
    ListedEvent: PublishEvent<E: Event> in EventEntry; T;
    "the module publishes event `{M}`, which is not among its needs";
    fn publish(&self, _: &E) -> <E::Output as EventOutput>::Published {
        unreachable!("no message is sent")
    }
}
#[cfg(feature = "async")]
mod asynchronous {
    use super::*;
    use crate::asynchronous::{
        AsyncCommandEntry, AsyncCommandHandler, AsyncEventEntry, AsyncEventHandler,
        AsyncExecuteCommand, AsyncPublishEvent, AsyncQueryEntry, AsyncQueryHandler, AsyncSendQuery,
        BusError,
    };
    use std::future::pending;

    listed! {
        ListedEvent: PublishEvent<E: Event> in EventEntry, AsyncEventEntry; T;
        "the module publishes event `{M}`, which is not among its needs";
        fn publish(&self, _: &E) -> <E::Output as EventOutput>::Published {
            unreachable!("no message is sent")
        }
    }
    listed! {
        ListedAsyncQuery: AsyncSendQuery<Q: Query> in QueryEntry, AsyncQueryEntry; T;
        "the module sends query `{M}` asynchronously, which is not among its needs";
        fn send_async(&self, _: Q) -> impl Future<Output = Result<Q::Response, BusError>> + Send {
            pending()
        }
    }
    listed! {
        ListedAsyncCommand: AsyncExecuteCommand<C: Command> in CommandEntry, AsyncCommandEntry; T;
        "the module executes command `{M}` asynchronously, which is not among its needs";
        fn execute_async(&self, _: C) -> impl Future<Output = Result<(), BusError>> + Send {
            pending()
        }
    }
    listed! {
        ListedAsyncEvent: AsyncPublishEvent<E: Event> in EventEntry, AsyncEventEntry; T;
        "the module publishes event `{M}` asynchronously, which is not among its needs";
        fn publish_async(&self, _: &E) -> impl Future<Output = Result<(), BusError>> + Send {
            pending()
        }
    }

    impl<Q: Query, B: ?Sized> AsyncQueryHandler<Q, B> for Needed {
        fn handle(
            &self,
            _: Q,
            _: &B,
        ) -> impl Future<Output = Result<Q::Response, BusError>> + Send {
            pending()
        }
    }
    impl<C: Command, B: ?Sized> AsyncCommandHandler<C, B> for Needed {
        fn handle(&self, _: C, _: &B) -> impl Future<Output = Result<(), BusError>> + Send {
            pending()
        }
    }
    impl<E: Event, B: ?Sized> AsyncEventHandler<E, B> for Needed {
        fn handle(&self, _: &E, _: &B) -> impl Future<Output = Result<(), BusError>> + Send {
            pending()
        }
    }
}

/// Checks at compile time that a module's handlers send the listed messages, those that the module itself handles, and no
/// others: an architecture rule as a test.
///
/// A need is written as the bound of a handler: `SendQuery<Q>`, `ExecuteCommand<C>`, `PublishEvent<E>`, `PostMessage<M>`, and the first three
/// with `Async`. `SendQuery<Q>` includes `AsyncSendQuery<Q>`. A message that borrows is `PublishEvent<Tick<'_>>`. A need that is listed, but
/// that no handler has, is not reported.
///
/// ```
/// use static_bus::{assert_needs, prelude::*};
///
/// struct GetEmail(u32);
/// query!(GetEmail -> &'static str);
/// struct Invoice { user: u32 }
/// command!(Invoice);
/// struct Invoiced(&'static str);
/// event!(Invoiced);
///
/// struct Billing;
/// impl<B: SendQuery<GetEmail> + PublishEvent<Invoiced>> CommandHandler<Invoice, B> for Billing {
///     fn handle(&self, command: Invoice, bus: &B) {
///         bus.publish(&Invoiced(bus.send(GetEmail(command.user))));
///     }
/// }
/// fn module() -> HList![OnCommand<Invoice, Billing>] {
///     hlist![on_command(Billing)]
/// }
///
/// assert_needs!(module(): SendQuery<GetEmail>, PublishEvent<Invoiced>);
/// ```
///
/// ```compile_fail,E0277
/// # use static_bus::{assert_needs, prelude::*};
/// # struct Invoice;
/// # command!(Invoice);
/// # struct Invoiced;
/// # event!(Invoiced);
/// # struct Billing;
/// # impl<B: PublishEvent<Invoiced>> CommandHandler<Invoice, B> for Billing {
/// #     fn handle(&self, _: Invoice, bus: &B) { bus.publish(&Invoiced) }
/// # }
/// # fn module() -> HList![OnCommand<Invoice, Billing>] { hlist![on_command(Billing)] }
/// // error[E0277]: the module publishes event `Invoiced`, which is not among its needs
/// assert_needs!(module(): );
/// ```
#[macro_export]
macro_rules! assert_needs {
    (@module [$($module:tt)+] : $($needs:tt)*) => {
        $crate::assert_needs!(@needs [$($module)+] [] [] $($needs)*)
    };
    (@module [$($module:tt)*] $next:tt $($rest:tt)*) => {
        $crate::assert_needs!(@module [$($module)* $next] $($rest)*)
    };
    (@needs $module:tt [$($sent:tt)*] $posts:tt SendQuery<$Q:ty> $(, $($rest:tt)*)?) => {
        $crate::assert_needs!(@needs $module [$($sent)* $crate::module::OnQuery<$Q, $crate::testing::Needed>,] $posts $($($rest)*)?)
    };
    (@needs $module:tt [$($sent:tt)*] $posts:tt ExecuteCommand<$C:ty> $(, $($rest:tt)*)?) => {
        $crate::assert_needs!(@needs $module [$($sent)* $crate::module::OnCommand<$C, $crate::testing::Needed>,] $posts $($($rest)*)?)
    };
    (@needs $module:tt [$($sent:tt)*] $posts:tt PublishEvent<$E:ty> $(, $($rest:tt)*)?) => {
        $crate::assert_needs!(@needs $module [$($sent)* $crate::module::OnEvent<$E, $crate::testing::Needed>,] $posts $($($rest)*)?)
    };
    (@needs $module:tt [$($sent:tt)*] $posts:tt AsyncSendQuery<$Q:ty> $(, $($rest:tt)*)?) => {
        $crate::assert_needs!(@needs $module [$($sent)* $crate::asynchronous::OnQueryAsync<$Q, $crate::testing::Needed>,] $posts $($($rest)*)?)
    };
    (@needs $module:tt [$($sent:tt)*] $posts:tt AsyncExecuteCommand<$C:ty> $(, $($rest:tt)*)?) => {
        $crate::assert_needs!(@needs $module [$($sent)* $crate::asynchronous::OnCommandAsync<$C, $crate::testing::Needed>,] $posts $($($rest)*)?)
    };
    (@needs $module:tt [$($sent:tt)*] $posts:tt AsyncPublishEvent<$E:ty> $(, $($rest:tt)*)?) => {
        $crate::assert_needs!(@needs $module [$($sent)* $crate::asynchronous::OnEventAsync<$E, $crate::testing::Needed>,] $posts $($($rest)*)?)
    };
    (@needs $module:tt $sent:tt [$($posts:tt)*] PostMessage<$M:ty> $(, $($rest:tt)*)?) => {
        $crate::assert_needs!(@needs $module $sent [$($posts)* $crate::testing::Posted<$M>,] $($($rest)*)?)
    };
    (@needs [$($module:tt)+] [$($sent:tt)*] [$($posts:tt)*]) => {{
        let _ = || $crate::testing::needs::<_, $crate::HList![$($sent)*], $crate::HList![$($posts)*]>($($module)+);
    }};
    (@needs $module:tt $sent:tt $posts:tt $($other:tt)+) => {
        ::core::compile_error!(
            "a need is `SendQuery<Q>`, `ExecuteCommand<C>`, `PublishEvent<E>` or `PostMessage<M>`, and each of the first three may begin with `Async`"
        )
    };
    ($($module_and_needs:tt)+) => {
        $crate::assert_needs!(@module [] $($module_and_needs)+)
    };
}
