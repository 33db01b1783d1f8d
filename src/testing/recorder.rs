//! The layer that keeps what was sent.

#[cfg(feature = "async")]
mod asynchronous;

use super::keep::{Kept, Value};
use super::record::{End, Record};
use crate::layer::{AroundCommand, AroundEvent, AroundQuery, Layer};
use crate::message::{Command, Event, Message, Query};
use crate::wiring::Registration;
use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::ptr::from_ref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

/// A layer that keeps each message with its sender and its handlers, in order.
///
/// `Display` prints all of it as a tree. A clone is the same recorder.
///
/// ```
/// use static_bus::{prelude::*, testing::Recorder};
///
/// #[derive(Clone, Debug, PartialEq)]
/// struct GetEmail(u32);
/// query!(GetEmail -> &'static str);
/// #[derive(Clone, Debug, PartialEq)]
/// struct Invoice { user: u32 }
/// command!(Invoice);
/// #[derive(Clone, Debug, PartialEq)]
/// struct Invoiced(&'static str);
/// event!(Invoiced);
///
/// struct Billing;
/// impl<B: SendQuery<GetEmail> + PublishEvent<Invoiced>> CommandHandler<Invoice, B> for Billing {
///     fn handle(&self, command: Invoice, bus: &B) {
///         bus.publish(&Invoiced(bus.send(GetEmail(command.user))));
///     }
/// }
///
/// let recorder = Recorder::new();
/// let bus = BusBuilder::new()
///     .register_command(Billing)
///     .register_query_fn(|_: GetEmail| "ada@example.com")
///     .subscribe_fn(|_: &Invoiced| ())
///     .layer(recorder.clone())
///     .build();
/// bus.execute(Invoice { user: 7 });
///
/// assert_eq!(recorder.sent::<GetEmail>(), [GetEmail(7)]);
/// recorder.assert_published(&Invoiced("ada@example.com"));
/// recorder.assert_count::<Invoice>(1);
/// ```
///
/// - It keeps messages that a handler within it receives. An event without a subscriber, or a message whose handler is
///   not within it, is not kept.
/// - A message that is `Clone`, `Send`, `Sync` and does not borrow is kept as a value, and one that is `Debug` as a text. A message
///   whose `Message` is implemented by hand is kept as its name only.
/// - The sender of a message that is posted, or sent by another task or thread, is not known: it comes from outside.
/// - A query's response is its answer, even if it is an `Err`: only commands and events fail.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Record>>);

impl Recorder {
    /// A recorder that has kept nothing.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queries `Q` that were sent, in order.
    ///
    /// # Panics
    /// If one was not kept as a value.
    #[track_caller]
    pub fn sent<Q: Query + Clone + 'static>(&self) -> Vec<Q> {
        self.values()
    }
    /// The commands `C` that were executed, in order.
    ///
    /// # Panics
    /// If one was not kept as a value.
    #[track_caller]
    pub fn executed<C: Command + Clone + 'static>(&self) -> Vec<C> {
        self.values()
    }
    /// The events `E` that were published, in order.
    ///
    /// # Panics
    /// If one was not kept as a value.
    #[track_caller]
    pub fn published<E: Event + Clone + 'static>(&self) -> Vec<E> {
        self.values()
    }

    /// Fails if no query equal to `query` was sent; prints what was.
    #[track_caller]
    pub fn assert_sent<Q: Query + Clone + PartialEq + Debug + 'static>(&self, query: &Q) {
        self.assert_has(query);
    }
    /// Fails if no command equal to `command` was executed; prints what was.
    #[track_caller]
    pub fn assert_executed<C: Command + Clone + PartialEq + Debug + 'static>(&self, command: &C) {
        self.assert_has(command);
    }
    /// Fails if no event equal to `event` was published; prints what was.
    #[track_caller]
    pub fn assert_published<E: Event + Clone + PartialEq + Debug + 'static>(&self, event: &E) {
        self.assert_has(event);
    }
    /// Fails if message `M` was not sent this number of times; prints what was.
    #[track_caller]
    pub fn assert_count<M: Message>(&self, times: usize) {
        let count = self.count::<M>();
        assert!(
            count == times,
            "messages {}: {count}, and not {times}:\n{self}",
            M::NAME
        );
    }

    /// The number of times that message `M` was sent.
    pub fn count<M: Message>(&self) -> usize {
        self.record()
            .calls
            .iter()
            .filter(|call| call.message == M::NAME)
            .count()
    }

    /// Forgets what was kept, for the next step of a test. What handlers send that still run comes from outside.
    pub fn clear(&self) {
        let kept = self.record().clear();
        drop(kept);
    }

    #[track_caller]
    fn values<M: Message + Clone + 'static>(&self) -> Vec<M> {
        let record = self.record();
        let calls = record.calls.iter().filter(|call| call.message == M::NAME);
        let values: Vec<_> = calls.map(|call| call.kept.value.clone()).collect();
        // The message's `Clone` is code of the test, and may use the recorder.
        drop(record);
        let value = |kept: Option<Value>| kept?.downcast_ref::<M>().cloned();
        let values = values.into_iter().map(|kept| {
            value(kept).unwrap_or_else(|| {
                panic!(
                    "no values of {} are kept: it has to be `Clone`, `Send` and `Sync`, and declared with `query!`, `command!` or `event!`",
                    M::NAME
                )
            })
        });
        values.collect()
    }
    #[track_caller]
    fn assert_has<M: Message + Clone + PartialEq + Debug + 'static>(&self, expected: &M) {
        assert!(
            self.values::<M>().contains(expected),
            "{expected:?} is not among the messages:\n{self}"
        );
    }

    fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}
impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.record().tree())
    }
}
impl Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The part of a [`Recorder`] around one handler.
#[doc(hidden)]
#[derive(Clone)]
pub struct Recording {
    recorder: Recorder,
    number: usize,
    registration: Registration,
}
impl Layer for Recorder {
    type Around = Recording;
    fn around(&self, registration: Registration) -> Recording {
        Recording {
            recorder: self.clone(),
            number: self.record().register(),
            registration,
        }
    }
}

/// A run of a handler on this thread.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Running {
    recorder: usize,
    run: usize,
    /// The number of times that the recorder had been cleared.
    generation: usize,
}
std::thread_local! {
    /// The runs on this thread, the innermost last.
    static RUNNING: RefCell<Vec<Running>> = const { RefCell::new(Vec::new()) };
}
/// The time in which a handler runs on this thread.
struct Entered;
impl Entered {
    fn new(running: Running) -> Self {
        RUNNING.with_borrow_mut(|all| all.push(running));
        Entered
    }
}
impl Drop for Entered {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(Vec::pop);
    }
}

impl Recording {
    fn begin(&self, address: usize, kept: Kept) -> Running {
        let recorder = self.recorder.id();
        let innermost =
            |all: &Vec<Running>| all.iter().rfind(|it| it.recorder == recorder).copied();
        let sender = RUNNING.with_borrow(innermost);
        let mut record = self.recorder.record();
        let generation = record.generation;
        let sender = sender.filter(|it| it.generation == generation);
        let sender = sender.map(|it| it.run);
        let run = record.begin(self.number, &self.registration, address, sender, kept);
        Running {
            recorder,
            run,
            generation,
        }
    }
    fn end(&self, running: Running, failed: bool) {
        let end = if failed { End::Failed } else { End::Done };
        let mut record = self.recorder.record();
        if record.generation == running.generation {
            record.runs[running.run].end = end;
        }
    }
    fn run<R>(
        &self,
        running: Running,
        run: impl FnOnce() -> R,
        failed: impl FnOnce(&R) -> bool,
    ) -> R {
        let entered = Entered::new(running);
        let result = run();
        drop(entered);
        self.end(running, failed(&result));
        result
    }
}
impl<Q: Query, B: ?Sized> AroundQuery<Q, B> for Recording {
    fn query(&self, query: Q, _bus: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response {
        let running = self.begin(0, query.__keep());
        self.run(running, || next(query), |_| false)
    }
}
impl<C: Command, B: ?Sized> AroundCommand<C, B> for Recording {
    fn command(&self, command: C, _bus: &B, next: impl Fn(C) -> C::Output) -> C::Output {
        let running = self.begin(0, command.__keep());
        self.run(running, || next(command), crate::message::is_failure)
    }
}
impl<E: Event, B: ?Sized> AroundEvent<E, B> for Recording {
    fn event(&self, event: &E, _bus: &B, next: impl Fn(&E) -> E::Output) -> E::Output {
        let running = self.begin(from_ref(event).addr(), event.__keep());
        self.run(running, || next(event), crate::message::is_failure)
    }
}
