//! The entry of an event with asynchronous subscribers.
//!
//! Its list of subscribers is that of `table/subscribers.rs`, and all handlers in it are asynchronous: a
//! synchronous one is in [`AtOnce`](crate::handler::AtOnce). An event whose subscribers are all synchronous keeps its
//! [`EventEntry`].

use super::entry::{AsyncMode, SyncMode};
use super::refusal::{AllAtOnce, Unasked};
use super::subscribers::{AsyncSubscribers, Call, IntoAsync, finish};
use super::{BusError, outcome::Outcome};
use crate::key::{Other, Rest, Same};
use crate::layer::Layer;
use crate::message::{Event, Message};
use crate::table::{
    AppendTo, EachName, EventEntry, Find, FindIf, Fit, Handlers1, InsertIf, InsertInto, LogOf,
    MergeInto, Missing, MoreSubscribers, PlaceFor, Publish, Registered, RestOf, SameHandlers,
    Subscribers, Take, TakeIf, Wired, entry, wrap_subscribers,
};
use crate::wiring::{Registration, Registrations};
use core::marker::PhantomData;

entry! {
    /// An event `M`, the list of its subscribers, of which at least one is asynchronous, and the
    /// entries after it in its bucket.
    AsyncEventEntry
}

/// The entry of an event with a single, asynchronous subscriber.
pub(crate) type SingleAsyncSubscriber<E, H> = AsyncEventEntry<E, Handlers1<H>>;
impl<E, H> SingleAsyncSubscriber<E, H> {
    #[inline]
    pub(crate) const fn of(subscriber: H) -> Self {
        AsyncEventEntry::new(Handlers1(subscriber))
    }
}

// ----- one more subscriber

#[diagnostic::do_not_recommend]
impl<E, S: IntoAsync, N: AppendTo<S::Out>> MoreSubscribers<E, S> for AsyncEventEntry<E, N> {
    type Entry<T> = AsyncEventEntry<E, N::Out, T>;
    #[inline]
    fn join<T>(self, older: S, next: T) -> Self::Entry<T> {
        AsyncEventEntry::before(self.handler.append_to(older.into_async()), next)
    }
}
impl<E, S, T, R, N: MoreAsyncSubscribers<E, S>> InsertIf<Same, R, N> for AsyncEventEntry<E, S, T> {
    type Out = AsyncEventEntry<E, N::Out, T>;
    #[inline]
    fn insert_if(self, newer: N) -> Self::Out {
        AsyncEventEntry::before(newer.join(self.handler), self.next)
    }
}
/// An entry of the same event `E`, whose subscribers are appended to the list `S` of asynchronous ones.
#[diagnostic::on_unimplemented(
    message = "`{E}` and another message are registered under one name",
    label = "its name, or the hash of its name, is that of `{E}`",
    note = "give one of the two messages a name of its own with `name = \"…\"`"
)]
pub trait MoreAsyncSubscribers<E, S> {
    type Out;
    fn join(self, older: S) -> Self::Out;
}
impl<E, S, N: IntoAsync<Out: AppendTo<S>>> MoreAsyncSubscribers<E, S> for EventEntry<E, N> {
    type Out = <N::Out as AppendTo<S>>::Out;
    #[inline]
    fn join(self, older: S) -> Self::Out {
        self.handler.into_async().append_to(older)
    }
}
impl<E, S, N: AppendTo<S>> MoreAsyncSubscribers<E, S> for AsyncEventEntry<E, N> {
    type Out = N::Out;
    #[inline]
    fn join(self, older: S) -> N::Out {
        self.handler.append_to(older)
    }
}

// ----- asynchronous publishing

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
    type Mode;
    fn subscribers(&self) -> &Self::Subscribers;
}
impl<E> PublishAsync<E> for Missing {
    type Subscribers = ();
    type Mode = SyncMode;
    #[inline]
    fn subscribers(&self) -> &() {
        &()
    }
}
impl<E, S, T> PublishAsync<E> for EventEntry<E, S, T> {
    type Subscribers = S;
    type Mode = SyncMode;
    #[inline]
    fn subscribers(&self) -> &S {
        &self.handler
    }
}
impl<E, S, T> PublishAsync<E> for AsyncEventEntry<E, S, T> {
    type Subscribers = S;
    type Mode = AsyncMode;
    #[inline]
    fn subscribers(&self) -> &S {
        &self.handler
    }
}

/// A mode that turns a call of the list `S` of subscribers into a future.
pub(crate) trait Deliver<E: Event, S, B> {
    /// The output of that future, which [`result`](Deliver::result) turns into the result of the call.
    type Heard;
    fn deliver(
        subscribers: &S,
        call: &Call<'_, '_, E, B>,
    ) -> impl Future<Output = Self::Heard> + Send;
    fn result(heard: Self::Heard) -> Result<(), BusError>;
}
impl<E: Event + Sync, S: AsyncSubscribers<E, B> + Sync, B: Sync> Deliver<E, S, B> for AsyncMode {
    type Heard = S::Heard;
    #[inline]
    fn deliver(
        subscribers: &S,
        call: &Call<'_, '_, E, B>,
    ) -> impl Future<Output = S::Heard> + Send {
        subscribers.deliver(call)
    }
    #[inline]
    fn result(heard: S::Heard) -> Result<(), BusError> {
        let mut failures = None;
        S::note(heard, 0, &mut failures);
        finish(failures, S::COUNT, E::NAME)
    }
}
impl<E, S, B> Deliver<E, S, B> for SyncMode
where
    E: Event<Output: Outcome<E>> + Sync,
    S: Subscribers<E, B> + Sync,
    B: Sync,
{
    type Heard = Result<(), BusError>;
    #[inline]
    async fn deliver(subscribers: &S, call: &Call<'_, '_, E, B>) -> Result<(), BusError> {
        let mut log = Default::default();
        let count = subscribers.deliver(call.event, call.bus, &mut log, 0);
        E::Output::published(log, count)
    }
    #[inline]
    fn result(heard: Result<(), BusError>) -> Result<(), BusError> {
        heard
    }
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
    type Subscribers = Unasked<S>;
    fn subscribers(&self) -> &Unasked<S> {
        &Unasked(PhantomData)
    }
}
impl<E: Event, B, S: AllAtOnce<E>> Subscribers<E, B> for Unasked<S> {
    fn deliver(&self, _: &E, _: &B, _: &mut LogOf<E>, position: usize) -> usize {
        position
    }
}

wrap_subscribers!(AsyncEventEntry);

impl<E: Event, S: EachName, T: Registrations> Registrations for AsyncEventEntry<E, S, T> {
    fn each(visit: &mut dyn FnMut(Registration)) {
        S::each::<E>(visit);
        T::each(visit);
    }
}
