//! What stands at the end of two digits: a list of wires, told apart by the rest of the key.

use super::{Find, InsertInto, Missing, Pour, Registrations, Wired};
use crate::handler::{CommandHandler, QueryHandler};
use crate::key::{Key, Other, Rest, Same};
use crate::message::{Command, Message, Query};
use crate::wiring::{Kind, Registration};
use core::marker::PhantomData;

/// The key of message `M`, without the digits that chose the bucket.
pub(crate) type RestOf<M> = <<M as Message>::Key as Key>::Rest;

/// [`Find`], once it is known whether the first wire has the key.
pub trait FindIf<Is, R> {
    type Found;
    fn find_if(&self) -> &Self::Found;
}
/// [`InsertInto`], once it is known whether the first wire has the key `R`.
pub trait InsertIf<Is, R, W> {
    type Out;
    fn insert_if(self, wire: W) -> Self::Out;
}

// The end of a bucket is `()`: the shortest there is to spell in debug info, which spells it for
// every empty bucket and every last wire.
impl<R> Find<R> for () {
    type Found = Missing;
    #[inline]
    fn find(&self) -> &Missing {
        &Missing
    }
}
impl<R: Rest, W> InsertInto<(), W> for R {
    type Out = W;
    #[inline]
    fn insert(_: (), wire: W) -> W {
        wire
    }
}
impl<T> Pour<T> for () {
    type Out = T;
    #[inline]
    fn pour(self, table: T) -> T {
        table
    }
}

/// One kind of wire. The kind is the name of the type, and not a parameter of it, because rustc
/// walks each parameter of each wire for every `impl` it matches against the bus.
macro_rules! wire {
    ($(#[$doc:meta])* $Wire:ident) => {
        $(#[$doc])*
        // What is not stored, and the last field, need not be `Sized`. That spares the compiler a
        // proof for each of them wherever the type of a bus appears.
        pub struct $Wire<M: ?Sized, H, Next: ?Sized = ()> {
            message: PhantomData<fn(&M)>,
            pub(super) handler: H,
            pub(super) next: Next,
        }
        impl<M, H> $Wire<M, H> {
            #[inline]
            pub(crate) const fn new(handler: H) -> Self {
                $Wire::before(handler, ())
            }
        }
        impl<M, H, T> $Wire<M, H, T> {
            #[inline]
            pub(super) const fn before(handler: H, next: T) -> Self {
                $Wire { message: PhantomData, handler, next }
            }
        }
        impl<M, H: Clone, T: Clone> Clone for $Wire<M, H, T> {
            fn clone(&self) -> Self {
                $Wire::before(self.handler.clone(), self.next.clone())
            }
        }

        impl<M: Message, H, T, R: Rest> Find<R> for $Wire<M, H, T>
        where
            Self: FindIf<<RestOf<M> as Rest>::Is<R>, R>,
        {
            type Found = <Self as FindIf<<RestOf<M> as Rest>::Is<R>, R>>::Found;
            #[inline]
            fn find(&self) -> &Self::Found {
                self.find_if()
            }
        }
        impl<M, H, T, R> FindIf<Same, R> for $Wire<M, H, T> {
            type Found = Self;
            #[inline]
            fn find_if(&self) -> &Self {
                self
            }
        }
        impl<M, H, T: Find<R>, R> FindIf<Other, R> for $Wire<M, H, T> {
            type Found = T::Found;
            #[inline]
            fn find_if(&self) -> &T::Found {
                self.next.find()
            }
        }

        impl<M: Message, H, T, R: Rest, W> InsertInto<$Wire<M, H, T>, W> for R
        where
            $Wire<M, H, T>: InsertIf<<RestOf<M> as Rest>::Is<R>, R, W>,
        {
            type Out = <$Wire<M, H, T> as InsertIf<<RestOf<M> as Rest>::Is<R>, R, W>>::Out;
            #[inline]
            fn insert(bucket: $Wire<M, H, T>, wire: W) -> Self::Out {
                bucket.insert_if(wire)
            }
        }
        impl<M, H, T, R: InsertInto<T, W>, W> InsertIf<Other, R, W> for $Wire<M, H, T> {
            type Out = $Wire<M, H, R::Out>;
            #[inline]
            fn insert_if(self, wire: W) -> Self::Out {
                $Wire::before(self.handler, R::insert(self.next, wire))
            }
        }

        impl<M: Message, H, T, Into> Pour<Into> for $Wire<M, H, T>
        where
            RestOf<M>: InsertInto<Into, $Wire<M, H>>,
            T: Pour<<RestOf<M> as InsertInto<Into, $Wire<M, H>>>::Out>,
        {
            type Out = T::Out;
            #[inline]
            fn pour(self, table: Into) -> Self::Out {
                self.next.pour(<RestOf<M>>::insert(table, $Wire::new(self.handler)))
            }
        }
    };
}
#[cfg(feature = "async")]
pub(crate) use wire;

wire! {
    /// A query `M`, its handler, and the wires after it in its bucket.
    QueryWire
}
wire! {
    /// A command `M`, its handler, and the wires after it in its bucket.
    CommandWire
}
wire! {
    /// An event `M`, the list of its subscribers, the newest first, and the wires after it in its
    /// bucket.
    EventWire
}

// ----- queries and commands, which have one handler
//
// Written out for each of the two, and not by a macro: rustc shows the reader of an error where a
// macro was called, which is of no use to anybody.

/// Holds the handler of query `Q`.
#[diagnostic::on_unimplemented(
    message = "no handler is registered for query `{Q}`",
    label = "nobody handles `{Q}`",
    note = "register one: `.register_query::<{Q}, _>(handler)`, `.register_query_fn(|query: {Q}| …)`, or mount a module that has one"
)]
pub(crate) trait Respond<Q> {
    type Handler;
    fn handler(&self) -> &Self::Handler;
}
impl<Q: Query, H, T> Respond<Q> for QueryWire<Q, H, T> {
    type Handler = H;
    #[inline]
    fn handler(&self) -> &H {
        &self.handler
    }
}
/// Holds the handler of command `C`.
#[diagnostic::on_unimplemented(
    message = "no handler is registered for command `{C}`",
    label = "nobody handles `{C}`",
    note = "register one: `.register_command::<{C}, _>(handler)`, `.register_command_fn(|command: {C}| …)`, or mount a module that has one"
)]
pub(crate) trait CarryOut<C> {
    type Handler;
    fn handler(&self) -> &Self::Handler;
}
impl<C: Command, H, T> CarryOut<C> for CommandWire<C, H, T> {
    type Handler = H;
    #[inline]
    fn handler(&self) -> &H {
        &self.handler
    }
}

/// What may come after the handler of query `M`: nothing.
#[diagnostic::on_unimplemented(
    message = "query `{M}` already has a handler",
    label = "a second handler for `{M}`",
    note = "remove one of the registrations; if they are for two messages, give one a name of its own with `name = \"…\"`"
)]
pub trait SecondQueryHandler<M> {}
impl<M> SecondQueryHandler<M> for Missing {}
impl<M, H, T, R, W: SecondQueryHandler<M>> InsertIf<Same, R, W> for QueryWire<M, H, T> {
    type Out = Self;
    fn insert_if(self, _: W) -> Self {
        self
    }
}
/// What may come after the handler of command `M`: nothing.
#[diagnostic::on_unimplemented(
    message = "command `{M}` already has a handler",
    label = "a second handler for `{M}`",
    note = "remove one of the registrations; if they are for two messages, give one a name of its own with `name = \"…\"`"
)]
pub trait SecondCommandHandler<M> {}
impl<M> SecondCommandHandler<M> for Missing {}
impl<M, H, T, R, W: SecondCommandHandler<M>> InsertIf<Same, R, W> for CommandWire<M, H, T> {
    type Out = Self;
    fn insert_if(self, _: W) -> Self {
        self
    }
}

impl<B> Wired<B> for () {}
impl<Q: Query, H: QueryHandler<Q, B>, T: Wired<B>, B> Wired<B> for QueryWire<Q, H, T> {}
impl<C: Command, H: CommandHandler<C, B>, T: Wired<B>, B> Wired<B> for CommandWire<C, H, T> {}

impl Registrations for () {
    fn each(_: &mut dyn FnMut(Registration)) {}
}
impl<Q: Query, H, T: Registrations> Registrations for QueryWire<Q, H, T> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        visit(Registration::new::<Q, H>(Kind::Query));
        T::each(visit);
    }
}
impl<C: Command, H, T: Registrations> Registrations for CommandWire<C, H, T> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        visit(Registration::new::<C, H>(Kind::Command));
        T::each(visit);
    }
}
