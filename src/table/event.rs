//! The entry of an event: its handler is the [list of its subscribers](super::subscribers).

use super::bucket::{EventEntry, InsertIf};
use super::subscribers::{AppendTo, EachName, Handlers1, Subscribers};
use super::{Missing, Wired};
use crate::key::{Of, Same};
use crate::message::{Event, Message};
use crate::wiring::{Registration, Registrations};

/// The entry of an event with one subscriber.
pub type SingleSubscriber<E, H> = EventEntry<E, Handlers1<H>>;

impl<E, H> SingleSubscriber<E, H> {
    #[inline]
    pub(crate) const fn of(subscriber: H) -> Self {
        EventEntry::new(Handlers1(subscriber))
    }
}

impl<E, S, T, R, N: MoreSubscribers<E, S>> InsertIf<Same, R, N> for EventEntry<E, S, T> {
    type Out = N::Entry<T>;
    #[inline]
    fn insert_if(self, newer: N) -> Self::Out {
        newer.join(self.handler, self.next)
    }
}
/// An entry of the same event `E`, whose subscribers are appended to the list `S` of synchronous ones.
#[diagnostic::on_unimplemented(
    message = "`{E}` and another message are registered under one name",
    label = "its name, or the hash of its name, is that of `{E}`",
    note = "give one of the two messages a name of its own with `name = \"…\"`",
    note = "two versions of a crate of messages on one bus cause this, too: `cargo tree -d` lists such crates"
)]
pub trait MoreSubscribers<E, S> {
    /// The entry of all of them.
    type Entry<T>;
    fn join<T>(self, older: S, next: T) -> Self::Entry<T>;
}
impl<E, S, N: AppendTo<S>> MoreSubscribers<E, S> for EventEntry<E, N> {
    type Entry<T> = EventEntry<E, N::Out, T>;
    #[inline]
    fn join<T>(self, older: S, next: T) -> Self::Entry<T> {
        EventEntry::before(self.handler.append_to(older), next)
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
    type Subscribers = ();
    #[inline]
    fn subscribers(&self) -> &() {
        &()
    }
}
impl<E, M: Message<NameKey: Of<M, E>>, S, T> Publish<E> for EventEntry<M, S, T> {
    type Subscribers = S;
    #[inline]
    fn subscribers(&self) -> &S {
        &self.handler
    }
}

impl<E: Event, S: Subscribers<E, B>, T: Wired<B>, B> Wired<B> for EventEntry<E, S, T> {}
impl<E: Event, S: EachName, T: Registrations> Registrations for EventEntry<E, S, T> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        S::each::<E>(visit);
        T::each(visit);
    }
}
