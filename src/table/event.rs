//! The entry of an event: its handler is the list of its subscribers, the newest first.
//!
//! Newest first, because prepending to a list is one step for the compiler at any length. At run time
//! the list is walked from its end, so that the oldest subscriber runs first.

use super::bucket::{EventEntry, InsertIf};
use super::{Missing, Wired};
use crate::handler::EventHandler;
use crate::key::{Of, Same};
use crate::message::{Event, EventOutput, Message};
use crate::wiring::{Kind, Registration, Registrations, handler_name};
use frunk::{HCons, HNil};

/// The entry of an event with one subscriber.
pub type SingleSubscriber<E, H> = EventEntry<E, HCons<H, HNil>>;

impl<E, H> SingleSubscriber<E, H> {
    #[inline]
    pub(crate) const fn of(subscriber: H) -> Self {
        EventEntry::new(HCons {
            head: subscriber,
            tail: HNil,
        })
    }
}

impl<E, S, T, R, N: MoreSubscribers<E, S>> InsertIf<Same, R, N> for EventEntry<E, S, T> {
    type Out = N::Entry<T>;
    #[inline]
    fn insert_if(self, newer: N) -> Self::Out {
        N::entry(newer.join(self.handler), self.next)
    }
}
/// An entry of the same event `E`, whose subscribers are prepended to the list `S`.
#[diagnostic::on_unimplemented(
    message = "`{E}` and another message are registered under one name",
    label = "its name, or the hash of its name, is that of `{E}`",
    note = "give one of the two messages a name of its own with `name = \"…\"`",
    note = "two versions of a crate of messages on one bus cause this, too: `cargo tree -d` lists such crates"
)]
pub trait MoreSubscribers<E, S> {
    type Out;
    /// The entry that holds all of them, if those of `S` are synchronous.
    type Entry<T>;
    fn join(self, older: S) -> Self::Out;
    fn entry<T>(all: Self::Out, next: T) -> Self::Entry<T>;
}
impl<E, S, N: Before<S>> MoreSubscribers<E, S> for EventEntry<E, N> {
    type Out = N::Out;
    type Entry<T> = EventEntry<E, N::Out, T>;
    #[inline]
    fn join(self, older: S) -> N::Out {
        self.handler.before(older)
    }
    #[inline]
    fn entry<T>(all: N::Out, next: T) -> Self::Entry<T> {
        EventEntry::before(all, next)
    }
}
/// Prepends one list to another.
pub trait Before<S> {
    type Out;
    fn before(self, after: S) -> Self::Out;
}
impl<S> Before<S> for HNil {
    type Out = S;
    #[inline]
    fn before(self, after: S) -> S {
        after
    }
}
impl<H, T: Before<S>, S> Before<S> for HCons<H, T> {
    type Out = HCons<H, T::Out>;
    #[inline]
    fn before(self, after: S) -> Self::Out {
        HCons {
            head: self.head,
            tail: self.tail.before(after),
        }
    }
}

/// The result of a lookup of event `E`: an entry with its subscribers, or [`Missing`], which has none.
#[diagnostic::on_unimplemented(
    message = "`{E}` is registered on this bus, but not as an event",
    label = "not published here",
    note = "use `send` for a query and `execute` for a command; if two messages share a name, give one its own with `name = \"…\"`"
)]
pub(crate) trait Publish<E> {
    type Subscribers;
    fn subscribers(&self) -> &Self::Subscribers;
}
impl<E> Publish<E> for Missing {
    type Subscribers = HNil;
    #[inline]
    fn subscribers(&self) -> &HNil {
        &HNil
    }
}
impl<E, M: Message<NameKey: Of<M, E>>, S, T> Publish<E> for EventEntry<M, S, T> {
    type Subscribers = S;
    #[inline]
    fn subscribers(&self) -> &S {
        &self.handler
    }
}
/// A list of subscribers. `deliver` runs them, the oldest first, and returns their number.
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
            .note(log, position, handler_name::<H>());
        position + 1
    }
}

impl<E: Event, S: Subscribers<E, B>, T: Wired<B>, B> Wired<B> for EventEntry<E, S, T> {}
impl<E: Event, S: EachName, T: Registrations> Registrations for EventEntry<E, S, T> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        S::each::<E>(visit);
        T::each(visit);
    }
}
/// Visits the registration of each subscriber of a list, the oldest first.
pub trait EachName {
    fn each<E: Event>(visit: &mut dyn FnMut(Registration));
}
impl EachName for HNil {
    fn each<E: Event>(_: &mut dyn FnMut(Registration)) {}
}
impl<H, T: EachName> EachName for HCons<H, T> {
    fn each<E: Event>(visit: &mut dyn FnMut(Registration)) {
        T::each::<E>(visit);
        visit(Registration::new::<E, H>(Kind::Event));
    }
}
