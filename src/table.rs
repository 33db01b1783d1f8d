//! Key → bucket: insert, find, merge.
//!
//! ```text
//! Node ─ first digit ─▶ Node ─ second digit ─▶ HList of entries, told apart by the rest of the key
//!   └──────────────▶ Empty (no key begins so)
//! ```
//!
//! A lookup always succeeds: it finds an entry or [`Missing`]. Whether what it found can do the work
//! is a bound on the result, so errors name the message and not the table's insides.

use crate::builder::{OnCommand, OnEvent, OnQuery};
use crate::handler::{CommandHandler, EventHandler, QueryHandler};
use crate::key::{Digit, InBucket, Key, Other, Rest, Same};
use crate::message::{Command, Event, EventOutput, Query};
use crate::wiring::{Kind, Registration};
use core::any::type_name;
use core::marker::PhantomData;
use frunk::{HCons, HNil};

/// A slot of the first level that no key has reached.
#[derive(Clone)]
pub struct Empty;
/// What a lookup finds when nothing is registered.
pub struct Missing;
/// Sixteen slots, one for each digit.
#[rustfmt::skip]
#[derive(Clone)]
pub struct Node<S0, S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, S12, S13, S14, S15>(
    S0, S1, S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, S12, S13, S14, S15,
);
macro_rules! same_slots { ($s:ident) => { Node<$s, $s, $s, $s, $s, $s, $s, $s, $s, $s, $s, $s, $s, $s, $s, $s> }; }
macro_rules! same_values {
    ($s:ident) => {
        Node(
            $s, $s, $s, $s, $s, $s, $s, $s, $s, $s, $s, $s, $s, $s, $s, $s,
        )
    };
}
type Bare = same_slots!(HNil);
/// The table of a bus without handlers.
pub type Root = same_slots!(Empty);
pub const EMPTY: Root = same_values!(Empty);

/// What stands in a bucket.
pub trait Entry {
    type Key;
    type Rest: Rest;
}
/// What stands in a module's list.
pub trait Part {
    type Entry: Entry;
    fn entry(self) -> Self::Entry;
}

/// Total lookup by key.
pub trait Find<K> {
    type Found;
    fn find(&self) -> &Self::Found;
}
/// Adds an entry, joining it to one of the same key.
pub trait Insert<K, E> {
    type Out;
    fn insert(self, entry: E) -> Self::Out;
}
/// Joins an entry to an earlier one of the same key: only topics can.
#[diagnostic::on_unimplemented(
    message = "`{Self}` and `{E}` are registered under one name",
    note = "two messages share a name or its hash: give one of them its own with `name = \"…\"`"
)]
pub trait Join<E> {
    type Out;
    fn join(self, entry: E) -> Self::Out;
}
/// Merges two tables, slot by slot.
pub trait Merge<T> {
    type Out;
    fn merge(self, other: T) -> Self::Out;
}
/// Folds a module's list into a table.
pub trait Collect<Table> {
    type Out;
    fn collect(self, table: Table) -> Self::Out;
}
/// Every handler's needs are met by the bus `B`.
pub trait Wired<B> {}
/// Lists what is registered.
pub trait Registrations {
    fn each(visit: &mut dyn FnMut(Registration));
}

// ----- lookup

impl<K> Find<K> for Empty {
    type Found = Missing;
    #[inline]
    fn find(&self) -> &Missing {
        &Missing
    }
}
impl<K> Find<K> for HNil {
    type Found = Missing;
    #[inline]
    fn find(&self) -> &Missing {
        &Missing
    }
}

pub trait FindIf<C, K> {
    type Found;
    fn find_if(&self) -> &Self::Found;
}
impl<E, T, K> FindIf<Same, K> for HCons<E, T> {
    type Found = E;
    #[inline]
    fn find_if(&self) -> &E {
        &self.head
    }
}
impl<E, T: Find<K>, K> FindIf<Other, K> for HCons<E, T> {
    type Found = T::Found;
    #[inline]
    fn find_if(&self) -> &T::Found {
        self.tail.find()
    }
}
impl<E: Entry, T, K> Find<K> for HCons<E, T>
where
    K: Rest,
    Self: FindIf<<E::Rest as Rest>::Is<K>, K>,
{
    type Found = <Self as FindIf<<E::Rest as Rest>::Is<K>, K>>::Found;
    #[inline]
    fn find(&self) -> &Self::Found {
        self.find_if()
    }
}

impl<A, B, E> Insert<Key<A, B>, E> for Empty
where
    Bare: Insert<Key<A, B>, E>,
{
    type Out = <Bare as Insert<Key<A, B>, E>>::Out;
    #[inline]
    fn insert(self, e: E) -> Self::Out {
        {
            let bare: Bare = same_values!(HNil);
            bare.insert(e)
        }
    }
}
impl<K, E> Insert<K, E> for HNil {
    type Out = HCons<E, HNil>;
    #[inline]
    fn insert(self, e: E) -> Self::Out {
        HCons {
            head: e,
            tail: HNil,
        }
    }
}
pub trait InsertIf<C, K, E> {
    type Out;
    fn insert_if(self, e: E) -> Self::Out;
}
impl<H: Join<E>, T, K, E> InsertIf<Same, K, E> for HCons<H, T> {
    type Out = HCons<H::Out, T>;
    #[inline]
    fn insert_if(self, e: E) -> Self::Out {
        HCons {
            head: self.head.join(e),
            tail: self.tail,
        }
    }
}
impl<H, T: Insert<K, E>, K, E> InsertIf<Other, K, E> for HCons<H, T> {
    type Out = HCons<H, T::Out>;
    #[inline]
    fn insert_if(self, e: E) -> Self::Out {
        HCons {
            head: self.head,
            tail: self.tail.insert(e),
        }
    }
}
impl<H: Entry, T, K, E> Insert<K, E> for HCons<H, T>
where
    K: Rest,
    Self: InsertIf<<H::Rest as Rest>::Is<K>, K, E>,
{
    type Out = <Self as InsertIf<<H::Rest as Rest>::Is<K>, K, E>>::Out;
    #[inline]
    fn insert(self, e: E) -> Self::Out {
        self.insert_if(e)
    }
}

macro_rules! slots {
    ([$($bn:tt $B:ident)*] []) => {};
    ([$($bn:tt $B:ident)*] [$n:tt $S:ident $($an:tt $A:ident)*]) => {
    impl<$($B,)* $S, $($A,)* R> Find<Key<Digit<$n>, R>> for Node<$($B,)* $S, $($A),*> where $S: Find<R> {
        type Found = $S::Found;
        #[inline] fn find(&self) -> &Self::Found { self.$n.find() }
    }
    impl<$($B,)* $S, $($A,)* R, Item> Insert<Key<Digit<$n>, R>, Item> for Node<$($B,)* $S, $($A),*> where $S: Insert<R, Item> {
        type Out = Node<$($B,)* $S::Out, $($A),*>;
        #[inline] fn insert(self, e: Item) -> Self::Out { Node($(self.$bn,)* self.$n.insert(e), $(self.$an),*) }
    }
    slots!([$($bn $B)* $n $S] [$($an $A)*]);
    };
}
slots!([] [0 S0 1 S1 2 S2 3 S3 4 S4 5 S5 6 S6 7 S7 8 S8 9 S9 10 S10 11 S11 12 S12 13 S13 14 S14 15 S15]);
macro_rules! all { ($($n:tt $S:ident $U:ident,)*) => {
    impl<$($S: Registrations),*> Registrations for Node<$($S),*> {
        fn each(visit: &mut dyn FnMut(Registration)) { $($S::each(visit);)* }
    }
    impl<$($S,)* Bus> Wired<Bus> for Node<$($S),*> where $($S: Wired<Bus>),* {}
    impl<$($S,)* $($U),*> Merge<Node<$($U),*>> for Node<$($S),*> where $($S: Merge<$U>),* {
        type Out = Node<$($S::Out),*>;
        #[inline] fn merge(self, t: Node<$($U),*>) -> Self::Out { Node($(self.$n.merge(t.$n)),*) }
    }
} }
all!(0 S0 U0, 1 S1 U1, 2 S2 U2, 3 S3 U3, 4 S4 U4, 5 S5 U5, 6 S6 U6, 7 S7 U7, 8 S8 U8, 9 S9 U9, 10 S10 U10, 11 S11 U11, 12 S12 U12, 13 S13 U13, 14 S14 U14, 15 S15 U15,);
impl<B> Wired<B> for Empty {}
impl<B> Wired<B> for HNil {}
impl<B, E: Wired<B>, T: Wired<B>> Wired<B> for HCons<E, T> {}

// merge: dispatch on the left
impl<T> Merge<T> for Empty {
    type Out = T;
    #[inline]
    fn merge(self, t: T) -> T {
        t
    }
}
impl<T> Merge<T> for HNil {
    type Out = T;
    #[inline]
    fn merge(self, t: T) -> T {
        t
    }
}
macro_rules! more { ($($S:ident)*) => { impl<$($S),*> Merge<Empty> for Node<$($S),*> { type Out = Self; #[inline] fn merge(self, _: Empty) -> Self { self } } } }
more!(S0 S1 S2 S3 S4 S5 S6 S7 S8 S9 S10 S11 S12 S13 S14 S15);
impl<E, T> Merge<HNil> for HCons<E, T> {
    type Out = Self;
    #[inline]
    fn merge(self, _: HNil) -> Self {
        self
    }
}
impl<E, T, F: Entry, U> Merge<HCons<F, U>> for HCons<E, T>
where
    Self: Insert<F::Rest, F>,
    <Self as Insert<F::Rest, F>>::Out: Merge<U>,
{
    type Out = <<Self as Insert<F::Rest, F>>::Out as Merge<U>>::Out;
    #[inline]
    fn merge(self, t: HCons<F, U>) -> Self::Out {
        self.insert(t.head).merge(t.tail)
    }
}

type Into<A, P> = <A as Insert<<<P as Part>::Entry as Entry>::Key, <P as Part>::Entry>>::Out;
impl<A> Collect<A> for HNil {
    type Out = A;
    #[inline]
    fn collect(self, table: A) -> A {
        table
    }
}
impl<A, P: Part, T> Collect<A> for HCons<P, T>
where
    A: Insert<<P::Entry as Entry>::Key, P::Entry>,
    T: Collect<Into<A, P>>,
{
    type Out = <T as Collect<Into<A, P>>>::Out;
    #[inline]
    fn collect(self, table: A) -> Self::Out {
        self.tail.collect(table.insert(self.head.entry()))
    }
}

impl Registrations for Empty {
    fn each(_: &mut dyn FnMut(Registration)) {}
}
impl Registrations for HNil {
    fn each(_: &mut dyn FnMut(Registration)) {}
}
impl<E: Registrations, T: Registrations> Registrations for HCons<E, T> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        E::each(visit);
        T::each(visit);
    }
}

// ----- entries

/// Holds the handler of query `M`.
#[diagnostic::on_unimplemented(
    message = "no handler is registered for query `{M}`",
    label = "nobody handles `{M}`",
    note = "register one: `.register_query::<{M}, _>(handler)`, `.register_query_fn(|message: {M}| …)`, or mount a module that has one"
)]
pub trait Respond<M: Query, B> {
    fn respond(&self, message: M, bus: &B) -> M::Response;
}
impl<M: Query, H: QueryHandler<M, B>, B> Respond<M, B> for OnQuery<M, H> {
    #[inline]
    fn respond(&self, message: M, bus: &B) -> M::Response {
        self.handler.handle(message, bus)
    }
}
/// Never implemented: a second handler.
#[diagnostic::on_unimplemented(
    message = "query `{M}` already has a handler",
    note = "a query has one handler: remove one of the registrations, or give the message a name of its own with `name = \"…\"`"
)]
pub trait SecondQueryHandler<M> {}
impl<M, H, E: SecondQueryHandler<M>> Join<E> for OnQuery<M, H> {
    type Out = Self;
    fn join(self, _: E) -> Self {
        self
    }
}
impl<M: Query, H> Entry for OnQuery<M, H>
where
    M::Key: InBucket,
{
    type Key = M::Key;
    type Rest = <M::Key as InBucket>::Rest;
}
impl<M: Query, H> Part for OnQuery<M, H>
where
    M::Key: InBucket,
{
    type Entry = Self;
    #[inline]
    fn entry(self) -> Self {
        self
    }
}
impl<M: Query, H: QueryHandler<M, B>, B> Wired<B> for OnQuery<M, H> {}
impl<M: Query, H> Registrations for OnQuery<M, H> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        visit(Registration {
            kind: Kind::Query,
            message: M::NAME,
            handler: type_name::<H>(),
        });
    }
}

/// Holds the handler of command `M`.
#[diagnostic::on_unimplemented(
    message = "no handler is registered for command `{M}`",
    label = "nobody handles `{M}`",
    note = "register one: `.register_command::<{M}, _>(handler)`, `.register_command_fn(|message: {M}| …)`, or mount a module that has one"
)]
pub trait Carry<M: Command, B> {
    fn carry(&self, message: M, bus: &B) -> M::Output;
}
impl<M: Command, H: CommandHandler<M, B>, B> Carry<M, B> for OnCommand<M, H> {
    #[inline]
    fn carry(&self, message: M, bus: &B) -> M::Output {
        self.handler.handle(message, bus)
    }
}
/// Never implemented: a second handler.
#[diagnostic::on_unimplemented(
    message = "command `{M}` already has a handler",
    note = "a command has one handler: remove one of the registrations, or give the message a name of its own with `name = \"…\"`"
)]
pub trait SecondCommandHandler<M> {}
impl<M, H, E: SecondCommandHandler<M>> Join<E> for OnCommand<M, H> {
    type Out = Self;
    fn join(self, _: E) -> Self {
        self
    }
}
impl<M: Command, H> Entry for OnCommand<M, H>
where
    M::Key: InBucket,
{
    type Key = M::Key;
    type Rest = <M::Key as InBucket>::Rest;
}
impl<M: Command, H> Part for OnCommand<M, H>
where
    M::Key: InBucket,
{
    type Entry = Self;
    #[inline]
    fn entry(self) -> Self {
        self
    }
}
impl<M: Command, H: CommandHandler<M, B>, B> Wired<B> for OnCommand<M, H> {}
impl<M: Command, H> Registrations for OnCommand<M, H> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        visit(Registration {
            kind: Kind::Command,
            message: M::NAME,
            handler: type_name::<H>(),
        });
    }
}

// ----- topics

/// An event and its subscribers, the newest first.
pub struct Topic<E, S> {
    subscribers: S,
    event: PhantomData<fn(E)>,
}
impl<E, S: Clone> Clone for Topic<E, S> {
    fn clone(&self) -> Self {
        Topic {
            subscribers: self.subscribers.clone(),
            event: PhantomData,
        }
    }
}
impl<E: Event, S> Entry for Topic<E, S>
where
    E::Key: InBucket,
{
    type Key = E::Key;
    type Rest = <E::Key as InBucket>::Rest;
}
impl<E: Event, H> Part for OnEvent<E, H>
where
    E::Key: InBucket,
{
    type Entry = Topic<E, HCons<H, HNil>>;
    #[inline]
    fn entry(self) -> Self::Entry {
        Topic {
            subscribers: HCons {
                head: self.handler,
                tail: HNil,
            },
            event: PhantomData,
        }
    }
}
impl<E, S, N: Append<S>> Join<Topic<E, N>> for Topic<E, S> {
    type Out = Topic<E, N::Out>;
    #[inline]
    fn join(self, newer: Topic<E, N>) -> Self::Out {
        Topic {
            subscribers: newer.subscribers.append(self.subscribers),
            event: PhantomData,
        }
    }
}
/// Puts a list before another.
pub trait Append<S> {
    type Out;
    fn append(self, older: S) -> Self::Out;
}
impl<S> Append<S> for HNil {
    type Out = S;
    #[inline]
    fn append(self, older: S) -> S {
        older
    }
}
impl<H, T: Append<S>, S> Append<S> for HCons<H, T> {
    type Out = HCons<H, T::Out>;
    #[inline]
    fn append(self, older: S) -> Self::Out {
        HCons {
            head: self.head,
            tail: self.tail.append(older),
        }
    }
}

/// Subscribers, run from the oldest; returns how many there are.
pub trait Subscribers<E: Event, B> {
    fn deliver(&self, event: &E, bus: &B, log: &mut <E::Output as EventOutput>::Log) -> usize;
}
impl<E: Event, B> Subscribers<E, B> for HNil {
    #[inline]
    fn deliver(&self, _: &E, _: &B, _: &mut <E::Output as EventOutput>::Log) -> usize {
        0
    }
}
impl<E: Event, B, H: EventHandler<E, B>, T: Subscribers<E, B>> Subscribers<E, B> for HCons<H, T> {
    #[inline]
    fn deliver(&self, event: &E, bus: &B, log: &mut <E::Output as EventOutput>::Log) -> usize {
        let position = self.tail.deliver(event, bus, log);
        self.head
            .handle(event, bus)
            .note(log, position, type_name::<H>());
        position + 1
    }
}
impl<E: Event, S: Subscribers<E, B>, B> Wired<B> for Topic<E, S> {}

/// What was found can be published to: a topic, or nothing.
pub trait Publish<E: Event, B> {
    fn publish(&self, event: &E, bus: &B) -> <E::Output as EventOutput>::Published;
}
impl<E: Event, B> Publish<E, B> for Missing {
    #[inline]
    fn publish(&self, _: &E, _: &B) -> <E::Output as EventOutput>::Published {
        E::Output::finish(Default::default(), 0, E::NAME)
    }
}
impl<E: Event, B, S: Subscribers<E, B>> Publish<E, B> for Topic<E, S> {
    #[inline]
    fn publish(&self, event: &E, bus: &B) -> <E::Output as EventOutput>::Published {
        let mut log = Default::default();
        let subscribers = self.subscribers.deliver(event, bus, &mut log);
        E::Output::finish(log, subscribers, E::NAME)
    }
}
impl<E: Event, S: Names> Registrations for Topic<E, S> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        S::each(&mut |handler| {
            visit(Registration {
                kind: Kind::Event,
                message: E::NAME,
                handler,
            })
        });
    }
}
/// The type names of a list, the oldest first.
pub trait Names {
    fn each(visit: &mut dyn FnMut(&'static str));
}
impl Names for HNil {
    fn each(_: &mut dyn FnMut(&'static str)) {}
}
impl<H, T: Names> Names for HCons<H, T> {
    fn each(visit: &mut dyn FnMut(&'static str)) {
        T::each(visit);
        visit(type_name::<H>());
    }
}
