//! The list of the subscribers of an event.
//!
//! The list is a number in base eight whose digits are 1 to 8. The lowest digit holds as many
//! handlers, the oldest first. Each higher digit holds as many branches, which are complete lists of eight
//! elements of the digit below it. [`Many`] joins the digits, the highest first.
//!
//! ```text
//!  3 subscribers    Handlers3<a, b, c>
//!  8                Handlers8<a, …, h>
//!  9                Many<Branches1<Handlers8<a, …, h>>, Handlers1<i>>
//! 18                Many<Branches2<Handlers8<a, …, h>, Handlers8<i, …, p>>, Handlers2<q, r>>
//! ```
//!
//! One more subscriber is one more element of the lowest digit; eight elements are first carried to the
//! next one. So a list of N subscribers is log₈ N deep, and so is each proof about it. A plain list would
//! be N deep, and the compiler's `recursion_limit` is 128. The subscribers of most events are few, and
//! then the list is a single node in the type of the bus.
//!
//! The list does not depend on the way of registration: a module's subscribers are appended one by one.

use crate::handler::EventHandler;
use crate::layer::{Layer, Wrapped};
use crate::message::{Event, EventOutput};
use crate::wiring::{Kind, Registration, handler_name};

macro_rules! digits {
    ($($Handlers:ident $Branches:ident [$($S:ident)*] $Last:ident;)*) => { $(
        /// Subscribers of an event, the oldest first.
        #[derive(Clone)]
        pub struct $Handlers<$($S,)* $Last: ?Sized>($(pub(crate) $S,)* pub(crate) $Last);
        /// Branches of subscribers of an event, the oldest first.
        #[derive(Clone)]
        pub struct $Branches<$($S,)* $Last: ?Sized>($(pub(crate) $S,)* pub(crate) $Last);
    )* };
}
digits! {
    Handlers1 Branches1 [] S0;
    Handlers2 Branches2 [S0] S1;
    Handlers3 Branches3 [S0 S1] S2;
    Handlers4 Branches4 [S0 S1 S2] S3;
    Handlers5 Branches5 [S0 S1 S2 S3] S4;
    Handlers6 Branches6 [S0 S1 S2 S3 S4] S5;
    Handlers7 Branches7 [S0 S1 S2 S3 S4 S5] S6;
    Handlers8 Branches8 [S0 S1 S2 S3 S4 S5 S6] S7;
}
/// The higher digits of a list of subscribers, and its lowest digit.
#[derive(Clone)]
pub struct Many<Older, Newer: ?Sized>(pub(crate) Older, pub(crate) Newer);

/// Calls a macro with each digit of handlers, the same digit of branches, and the index and type of each
/// element.
macro_rules! for_each_digit {
    ($macro:ident) => {
        $macro!(Handlers1 Branches1 0 S0);
        $macro!(Handlers2 Branches2 0 S0 1 S1);
        $macro!(Handlers3 Branches3 0 S0 1 S1 2 S2);
        $macro!(Handlers4 Branches4 0 S0 1 S1 2 S2 3 S3);
        $macro!(Handlers5 Branches5 0 S0 1 S1 2 S2 3 S3 4 S4);
        $macro!(Handlers6 Branches6 0 S0 1 S1 2 S2 3 S3 4 S4 5 S5);
        $macro!(Handlers7 Branches7 0 S0 1 S1 2 S2 3 S3 4 S4 5 S5 6 S6);
        $macro!(Handlers8 Branches8 0 S0 1 S1 2 S2 3 S3 4 S4 5 S5 6 S6 7 S7);
    };
}
#[cfg(feature = "async")]
pub(crate) use for_each_digit;

// ----- one more subscriber

/// Adds one element to a list: a handler, or to a list of branches a branch.
pub trait Push<X> {
    type Out;
    fn push(self, newest: X) -> Self::Out;
}
/// Appends the subscribers of a list to the list `S`, one by one.
pub trait AppendTo<S> {
    type Out;
    fn append_to(self, older: S) -> Self::Out;
}
impl<H, S: Push<H>> AppendTo<S> for Handlers1<H> {
    type Out = S::Out;
    #[inline]
    fn append_to(self, older: S) -> S::Out {
        older.push(self.0)
    }
}
impl<G: AppendTo<S>, S> AppendTo<S> for Branches1<G> {
    type Out = G::Out;
    #[inline]
    fn append_to(self, older: S) -> G::Out {
        self.0.append_to(older)
    }
}
impl<Older: AppendTo<S>, Newer: AppendTo<Older::Out>, S> AppendTo<S> for Many<Older, Newer> {
    type Out = Newer::Out;
    #[inline]
    fn append_to(self, older: S) -> Self::Out {
        self.1.append_to(self.0.append_to(older))
    }
}

/// A digit that is not full, and the next one, whose last element has the index `$n`.
macro_rules! next {
    ($Handlers:ident $Branches:ident -> $MoreHandlers:ident $MoreBranches:ident $n:tt: $($i:tt $S:ident)*) => {
        next!(@push $Handlers -> $MoreHandlers: $($i $S)*);
        next!(@push $Branches -> $MoreBranches: $($i $S)*);
        impl<$($S,)* H, Into> AppendTo<Into> for $MoreHandlers<$($S,)* H>
        where
            $Handlers<$($S),*>: AppendTo<Into, Out: Push<H>>,
        {
            type Out = <<$Handlers<$($S),*> as AppendTo<Into>>::Out as Push<H>>::Out;
            #[inline]
            fn append_to(self, older: Into) -> Self::Out {
                $Handlers($(self.$i),*).append_to(older).push(self.$n)
            }
        }
        impl<$($S,)* G, Into> AppendTo<Into> for $MoreBranches<$($S,)* G>
        where
            $Branches<$($S),*>: AppendTo<Into>,
            G: AppendTo<<$Branches<$($S),*> as AppendTo<Into>>::Out>,
        {
            type Out = G::Out;
            #[inline]
            fn append_to(self, older: Into) -> Self::Out {
                self.$n.append_to($Branches($(self.$i),*).append_to(older))
            }
        }
    };
    (@push $Digit:ident -> $More:ident: $($i:tt $S:ident)*) => {
        impl<$($S,)* X> Push<X> for $Digit<$($S),*> {
            type Out = $More<$($S,)* X>;
            #[inline]
            fn push(self, newest: X) -> Self::Out {
                $More($(self.$i,)* newest)
            }
        }
        impl<$($S,)* Older, X> Push<X> for Many<Older, $Digit<$($S),*>> {
            type Out = Many<Older, $More<$($S,)* X>>;
            #[inline]
            fn push(self, newest: X) -> Self::Out {
                Many(self.0, self.1.push(newest))
            }
        }
    };
}
next!(Handlers1 Branches1 -> Handlers2 Branches2 1: 0 S0);
next!(Handlers2 Branches2 -> Handlers3 Branches3 2: 0 S0 1 S1);
next!(Handlers3 Branches3 -> Handlers4 Branches4 3: 0 S0 1 S1 2 S2);
next!(Handlers4 Branches4 -> Handlers5 Branches5 4: 0 S0 1 S1 2 S2 3 S3);
next!(Handlers5 Branches5 -> Handlers6 Branches6 5: 0 S0 1 S1 2 S2 3 S3 4 S4);
next!(Handlers6 Branches6 -> Handlers7 Branches7 6: 0 S0 1 S1 2 S2 3 S3 4 S4 5 S5);
next!(Handlers7 Branches7 -> Handlers8 Branches8 7: 0 S0 1 S1 2 S2 3 S3 4 S4 5 S5 6 S6);

/// A full digit, which is carried, and the lowest one, which follows it.
macro_rules! carry {
    ($($Full:ident -> $First:ident)*) => { $(
        impl<A, B, C, D, E, F, G, H, X> Push<X> for $Full<A, B, C, D, E, F, G, H> {
            type Out = Many<Branches1<Self>, $First<X>>;
            #[inline]
            fn push(self, newest: X) -> Self::Out {
                Many(Branches1(self), $First(newest))
            }
        }
        impl<A, B, C, D, E, F, G, H, Older, X> Push<X>
            for Many<Older, $Full<A, B, C, D, E, F, G, H>>
        where
            Older: Push<$Full<A, B, C, D, E, F, G, H>>,
        {
            type Out = Many<Older::Out, $First<X>>;
            #[inline]
            fn push(self, newest: X) -> Self::Out {
                Many(self.0.push(self.1), $First(newest))
            }
        }
    )* };
}
carry!(Handlers8 -> Handlers1 Branches8 -> Branches1);

// ----- publishing, and the wiring

/// The log of the subscribers of event `E`.
pub type LogOf<E> = <<E as Event>::Output as EventOutput>::Log;

/// A list of subscribers. `deliver` runs them in order. `position` is that of the first; the result is
/// the position after the last.
pub trait Subscribers<E: Event, B> {
    fn deliver(&self, event: &E, bus: &B, log: &mut LogOf<E>, position: usize) -> usize;
}
impl<E: Event, B> Subscribers<E, B> for () {
    #[inline]
    fn deliver(&self, _: &E, _: &B, _: &mut LogOf<E>, position: usize) -> usize {
        position
    }
}
/// A list of subscribers of which each can be put within a layer; see [`Wrap`](super::Wrap).
pub trait WrapEach {
    type In<L: Layer>;
    fn wrap_each<E: Event, L: Layer>(
        self,
        around: &mut impl FnMut(Registration) -> L::Around,
    ) -> Self::In<L>;
    fn rewrap_each<E: Event, L: Layer, N: Layer>(
        wrapped: Self::In<L>,
        around: &mut impl FnMut(Registration, L::Around) -> N::Around,
    ) -> Self::In<N>;
}
/// Visits the registration of each subscriber of a list, the oldest first.
pub trait EachName {
    fn each<E: Event>(visit: &mut dyn FnMut(Registration));
}

macro_rules! handlers {
    ($Handlers:ident $Branches:ident $($i:tt $S:ident)*) => {
        impl<E: Event, B, $($S: EventHandler<E, B>),*> Subscribers<E, B> for $Handlers<$($S),*> {
            #[inline]
            fn deliver(&self, event: &E, bus: &B, log: &mut LogOf<E>, position: usize) -> usize {
                $(
                    self.$i.handle(event, bus).note(log, position, handler_name::<$S>);
                    let position = position + 1;
                )*
                position
            }
        }
        impl<$($S),*> EachName for $Handlers<$($S),*> {
            fn each<E: Event>(visit: &mut dyn FnMut(Registration)) {
                $(visit(Registration::new::<E, $S>(Kind::Event));)*
            }
        }
        impl<$($S),*> WrapEach for $Handlers<$($S),*> {
            type In<L: Layer> = $Handlers<$(Wrapped<$S, L>),*>;
            fn wrap_each<E: Event, L: Layer>(
                self,
                around: &mut impl FnMut(Registration) -> L::Around,
            ) -> Self::In<L> {
                $Handlers($(Wrapped::new(self.$i, around(Registration::new::<E, $S>(Kind::Event)))),*)
            }
            fn rewrap_each<E: Event, L: Layer, N: Layer>(
                wrapped: Self::In<L>,
                around: &mut impl FnMut(Registration, L::Around) -> N::Around,
            ) -> Self::In<N> {
                $Handlers($(wrapped.$i.map(|inner| {
                    around(Registration::new::<E, Wrapped<$S, L>>(Kind::Event), inner)
                })),*)
            }
        }
        branches!($Branches $($i $S)*);
    };
}
macro_rules! branches {
    ($Branches:ident $($i:tt $S:ident)*) => {
        impl<E: Event, B, $($S: Subscribers<E, B>),*> Subscribers<E, B> for $Branches<$($S),*> {
            #[inline]
            fn deliver(&self, event: &E, bus: &B, log: &mut LogOf<E>, position: usize) -> usize {
                $(let position = self.$i.deliver(event, bus, log, position);)*
                position
            }
        }
        impl<$($S: WrapEach),*> WrapEach for $Branches<$($S),*> {
            type In<L: Layer> = $Branches<$($S::In<L>),*>;
            fn wrap_each<E: Event, L: Layer>(
                self,
                around: &mut impl FnMut(Registration) -> L::Around,
            ) -> Self::In<L> {
                $Branches($(self.$i.wrap_each::<E, L>(around)),*)
            }
            fn rewrap_each<E: Event, L: Layer, N: Layer>(
                wrapped: Self::In<L>,
                around: &mut impl FnMut(Registration, L::Around) -> N::Around,
            ) -> Self::In<N> {
                $Branches($($S::rewrap_each::<E, L, N>(wrapped.$i, around)),*)
            }
        }
        impl<$($S: EachName),*> EachName for $Branches<$($S),*> {
            fn each<E: Event>(visit: &mut dyn FnMut(Registration)) {
                $($S::each::<E>(visit);)*
            }
        }
    };
}
for_each_digit!(handlers);
branches!(Many 0 Older 1 Newer);
