//! The entry of an event with asynchronous subscribers, and the concurrent run of all subscribers.
//!
//! The list of subscribers is that of `table/event.rs`, the newest first, with two kinds of nodes:
//! `HCons` holds a synchronous subscriber, [`HAsync`] an asynchronous one. If the list has a node of
//! the second kind, the entry is an [`AsyncEventEntry`].

use super::{AsyncEventHandler, BusError, outcome::Outcome, refusal::HearsAtOnce};
use crate::handler::EventHandler;
use crate::key::{Other, Rest, Same};
use crate::message::{Event, EventOutput, Failure, Message};
use crate::table::{
    Before, EachName, EventEntry, Find, FindIf, Fit, InsertIf, InsertInto, MergeInto, Missing,
    MoreSubscribers, PlaceFor, Publish, Registered, RestOf, SameHandlers, Subscribers, Take,
    TakeIf, Wired, entry,
};
use crate::wiring::{Kind, Registration, Registrations, handler_name};
use alloc::vec::Vec;
use core::future::poll_fn;
use core::marker::PhantomData;
use core::pin::{Pin, pin};
use core::task::Poll;
use frunk::{HCons, HNil};

entry! {
    /// An event `M`, the list of its subscribers, of which at least one is asynchronous, the newest
    /// first, and the entries after it in its bucket.
    AsyncEventEntry
}
/// An asynchronous subscriber, and the list of the older ones.
#[derive(Clone)]
pub struct HAsync<H, T> {
    head: H,
    tail: T,
}

/// The entry of an event with a single, asynchronous subscriber.
pub(crate) type SingleAsyncSubscriber<E, H> = AsyncEventEntry<E, HAsync<H, HNil>>;
impl<E, H> SingleAsyncSubscriber<E, H> {
    #[inline]
    pub(crate) const fn of(subscriber: H) -> Self {
        AsyncEventEntry::new(HAsync {
            head: subscriber,
            tail: HNil,
        })
    }
}

// ----- one more subscriber

#[diagnostic::do_not_recommend]
impl<E, S, N: Before<S>> MoreSubscribers<E, S> for AsyncEventEntry<E, N> {
    type Out = N::Out;
    type Entry<T> = AsyncEventEntry<E, N::Out, T>;
    #[inline]
    fn join(self, older: S) -> N::Out {
        self.handler.before(older)
    }
    #[inline]
    fn entry<T>(all: N::Out, next: T) -> Self::Entry<T> {
        AsyncEventEntry::before(all, next)
    }
}
impl<E, S, T, R, N: MoreSubscribers<E, S>> InsertIf<Same, R, N> for AsyncEventEntry<E, S, T> {
    type Out = AsyncEventEntry<E, N::Out, T>;
    #[inline]
    fn insert_if(self, newer: N) -> Self::Out {
        AsyncEventEntry::before(newer.join(self.handler), self.next)
    }
}
impl<H, T: Before<S>, S> Before<S> for HAsync<H, T> {
    type Out = HAsync<H, T::Out>;
    #[inline]
    fn before(self, after: S) -> Self::Out {
        HAsync {
            head: self.head,
            tail: self.tail.before(after),
        }
    }
}

// ----- publishing

/// The result of a lookup of event `E`: an entry with its subscribers of both kinds, or [`Missing`],
/// which has none.
#[diagnostic::on_unimplemented(
    message = "`{E}` is registered on this bus, but not as an event",
    label = "not published here",
    note = "use `send_async` for a query and `execute_async` for a command; if two messages share a name, give one its own with `name = \"…\"`",
    note = "two versions of a crate of messages on one bus cause this, too: `cargo tree -d` lists such crates"
)]
pub(crate) trait PublishAsync<E> {
    type Subscribers;
    fn subscribers(&self) -> &Self::Subscribers;
}
impl<E> PublishAsync<E> for Missing {
    type Subscribers = HNil;
    #[inline]
    fn subscribers(&self) -> &HNil {
        &HNil
    }
}
impl<E, S, T> PublishAsync<E> for EventEntry<E, S, T> {
    type Subscribers = S;
    #[inline]
    fn subscribers(&self) -> &S {
        &self.handler
    }
}
impl<E, S, T> PublishAsync<E> for AsyncEventEntry<E, S, T> {
    type Subscribers = S;
    #[inline]
    fn subscribers(&self) -> &S {
        &self.handler
    }
}

/// The number of subscribers, and the failures.
pub(crate) type Heard = (usize, Vec<Failure<BusError>>);

/// A list of subscribers that run concurrently and start with the oldest.
pub(crate) trait AsyncSubscribers<E: Event, B> {
    fn deliver(&self, event: &E, bus: &B) -> impl Future<Output = Heard> + Send;
}
impl<E: Event + Sync, B: Sync> AsyncSubscribers<E, B> for HNil {
    #[inline]
    async fn deliver(&self, _: &E, _: &B) -> Heard {
        (0, Vec::new())
    }
}
impl<E, B, H, T> AsyncSubscribers<E, B> for HCons<H, T>
where
    E: Event<Output: Outcome<E>> + Sync,
    B: Sync,
    H: EventHandler<E, B> + Sync,
    T: AsyncSubscribers<E, B> + Sync,
{
    #[inline]
    async fn deliver(&self, event: &E, bus: &B) -> Heard {
        let older = pin!(self.tail.deliver(event, bus));
        let newest = pin!(async { self.head.handle(event, bus).outcome() });
        all(older, newest, handler_name::<H>()).await
    }
}
impl<E, B, H, T> AsyncSubscribers<E, B> for HAsync<H, T>
where
    E: Event + Sync,
    B: Sync,
    H: AsyncEventHandler<E, B> + Sync,
    T: AsyncSubscribers<E, B> + Sync,
{
    #[inline]
    async fn deliver(&self, event: &E, bus: &B) -> Heard {
        let older = pin!(self.tail.deliver(event, bus));
        // The call is inside the `async` block, so that the part of a closure before its future also runs
        // in registration order.
        let newest = pin!(async { self.head.handle(event, bus).await });
        all(older, newest, handler_name::<H>()).await
    }
}

/// Waits for the older subscribers and the newest one concurrently.
#[inline]
async fn all<Older, Newest>(
    mut older: Pin<&mut Older>,
    mut newest: Pin<&mut Newest>,
    name: &'static str,
) -> Heard
where
    Older: Future<Output = Heard>,
    Newest: Future<Output = Result<(), BusError>>,
{
    let (mut heard, mut result) = (None, None);
    poll_fn(|context| {
        if heard.is_none()
            && let Poll::Ready(it) = older.as_mut().poll(context)
        {
            heard = Some(it);
        }
        if result.is_none()
            && let Poll::Ready(it) = newest.as_mut().poll(context)
        {
            result = Some(it);
        }
        if heard.is_none() || result.is_none() {
            return Poll::Pending;
        }
        let (Some((position, mut failures)), Some(result)) = (heard.take(), result.take()) else {
            return Poll::Pending;
        };
        result.note(&mut failures, position, name);
        Poll::Ready((position + 1, failures))
    })
    .await
}

// ----- synchronous publishing, and the wiring

impl<E: Event, S, T, B> Wired<B> for AsyncEventEntry<E, S, T>
where
    S: AsyncSubscribers<E, B>,
    T: Wired<B>,
{
}
#[diagnostic::do_not_recommend]
impl<E, S, T> Publish<E> for AsyncEventEntry<E, S, T> {
    type Subscribers = S;
    fn subscribers(&self) -> &S {
        &self.handler
    }
}
impl<E: Event, B, H: HearsAtOnce<E>, T> Subscribers<E, B> for HAsync<H, T> {
    fn deliver(&self, _: &E, _: &B, _: &mut <E::Output as EventOutput>::Log) -> usize {
        0
    }
}

impl<E: Event, S: EachName, T: Registrations> Registrations for AsyncEventEntry<E, S, T> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        S::each::<E>(visit);
        T::each(visit);
    }
}
impl<H, T: EachName> EachName for HAsync<H, T> {
    fn each<E: Event>(visit: &mut dyn FnMut(Registration)) {
        T::each::<E>(visit);
        visit(Registration::new::<E, H>(Kind::Event));
    }
}
