//! How a message finds its handler: a table that is a type.
//!
//! Its first two levels are chosen by the first two digits of the message's [key](mod@crate::key),
//! sixteen ways each. They end in a bucket: a short list of entries, told apart by the rest of the
//! key. There are three kinds of entry: [`QueryEntry`], [`CommandEntry`] and [`EventEntry`]. With the feature
//! `async` there is one more of each, for handlers that may wait; they live in the same buckets.
//!
//! ```text
//! key of GetUser: 7 12 30 4 …
//!
//!   Node        ┌ 0 ┬ 1 ┬ … ┬ 7 ┬ … ┬ 15 ┐     first digit
//!                             │
//!   Node        ┌ 0 ┬ 1 ┬ … ┬ 12 ┬ … ┬ 15 ┐    second digit
//!                             │
//!   entries       GetUser ─ OrderPlaced ─ ()        the rest: 30 4 …
//! ```
//!
//! The types are public so that a compile error can call them by their short names. Nobody needs to
//! write them.
//!
//! A lookup always succeeds: it ends in an entry or in [`Missing`]. Whether what it found can do
//! the work is a bound on the result, so that a failure names the message and not the table.
//!
//! Every `impl` between `bus.send` and the bucket makes rustc walk the whole type of the bus. So
//! there are few of them, and the type has few nodes: an entry is one, and not a list node around
//! another, and its kind is its name. Debug info spells the whole type for every function that is
//! generic over it, so there are few of those as well.

mod bucket;
mod event;

#[cfg(feature = "async")]
pub use crate::asynchronous::{
    entry::{AsyncCommandEntry, AsyncQueryEntry},
    event::{AsyncEventEntry, HAsync},
};
pub use bucket::{CommandEntry, EventEntry, QueryEntry};
#[cfg(feature = "async")]
pub(crate) use bucket::{
    FindIf, InsertIf, RestOf, SecondCommandHandler, SecondQueryHandler, entry,
};
pub(crate) use bucket::{HasCommandHandler, HasQueryHandler};
#[cfg(feature = "async")]
pub(crate) use event::{Before, EachName, MoreSubscribers};
pub(crate) use event::{Publish, SingleSubscriber, Subscribers};

use crate::key::{Digit, Digits, Key};
use crate::message::Message;
use crate::wiring::Registration;

/// Sixteen slots, one for each digit.
#[rustfmt::skip]
#[derive(Clone)]
pub struct Node<S0, S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, S12, S13, S14, S15>(
    S0, S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, S12, S13, S14, S15,
);
/// A slot of the first level that no key has reached.
#[derive(Clone)]
pub struct Free;
/// What a lookup finds when nothing is registered.
pub struct Missing;

#[rustfmt::skip]
macro_rules! sixteen {
    ($node:ident <$slot:ty>) => {
        $node<$slot, $slot, $slot, $slot, $slot, $slot, $slot, $slot,
              $slot, $slot, $slot, $slot, $slot, $slot, $slot, $slot>
    };
    ($node:ident ($slot:expr)) => {
        $node($slot, $slot, $slot, $slot, $slot, $slot, $slot, $slot,
              $slot, $slot, $slot, $slot, $slot, $slot, $slot, $slot)
    };
}
/// The table of a bus without handlers.
pub type Root = sixteen!(Node<Free>);
pub(crate) const ROOT: Root = sixteen!(Node(Free));
type Buckets = sixteen!(Node<()>);
const BUCKETS: Buckets = sixteen!(Node(()));

/// Lookup by the first digit.
///
/// This step is apart from the others, and knows one digit only, so that a debug build has sixteen
/// functions that spell the whole table, and not one for each message.
#[doc(hidden)]
pub trait At<D> {
    type Slot;
    fn at(&self) -> &Self::Slot;
}
/// Total lookup by the other digits.
#[doc(hidden)]
pub trait Find<K> {
    type Found;
    fn find(&self) -> &Self::Found;
}
/// Puts an entry into a table under this key, or joins it to the one that has the key.
///
/// It is the key that implements this, because rustc works out the type that a builder's method
/// returns before it knows the message. With a key yet unknown it gives up at once; with a table of
/// known type it would try sixteen slots in vain.
#[doc(hidden)]
pub trait InsertInto<Table, W> {
    type Out;
    fn insert(table: Table, entry: W) -> Self::Out;
}
/// Merges all entries into another table, bucket by bucket: how a module is mounted.
///
/// A module's list is merged into a small table of its own first, which costs the compiler less
/// than inserting its entries one by one into the large one.
#[doc(hidden)]
pub trait MergeInto<Table> {
    type Out;
    fn merge_into(self, table: Table) -> Self::Out;
}
/// Every handler's needs are met by the bus `B`.
#[doc(hidden)]
pub trait Wired<B> {}
/// Lists what is registered.
#[doc(hidden)]
pub trait Registrations {
    fn each(visit: &mut dyn FnMut(Registration));
}

/// The first digit of message `M`.
pub(crate) type First<M> = <<M as Message>::NameKey as Key>::First;
/// The other digits of message `M`.
pub(crate) type Tail<M> = <<M as Message>::NameKey as Key>::Tail;
/// What table `T` holds for message `M`.
pub(crate) type Found<T, M> = <<T as At<First<M>>>::Slot as Find<Tail<M>>>::Found;

impl<K> Find<K> for Free {
    type Found = Missing;
    #[inline]
    fn find(&self) -> &Missing {
        &Missing
    }
}
impl<const D: u8, R, W> InsertInto<Free, W> for Digits<D, R>
where
    Self: InsertInto<Buckets, W>,
{
    type Out = <Self as InsertInto<Buckets, W>>::Out;
    #[inline]
    fn insert(_: Free, entry: W) -> Self::Out {
        <Self as InsertInto<Buckets, W>>::insert(BUCKETS, entry)
    }
}
impl<T> MergeInto<T> for Free {
    type Out = T;
    #[inline]
    fn merge_into(self, table: T) -> T {
        table
    }
}
impl<B> Wired<B> for Free {}
impl Registrations for Free {
    fn each(_: &mut dyn FnMut(Registration)) {}
}

macro_rules! one_slot {
    ([$($bi:tt $Before:ident)*] []) => {};
    ([$($bi:tt $Before:ident)*] [$i:tt $Slot:ident $($ai:tt $After:ident)*]) => {
        impl<$($Before,)* $Slot, $($After),*> At<Digit<$i>> for Node<$($Before,)* $Slot, $($After),*> {
            type Slot = $Slot;
            #[inline]
            fn at(&self) -> &$Slot {
                &self.$i
            }
        }
        impl<$($Before,)* $Slot, $($After,)* R> Find<Digits<$i, R>> for Node<$($Before,)* $Slot, $($After),*>
        where
            $Slot: Find<R>,
        {
            type Found = $Slot::Found;
            #[inline]
            fn find(&self) -> &Self::Found {
                self.$i.find()
            }
        }
        impl<$($Before,)* $Slot, $($After,)* R, W> InsertInto<Node<$($Before,)* $Slot, $($After),*>, W> for Digits<$i, R>
        where
            R: InsertInto<$Slot, W>,
        {
            type Out = Node<$($Before,)* R::Out, $($After),*>;
            #[inline]
            fn insert(table: Node<$($Before,)* $Slot, $($After),*>, entry: W) -> Self::Out {
                Node($(table.$bi,)* R::insert(table.$i, entry), $(table.$ai),*)
            }
        }
        one_slot!([$($bi $Before)* $i $Slot] [$($ai $After)*]);
    };
}
one_slot!([] [0 S0 1 S1 2 S2 3 S3 4 S4 5 S5 6 S6 7 S7 8 S8 9 S9 10 S10 11 S11 12 S12 13 S13 14 S14 15 S15]);

macro_rules! all_slots {
    ($($i:tt $Slot:ident $Into:ident,)*) => {
        impl<$($Slot),*> MergeInto<Free> for Node<$($Slot),*> {
            type Out = Self;
            #[inline]
            fn merge_into(self, _: Free) -> Self {
                self
            }
        }
        impl<$($Slot: MergeInto<$Into>,)* $($Into),*> MergeInto<Node<$($Into),*>> for Node<$($Slot),*> {
            type Out = Node<$($Slot::Out),*>;
            #[inline]
            fn merge_into(self, table: Node<$($Into),*>) -> Self::Out {
                Node($(self.$i.merge_into(table.$i)),*)
            }
        }
        impl<$($Slot: Wired<B>,)* B> Wired<B> for Node<$($Slot),*> {}
        impl<$($Slot: Registrations),*> Registrations for Node<$($Slot),*> {
            fn each(visit: &mut dyn FnMut(Registration)) {
                $($Slot::each(visit);)*
            }
        }
    };
}
#[rustfmt::skip]
all_slots!(
    0 S0 T0, 1 S1 T1, 2 S2 T2, 3 S3 T3, 4 S4 T4, 5 S5 T5, 6 S6 T6, 7 S7 T7,
    8 S8 T8, 9 S9 T9, 10 S10 T10, 11 S11 T11, 12 S12 T12, 13 S13 T13, 14 S14 T14, 15 S15 T15,
);
