//! Buckets: lists of entries, distinguished by the rest of the key after its first two digits.

use super::fit::{Fit, PlaceFor, Registered, SameHandlers, Take, TakeIf};
use super::{Find, InsertInto, MergeInto, Missing, Wired};
use crate::handler::{CommandHandler, QueryHandler};
use crate::key::{Key, Of, Other, Rest, Same};
use crate::message::{Command, Message, Query};
use crate::wiring::{Kind, Registration, Registrations};
use core::marker::PhantomData;

/// The name key of message `M` without the two digits that choose the bucket.
pub(crate) type RestOf<M> = <<M as Message>::NameKey as Key>::Rest;

/// The second step of [`Find`] in a bucket: `Is` is [`Same`] if the first entry has the key `R`, and
/// otherwise [`Other`].
pub trait FindIf<Is, R> {
    type Found;
    fn find_if(&self) -> &Self::Found;
}
/// The second step of [`InsertInto`] in a bucket: `Is` is [`Same`] if the first entry has the key `R`,
/// and otherwise [`Other`].
pub trait InsertIf<Is, R, W> {
    type Out;
    fn insert_if(self, entry: W) -> Self::Out;
}

// The end of a bucket is `()`, the shortest type name in debug info, which contains it for every empty
// bucket and every last entry.
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
    fn insert(_: (), entry: W) -> W {
        entry
    }
}
impl<T> MergeInto<T> for () {
    type Out = T;
    #[inline]
    fn merge_into(self, table: T) -> T {
        table
    }
}

/// Defines one kind of entry. The kind is the name of the type and not a parameter, because rustc
/// walks each parameter of each entry for every `impl` that it matches against the bus.
macro_rules! entry {
    ($(#[$doc:meta])* $Entry:ident) => {
        $(#[$doc])*
        // Parameters that are not stored, and the last field, are `?Sized`. That saves the compiler
        // one proof for each of them wherever the type of a bus appears.
        pub struct $Entry<M: ?Sized, H, Next: ?Sized = ()> {
            message: PhantomData<fn(&M)>,
            pub(crate) handler: H,
            pub(super) next: Next,
        }
        impl<M, H> $Entry<M, H> {
            #[inline]
            pub(crate) const fn new(handler: H) -> Self {
                $Entry::before(handler, ())
            }
        }
        impl<M, H, T> $Entry<M, H, T> {
            #[inline]
            pub(super) const fn before(handler: H, next: T) -> Self {
                $Entry { message: PhantomData, handler, next }
            }
        }
        impl<M, H: Clone, T: Clone> Clone for $Entry<M, H, T> {
            fn clone(&self) -> Self {
                $Entry::before(self.handler.clone(), self.next.clone())
            }
        }

        impl<M: Message, H, T, R: Rest> Find<R> for $Entry<M, H, T>
        where
            Self: FindIf<<RestOf<M> as Rest>::Is<R>, R>,
        {
            type Found = <Self as FindIf<<RestOf<M> as Rest>::Is<R>, R>>::Found;
            #[inline]
            fn find(&self) -> &Self::Found {
                self.find_if()
            }
        }
        impl<M, H, T, R> FindIf<Same, R> for $Entry<M, H, T> {
            type Found = Self;
            #[inline]
            fn find_if(&self) -> &Self {
                self
            }
        }
        impl<M, H, T: Find<R>, R> FindIf<Other, R> for $Entry<M, H, T> {
            type Found = T::Found;
            #[inline]
            fn find_if(&self) -> &T::Found {
                self.next.find()
            }
        }

        impl<M: Message, H, T, R: Rest, W> InsertInto<$Entry<M, H, T>, W> for R
        where
            $Entry<M, H, T>: InsertIf<<RestOf<M> as Rest>::Is<R>, R, W>,
        {
            type Out = <$Entry<M, H, T> as InsertIf<<RestOf<M> as Rest>::Is<R>, R, W>>::Out;
            #[inline]
            fn insert(bucket: $Entry<M, H, T>, entry: W) -> Self::Out {
                bucket.insert_if(entry)
            }
        }
        impl<M, H, T, R: InsertInto<T, W>, W> InsertIf<Other, R, W> for $Entry<M, H, T> {
            type Out = $Entry<M, H, R::Out>;
            #[inline]
            fn insert_if(self, entry: W) -> Self::Out {
                $Entry::before(self.handler, R::insert(self.next, entry))
            }
        }

        impl<M: Message, H, T, R: Rest> Take<R> for $Entry<M, H, T>
        where
            Self: TakeIf<<RestOf<M> as Rest>::Is<R>, R>,
        {
            type Taken = <Self as TakeIf<<RestOf<M> as Rest>::Is<R>, R>>::Taken;
            type Left = <Self as TakeIf<<RestOf<M> as Rest>::Is<R>, R>>::Left;
            #[inline]
            fn take(self) -> (Self::Taken, Self::Left) {
                self.take_if()
            }
        }
        impl<M, H, T, R> TakeIf<Same, R> for $Entry<M, H, T> {
            type Taken = $Entry<M, H>;
            type Left = T;
            #[inline]
            fn take_if(self) -> ($Entry<M, H>, T) {
                ($Entry::new(self.handler), self.next)
            }
        }
        impl<M, H, T: Take<R>, R> TakeIf<Other, R> for $Entry<M, H, T> {
            type Taken = T::Taken;
            type Left = $Entry<M, H, T::Left>;
            #[inline]
            fn take_if(self) -> (T::Taken, Self::Left) {
                let (taken, left) = self.next.take();
                (taken, $Entry::before(self.handler, left))
            }
        }
        impl<M: Message, H, T, Bucket> Fit<$Entry<M, H, T>> for Bucket
        where
            Bucket: Take<RestOf<M>, Taken: Registered<M, $Entry<M, H>>, Left: Fit<T>>,
        {
            #[inline]
            fn fit(self) -> $Entry<M, H, T> {
                let (taken, left) = self.take();
                $Entry::before(taken.registered().handler, left.fit())
            }
        }
        impl<M, H, T> Fit<()> for $Entry<M, H, T>
        where
            (): PlaceFor<M>,
        {
            fn fit(self) {
                PlaceFor::place()
            }
        }
        impl<M, H, N, Expected> Registered<N, Expected> for $Entry<M, H>
        where
            Self: SameHandlers<N, Expected>,
        {
            #[inline]
            fn registered(self) -> Expected {
                self.same()
            }
        }

        impl<M: Message, H, T, Into> MergeInto<Into> for $Entry<M, H, T>
        where
            RestOf<M>: InsertInto<Into, $Entry<M, H>>,
            T: MergeInto<<RestOf<M> as InsertInto<Into, $Entry<M, H>>>::Out>,
        {
            type Out = T::Out;
            #[inline]
            fn merge_into(self, table: Into) -> Self::Out {
                self.next.merge_into(<RestOf<M>>::insert(table, $Entry::new(self.handler)))
            }
        }
    };
}
#[cfg(feature = "async")]
pub(crate) use entry;

entry! {
    /// A query `M`, its handler, and the entries after it in its bucket.
    QueryEntry
}
entry! {
    /// A command `M`, its handler, and the entries after it in its bucket.
    CommandEntry
}
entry! {
    /// An event `M`, the list of its subscribers, and the entries after it in its bucket.
    EventEntry
}

// ----- queries and commands, which have one handler
//
// Written out for each of the two and not by a macro: in an error, rustc would show the call of the
// macro instead of the trait.

/// An entry with a handler of query `Q`.
#[diagnostic::on_unimplemented(
    message = "no handler is registered for query `{Q}`",
    label = "nobody handles `{Q}`",
    note = "register one: `.register_query::<{Q}, _>(handler)`, `.register_query_fn(|query: {Q}| …)`, or mount a module that has one"
)]
pub(crate) trait HasQueryHandler<Q> {
    type Handler;
    fn handler(&self) -> &Self::Handler;
}
impl<Q, M: Message<NameKey: Of<M, Q>>, H, T> HasQueryHandler<Q> for QueryEntry<M, H, T> {
    type Handler = H;
    #[inline]
    fn handler(&self) -> &H {
        &self.handler
    }
}
/// An entry with a handler of command `C`.
#[diagnostic::on_unimplemented(
    message = "no handler is registered for command `{C}`",
    label = "nobody handles `{C}`",
    note = "register one: `.register_command::<{C}, _>(handler)`, `.register_command_fn(|command: {C}| …)`, or mount a module that has one"
)]
pub(crate) trait HasCommandHandler<C> {
    type Handler;
    fn handler(&self) -> &Self::Handler;
}
impl<C, M: Message<NameKey: Of<M, C>>, H, T> HasCommandHandler<C> for CommandEntry<M, H, T> {
    type Handler = H;
    #[inline]
    fn handler(&self) -> &H {
        &self.handler
    }
}

/// An entry that may be inserted where query `M` already has a handler: only [`Missing`], so none.
#[diagnostic::on_unimplemented(
    message = "query `{M}` already has a handler",
    label = "a second handler for `{M}`",
    note = "remove one of the registrations; if they are for two messages, give one a name of its own with `name = \"…\"`",
    note = "two versions of a crate of messages on one bus cause this, too: `cargo tree -d` lists such crates"
)]
pub trait SecondQueryHandler<M> {}
impl<M> SecondQueryHandler<M> for Missing {}
impl<M, H, T, R, W: SecondQueryHandler<M>> InsertIf<Same, R, W> for QueryEntry<M, H, T> {
    type Out = Self;
    fn insert_if(self, _: W) -> Self {
        self
    }
}
/// An entry that may be inserted where command `M` already has a handler: only [`Missing`], so none.
#[diagnostic::on_unimplemented(
    message = "command `{M}` already has a handler",
    label = "a second handler for `{M}`",
    note = "remove one of the registrations; if they are for two messages, give one a name of its own with `name = \"…\"`",
    note = "two versions of a crate of messages on one bus cause this, too: `cargo tree -d` lists such crates"
)]
pub trait SecondCommandHandler<M> {}
impl<M> SecondCommandHandler<M> for Missing {}
impl<M, H, T, R, W: SecondCommandHandler<M>> InsertIf<Same, R, W> for CommandEntry<M, H, T> {
    type Out = Self;
    fn insert_if(self, _: W) -> Self {
        self
    }
}

impl<B> Wired<B> for () {}
impl<Q: Query, H: QueryHandler<Q, B>, T: Wired<B>, B> Wired<B> for QueryEntry<Q, H, T> {}
impl<C: Command, H: CommandHandler<C, B>, T: Wired<B>, B> Wired<B> for CommandEntry<C, H, T> {}

impl Registrations for () {
    fn each(_: &mut dyn FnMut(Registration)) {}
}
impl<Q: Query, H, T: Registrations> Registrations for QueryEntry<Q, H, T> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        visit(Registration::new::<Q, H>(Kind::Query));
        T::each(visit);
    }
}
impl<C: Command, H, T: Registrations> Registrations for CommandEntry<C, H, T> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        visit(Registration::new::<C, H>(Kind::Command));
        T::each(visit);
    }
}
