//! Handlers for tests, with names.

use crate::handler::{CommandHandler, EventHandler, QueryHandler};
use crate::message::{Command, Event, Message, Query};
use std::any::Any;
use std::boxed::Box;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

/// A handler of query or command `M` with a prepared answer, which counts its calls.
///
/// A clone is the same stub, so that a test keeps one and the bus gets the other.
///
/// ```
/// use static_bus::{prelude::*, testing::Stub};
///
/// struct GetUser;
/// query!(GetUser -> Option<&'static str>);
/// struct Pay;
/// command!(Pay -> Result<(), &'static str>);
///
/// type TestBus = BusOf<HList![OnQuery<GetUser, Stub<GetUser>>, OnCommand<Pay, Stub<Pay>>]>;
/// let user = Stub::<GetUser>::returns(Some("Ada"));
/// let bus: TestBus = BusBuilder::new()
///     .register_query::<GetUser, _>(user.clone())
///     .register_command::<Pay, _>(Stub::<Pay>::fails("no money"))
///     .build_as();
///
/// assert_eq!(bus.send::<GetUser>(GetUser), Some("Ada"));
/// assert_eq!(bus.execute(Pay), Err("no money"));
/// assert_eq!(user.calls(), 1);
/// ```
pub struct Stub<M> {
    calls: Arc<AtomicUsize>,
    // The type of the answer is no parameter, so that the type of a stub is that of its message.
    answer: Arc<dyn Fn(M) -> Box<dyn Any> + Send + Sync>,
}
impl<M> Clone for Stub<M> {
    fn clone(&self) -> Self {
        Stub {
            calls: self.calls.clone(),
            answer: self.answer.clone(),
        }
    }
}
impl<M: Message> fmt::Debug for Stub<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stub of {} ({} calls)", M::NAME, self.calls())
    }
}
impl<M: Message> Stub<M> {
    fn new<A: 'static>(answer: impl Fn(M) -> A + Send + Sync + 'static) -> Self {
        Stub {
            calls: Arc::default(),
            answer: Arc::new(move |message| Box::new(answer(message))),
        }
    }
    /// The number of messages that it has received.
    pub fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }
    fn answer<A: 'static>(&self, message: M) -> A {
        self.calls.fetch_add(1, Relaxed);
        match (self.answer)(message).downcast() {
            Ok(answer) => *answer,
            Err(_) => unreachable!("the constructors have the type of the message's answer"),
        }
    }
}
impl<Q: Query<Response: 'static>> Stub<Q> {
    /// Answers each query with a clone of `response`.
    pub fn returns(response: Q::Response) -> Self
    where
        Q::Response: Clone + Send + Sync,
    {
        Self::new(move |_| response.clone())
    }
    /// Answers each query with a function.
    pub fn answers(answer: impl Fn(Q) -> Q::Response + Send + Sync + 'static) -> Self {
        Self::new(answer)
    }
}
impl<C: Command<Output: 'static>> Stub<C> {
    /// Handles each command with success.
    pub fn succeeds() -> Self {
        Self::new(|_| crate::message::success::<C::Output>())
    }
    /// Fails each command with a clone of `error`.
    pub fn fails<E>(error: E) -> Self
    where
        C: Command<Output = Result<(), E>>,
        E: Clone + Send + Sync + 'static,
    {
        Self::new(move |_| Err::<(), _>(error.clone()))
    }
    /// Handles each command with a function.
    pub fn handles(handle: impl Fn(C) -> C::Output + Send + Sync + 'static) -> Self {
        Self::new(handle)
    }
}
impl<Q: Query<Response: 'static>, B: ?Sized> QueryHandler<Q, B> for Stub<Q> {
    fn handle(&self, query: Q, _bus: &B) -> Q::Response {
        self.answer(query)
    }
}
impl<C: Command<Output: 'static>, B: ?Sized> CommandHandler<C, B> for Stub<C> {
    fn handle(&self, command: C, _bus: &B) -> C::Output {
        self.answer(command)
    }
}

/// A subscriber of event `E` that keeps each event.
///
/// A clone is the same spy. It answers `Ok` if the event's output is a `Result`.
///
/// ```
/// use static_bus::{prelude::*, testing::Spy};
/// #[derive(Clone, Debug, PartialEq)]
/// struct Renamed(&'static str);
/// event!(Renamed);
///
/// let renamed = Spy::<Renamed>::new();
/// let bus: BusOf<HList![OnEvent<Renamed, Spy<Renamed>>]> =
///     BusBuilder::new().subscribe::<Renamed, _>(renamed.clone()).build();
/// bus.publish(&Renamed("Ada"));
/// assert_eq!(renamed.events(), [Renamed("Ada")]);
/// ```
pub struct Spy<E>(Arc<Mutex<Vec<E>>>);

impl<E> Spy<E> {
    fn kept(&self) -> MutexGuard<'_, Vec<E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
impl<E: fmt::Debug> fmt::Debug for Spy<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.kept()).finish()
    }
}
impl<E> Clone for Spy<E> {
    fn clone(&self) -> Self {
        Spy(self.0.clone())
    }
}
impl<E> Default for Spy<E> {
    fn default() -> Self {
        Spy(Arc::default())
    }
}
impl<E: Event + Clone> Spy<E> {
    /// A spy that has kept nothing.
    pub fn new() -> Self {
        Self::default()
    }
    /// The events, in the order in which it received them.
    pub fn events(&self) -> Vec<E> {
        self.kept().clone()
    }
    /// The number of events.
    pub fn count(&self) -> usize {
        self.kept().len()
    }
}
impl<E: Event + Clone, B: ?Sized> EventHandler<E, B> for Spy<E> {
    fn handle(&self, event: &E, _bus: &B) -> E::Output {
        let event = event.clone();
        self.kept().push(event);
        crate::message::success::<E::Output>()
    }
}
