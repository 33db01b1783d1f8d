//! The table of handlers: a type in which each message finds its handler at compile time.
//!
//! The first two digits of a message's [name key](mod@crate::key) choose a slot of the first and of the
//! second level, of sixteen slots each. A slot of the second level is a bucket: a short list of
//! entries, distinguished by the rest of the key. There are three kinds of entry: [`QueryEntry`],
//! [`CommandEntry`] and [`EventEntry`]. The feature `async` adds one of each for asynchronous handlers,
//! in the same buckets.
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
//! The types are public so that compile errors print their short names. There is no need to write
//! them.
//!
//! A lookup always succeeds: it ends in an entry or in [`Missing`]. A bound on the result (such as
//! `HasQueryHandler`) then requires a handler, so that an error names the message and not the table.
//! `docs/DESIGN.md` walks through one lookup step by step.
//!
//! Every `impl` between `bus.send` and the bucket makes rustc walk the whole type of the bus. So
//! there are few of them, and the type has few nodes: an entry is its own list node, and its kind is
//! its name. Debug info contains the whole type for every function that is generic over it, so there
//! are few such functions as well.

mod bucket;
mod event;
mod fit;
mod subscribers;
mod within;

pub use bucket::{CommandEntry, EventEntry, QueryEntry};
#[cfg(feature = "async")]
pub(crate) use bucket::{
    FindIf, InsertIf, RestOf, SecondCommandHandler, SecondQueryHandler, entry,
};
pub(crate) use bucket::{HasCommandHandler, HasQueryHandler};
#[cfg(feature = "async")]
pub(crate) use event::MoreSubscribers;
pub(crate) use event::{Publish, SingleSubscriber};
#[cfg(feature = "async")]
pub(crate) use subscribers::{AppendTo, EachName, LogOf, for_each_digit};
#[rustfmt::skip]
pub use subscribers::{
    Branches1, Branches2, Branches3, Branches4, Branches5, Branches6, Branches7, Branches8,
    Handlers1, Handlers2, Handlers3, Handlers4, Handlers5, Handlers6, Handlers7, Handlers8, Many,
};
pub(crate) use fit::Fit;
#[cfg(feature = "async")]
pub(crate) use fit::{PlaceFor, Registered, SameHandlers, Take, TakeIf};
pub(crate) use subscribers::{Subscribers, WrapEach};
pub use within::{Within, Wrap};
#[cfg(feature = "async")]
pub(crate) use within::{wrap_handler, wrap_subscribers};

use crate::key::{Digit, Digits, Key};
use crate::message::Message;
use crate::wiring::{Registration, Registrations};

/// One level of the table: sixteen slots, one for each digit.
#[rustfmt::skip]
#[derive(Clone)]
pub struct Node<S0, S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, S12, S13, S14, S15>(
    S0, S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, S12, S13, S14, S15,
);
/// An unused slot of the first level.
#[derive(Clone)]
pub struct Free;
/// The result of a lookup that finds no entry.
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
/// This step is separate from the others and depends on one digit only, so that a debug build has
/// sixteen functions whose types contain the whole table, and not one for each message.
#[doc(hidden)]
pub trait At<D> {
    type Slot;
    fn at(&self) -> &Self::Slot;
}
/// Lookup by the other digits. Always succeeds: `Found` is an entry or [`Missing`].
#[doc(hidden)]
pub trait Find<K> {
    type Found;
    fn find(&self) -> &Self::Found;
}
/// Inserts an entry into a table under this key, or joins it with the entry that has the key.
///
/// Implemented by the key and not by the table, because rustc determines the return type of a
/// builder's method before it knows the message. With an unknown key as `Self` it stops at once; with a
/// known table as `Self` it would try all sixteen slots.
#[doc(hidden)]
pub trait InsertInto<Table, W> {
    type Out;
    fn insert(table: Table, entry: W) -> Self::Out;
}
/// Merges all entries into another table, bucket by bucket. Used to mount a module.
///
/// A module's list is first merged into a small table of its own, which takes less compile time than
/// the insertion of its entries one by one into the large table.
#[doc(hidden)]
pub trait MergeInto<Table> {
    type Out;
    fn merge_into(self, table: Table) -> Self::Out;
}
/// A table, entry or mailbox whose handlers' bounds are all satisfied by the bus `B`.
#[doc(hidden)]
pub trait Wired<B> {}

/// The first digit of message `M`.
pub(crate) type First<M> = <<M as Message>::NameKey as Key>::First;
/// The other digits of message `M`.
pub(crate) type Tail<M> = <<M as Message>::NameKey as Key>::Tail;
/// The result of the lookup of message `M` in table `T`: an entry or [`Missing`].
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
impl Fit<Free> for Free {
    #[inline]
    fn fit(self) -> Free {
        Free
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
        impl<$($Slot: Fit<$Into>,)* $($Into),*> Fit<Node<$($Into),*>> for Node<$($Slot),*> {
            #[inline]
            fn fit(self) -> Node<$($Into),*> {
                Node($(self.$i.fit()),*)
            }
        }
        impl<$($Into),*> Fit<Node<$($Into),*>> for Free
        where
            Buckets: Fit<Node<$($Into),*>>,
        {
            #[inline]
            fn fit(self) -> Node<$($Into),*> {
                BUCKETS.fit()
            }
        }
        impl<$($Slot: Fit<()>),*> Fit<Free> for Node<$($Slot),*> {
            #[inline]
            fn fit(self) -> Free {
                $(self.$i.fit();)*
                Free
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
