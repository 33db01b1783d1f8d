//! A table within a layer.
//!
//! [`Within`] has the slots of a [`Node`], and its type names the layer once. What it holds is a projection: each
//! handler of each slot in [`Wrapped`]. So the type of the bus, which rustc walks for each call, grows by one parameter
//! for each node and not by two for each handler, and a lookup names the wrapped form of one bucket only. A
//! second layer around the table becomes a [`Stack`] with the first. Only where a table is merged with another is the
//! wrapped form of a slot written out.

use super::{
    At, BUCKETS, Buckets, CommandEntry, EventEntry, Find, Fit, Free, InsertInto, MergeInto, Node,
    QueryEntry, Wired,
};
use crate::key::{Digit, Digits};
use crate::layer::{Layer, Stack, Wrapped};
use crate::message::{Command, Event, Query};
use crate::wiring::{Kind, Registration, Registrations};

/// A table, or a part of one, that can be put within a layer.
#[doc(hidden)]
pub trait Wrap {
    /// It within layer `L`.
    type In<L: Layer>;
    /// Puts it within a layer. `around` makes what goes around one handler.
    fn wrap<L: Layer>(self, around: &mut impl FnMut(Registration) -> L::Around) -> Self::In<L>;
    /// Replaces a layer by another. `around` makes what goes around one handler from what went around it.
    fn rewrap<L: Layer, N: Layer>(
        wrapped: Self::In<L>,
        around: &mut impl FnMut(Registration, L::Around) -> N::Around,
    ) -> Self::In<N>;
}

/// Impls of [`Wrap`] for what has no handler.
macro_rules! nothing {
    ($($Nothing:ty = $nothing:expr),*) => { $(
        impl Wrap for $Nothing {
            type In<L: Layer> = $Nothing;
            fn wrap<L: Layer>(self, _: &mut impl FnMut(Registration) -> L::Around) -> $Nothing {
                $nothing
            }
            fn rewrap<L: Layer, N: Layer>(
                _: $Nothing,
                _: &mut impl FnMut(Registration, L::Around) -> N::Around,
            ) -> $Nothing {
                $nothing
            }
        }
    )* };
}
nothing!(Free = Free, () = ());

/// Impls of [`Wrap`] for entries with one handler.
macro_rules! wrap_handler {
    ($($Entry:ident: $Kind:ident),*) => { $(
        impl<M: $Kind, H, T: $crate::table::Wrap> $crate::table::Wrap for $Entry<M, H, T> {
            type In<L: Layer> = $Entry<M, Wrapped<H, L>, T::In<L>>;
            fn wrap<L: Layer>(self, around: &mut impl FnMut(Registration) -> L::Around) -> Self::In<L> {
                let own = around(Registration::new::<M, H>(Kind::$Kind));
                $Entry::before(Wrapped::new(self.handler, own), self.next.wrap(around))
            }
            fn rewrap<L: Layer, N: Layer>(
                wrapped: Self::In<L>,
                around: &mut impl FnMut(Registration, L::Around) -> N::Around,
            ) -> Self::In<N> {
                let registration = Registration::new::<M, Wrapped<H, L>>(Kind::$Kind);
                let handler = wrapped.handler.map(|inner| around(registration, inner));
                $Entry::before(handler, T::rewrap(wrapped.next, around))
            }
        }
    )* };
}
/// Impls of [`Wrap`] for entries with a list of subscribers.
macro_rules! wrap_subscribers {
    ($($Entry:ident),*) => { $(
        impl<E: Event, S: $crate::table::WrapEach, T: $crate::table::Wrap> $crate::table::Wrap for $Entry<E, S, T> {
            type In<L: Layer> = $Entry<E, S::In<L>, T::In<L>>;
            fn wrap<L: Layer>(self, around: &mut impl FnMut(Registration) -> L::Around) -> Self::In<L> {
                $Entry::before(self.handler.wrap_each::<E, L>(around), self.next.wrap(around))
            }
            fn rewrap<L: Layer, N: Layer>(
                wrapped: Self::In<L>,
                around: &mut impl FnMut(Registration, L::Around) -> N::Around,
            ) -> Self::In<N> {
                let subscribers = S::rewrap_each::<E, L, N>(wrapped.handler, around);
                $Entry::before(subscribers, T::rewrap(wrapped.next, around))
            }
        }
    )* };
}
#[cfg(feature = "async")]
pub(crate) use {wrap_handler, wrap_subscribers};
wrap_handler!(QueryEntry: Query, CommandEntry: Command);
wrap_subscribers!(EventEntry);

/// Declares [`Within`], with a parameter for each slot.
macro_rules! within {
    ($($i:tt $Slot:ident $Into:ident,)*) => {
        /// One level of the table within a layer.
        pub struct Within<L: Layer, $($Slot: Wrap),*>($($Slot::In<L>),*);

        impl<L: Layer, $($Slot: Wrap<In<L>: Clone>),*> Clone for Within<L, $($Slot),*> {
            fn clone(&self) -> Self {
                Within($(self.$i.clone()),*)
            }
        }
        impl<$($Slot: Wrap),*> Wrap for Node<$($Slot),*> {
            type In<L: Layer> = Within<L, $($Slot),*>;
            fn wrap<L: Layer>(self, around: &mut impl FnMut(Registration) -> L::Around) -> Self::In<L> {
                Within($(self.$i.wrap(around)),*)
            }
            fn rewrap<L: Layer, N: Layer>(
                wrapped: Self::In<L>,
                around: &mut impl FnMut(Registration, L::Around) -> N::Around,
            ) -> Self::In<N> {
                Within($($Slot::rewrap(wrapped.$i, around)),*)
            }
        }
        impl<Inner: Layer, $($Slot: Wrap),*> Wrap for Within<Inner, $($Slot),*> {
            type In<L: Layer> = Within<Stack<Inner, L>, $($Slot),*>;
            fn wrap<L: Layer>(self, around: &mut impl FnMut(Registration) -> L::Around) -> Self::In<L> {
                let around = &mut |registration, inner| Stack(inner, around(registration));
                Within($($Slot::rewrap::<Inner, Stack<Inner, L>>(self.$i, around)),*)
            }
            fn rewrap<L: Layer, N: Layer>(
                wrapped: Self::In<L>,
                around: &mut impl FnMut(Registration, L::Around) -> N::Around,
            ) -> Self::In<N> {
                let around = &mut |registration, Stack(inner, outer)| Stack(inner, around(registration, outer));
                Within($($Slot::rewrap::<Stack<Inner, L>, Stack<Inner, N>>(wrapped.$i, around)),*)
            }
        }

        impl<L: Layer, $($Slot: Wrap<In<L>: Wired<B>>,)* B> Wired<B> for Within<L, $($Slot),*> {}
        impl<L: Layer, $($Slot: Wrap<In<L>: Registrations>),*> Registrations for Within<L, $($Slot),*> {
            fn each(visit: &mut dyn FnMut(Registration)) {
                $($Slot::In::<L>::each(visit);)*
            }
        }

        impl<L: Layer, $($Slot: Wrap),*> MergeInto<Free> for Within<L, $($Slot),*> {
            type Out = Self;
            #[inline]
            fn merge_into(self, _: Free) -> Self {
                self
            }
        }
        impl<L: Layer, $($Slot: Wrap<In<L>: MergeInto<$Into>>,)* $($Into),*> MergeInto<Node<$($Into),*>> for Within<L, $($Slot),*> {
            type Out = Node<$(<$Slot::In<L> as MergeInto<$Into>>::Out),*>;
            #[inline]
            fn merge_into(self, table: Node<$($Into),*>) -> Self::Out {
                Node($(self.$i.merge_into(table.$i)),*)
            }
        }
        impl<L: Layer, $($Slot: MergeInto<$Into::In<L>>,)* $($Into: Wrap),*> MergeInto<Within<L, $($Into),*>> for Node<$($Slot),*> {
            type Out = Node<$($Slot::Out),*>;
            #[inline]
            fn merge_into(self, table: Within<L, $($Into),*>) -> Self::Out {
                Node($(self.$i.merge_into(table.$i)),*)
            }
        }
        impl<L: Layer, N: Layer, $($Slot: Wrap<In<L>: MergeInto<$Into::In<N>>>,)* $($Into: Wrap),*> MergeInto<Within<N, $($Into),*>>
            for Within<L, $($Slot),*>
        {
            type Out = Node<$(<$Slot::In<L> as MergeInto<$Into::In<N>>>::Out),*>;
            #[inline]
            fn merge_into(self, table: Within<N, $($Into),*>) -> Self::Out {
                Node($(self.$i.merge_into(table.$i)),*)
            }
        }

        impl<L: Layer, $($Slot: Wrap<In<L>: Fit<()>>),*> Fit<Free> for Within<L, $($Slot),*> {
            #[inline]
            fn fit(self) -> Free {
                $(self.$i.fit();)*
                Free
            }
        }
        impl<L: Layer, $($Into: Wrap),*> Fit<Within<L, $($Into),*>> for Free
        where
            Buckets: Fit<Within<L, $($Into),*>>,
        {
            #[inline]
            fn fit(self) -> Within<L, $($Into),*> {
                BUCKETS.fit()
            }
        }
        impl<L: Layer, $($Slot: Wrap<In<L>: Fit<$Into>>,)* $($Into),*> Fit<Node<$($Into),*>> for Within<L, $($Slot),*> {
            #[inline]
            fn fit(self) -> Node<$($Into),*> {
                Node($(self.$i.fit()),*)
            }
        }
        impl<L: Layer, $($Slot: Fit<$Into::In<L>>,)* $($Into: Wrap),*> Fit<Within<L, $($Into),*>> for Node<$($Slot),*> {
            #[inline]
            fn fit(self) -> Within<L, $($Into),*> {
                Within($(self.$i.fit()),*)
            }
        }
        impl<L: Layer, N: Layer, $($Slot: Wrap<In<L>: Fit<$Into::In<N>>>,)* $($Into: Wrap),*> Fit<Within<N, $($Into),*>>
            for Within<L, $($Slot),*>
        {
            #[inline]
            fn fit(self) -> Within<N, $($Into),*> {
                Within($(self.$i.fit()),*)
            }
        }
    };
}
#[rustfmt::skip]
within!(
    0 S0 T0, 1 S1 T1, 2 S2 T2, 3 S3 T3, 4 S4 T4, 5 S5 T5, 6 S6 T6, 7 S7 T7,
    8 S8 T8, 9 S9 T9, 10 S10 T10, 11 S11 T11, 12 S12 T12, 13 S13 T13, 14 S14 T14, 15 S15 T15,
);

/// Lookup and insertion in one slot.
macro_rules! one_slot {
    ([$($bi:tt $Before:ident)*] []) => {};
    ([$($bi:tt $Before:ident)*] [$i:tt $Slot:ident $($ai:tt $After:ident)*]) => {
        impl<L: Layer, $($Before: Wrap,)* $Slot: Wrap, $($After: Wrap),*> At<Digit<$i>>
            for Within<L, $($Before,)* $Slot, $($After),*>
        {
            type Slot = $Slot::In<L>;
            #[inline]
            fn at(&self) -> &$Slot::In<L> {
                &self.$i
            }
        }
        impl<L: Layer, $($Before: Wrap,)* $Slot: Wrap, $($After: Wrap,)* R> Find<Digits<$i, R>>
            for Within<L, $($Before,)* $Slot, $($After),*>
        where
            $Slot::In<L>: Find<R>,
        {
            type Found = <$Slot::In<L> as Find<R>>::Found;
            #[inline]
            fn find(&self) -> &Self::Found {
                self.$i.find()
            }
        }
        impl<L: Layer, $($Before: Wrap,)* $Slot: Wrap, $($After: Wrap,)* R, W>
            InsertInto<Within<L, $($Before,)* $Slot, $($After),*>, W> for Digits<$i, R>
        where
            R: InsertInto<$Slot::In<L>, W>,
        {
            type Out = Node<$($Before::In<L>,)* R::Out, $($After::In<L>),*>;
            #[inline]
            fn insert(table: Within<L, $($Before,)* $Slot, $($After),*>, entry: W) -> Self::Out {
                Node($(table.$bi,)* R::insert(table.$i, entry), $(table.$ai),*)
            }
        }
        one_slot!([$($bi $Before)* $i $Slot] [$($ai $After)*]);
    };
}
one_slot!([] [0 S0 1 S1 2 S2 3 S3 4 S4 5 S5 6 S6 7 S7 8 S8 9 S9 10 S10 11 S11 12 S12 13 S13 14 S14 15 S15]);
