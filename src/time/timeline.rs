//! The timeline: messages scheduled for a later time.

use super::queue::{Handle, Queue};
use super::{Settle, Time};
use crate::mailbox::{Cascade, CascadeError};
use core::cell::{Cell, RefCell};

/// A queue of scheduled messages; `C` is an enum declared with [`mailbox!`](crate::mailbox!).
///
/// Messages are delivered in order of time; at equal times in order of priority, the smaller number
/// first; at equal priorities in the order in which they were scheduled.
///
/// All methods of a timeline in use take `&self`, so a service can hold a `&Timeline` and schedule or
/// cancel while it handles a message. A timeline allocates only when more messages wait than ever
/// before.
///
/// ```
/// use static_bus::{prelude::*, time::{Time, Timeline}};
/// use std::time::Duration;
///
/// struct Beep;
/// event!(Beep);
/// mailbox! { enum Timers { event Beep } }
///
/// /// Beeps every 10 seconds.
/// struct Clock<'a> {
///     timeline: &'a Timeline<Timers>,
/// }
/// impl<B> EventHandler<Beep, B> for Clock<'_> {
///     fn handle(&self, _: &Beep, _bus: &B) {
///         self.timeline.schedule(self.timeline.now() + Duration::from_secs(10), Beep);
///     }
/// }
///
/// let timeline = Timeline::new();
/// let bus = BusBuilder::new().subscribe::<Beep, _>(Clock { timeline: &timeline }).build();
///
/// timeline.schedule(Time::from_secs(10), Beep);
/// assert_eq!(timeline.advance_to(Time::from_secs(35), &bus), Ok(3)); // at 10, 20 and 30
/// assert_eq!(timeline.now(), Time::from_secs(35));
/// assert_eq!(timeline.next_at(), Some(Time::from_secs(40)));
/// ```
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Timeline<C> {
    now: Cell<Time>,
    /// No message is due before this time. Read for each input, so it is not behind the `RefCell`.
    idle_until: Cell<Time>,
    scheduled: Cell<u64>,
    ties: Ties,
    queue: RefCell<Queue<C>>,
}

impl<C> Timeline<C> {
    /// An empty timeline that begins at [`Time::EPOCH`].
    pub fn new() -> Self {
        Self::starting_at(Time::EPOCH)
    }

    /// An empty timeline that begins at `time`: the first time of a history, or that of the machine's
    /// clock.
    ///
    /// ```
    /// use static_bus::{prelude::*, time::{Time, Timeline}};
    /// # struct Expire;
    /// # event!(Expire);
    /// # mailbox! { enum Timers { event Expire } }
    /// let crash = Time::from_secs(-1_270_080_000); // before the epoch
    /// let timeline = Timeline::<Timers>::starting_at(crash);
    /// assert_eq!(timeline.now().to_string(), "1929-10-03T00:00:00Z");
    /// ```
    pub fn starting_at(time: Time) -> Self {
        Timeline {
            now: Cell::new(time),
            idle_until: Cell::new(Time::MAX),
            scheduled: Cell::new(0),
            ties: Ties::InOrder,
            queue: RefCell::new(Queue::new()),
        }
    }

    /// Makes room for `capacity` messages, so that nothing is allocated while no more than that wait.
    pub fn with_capacity(mut self, capacity: usize) -> Self {
        self.queue.get_mut().reserve(capacity);
        self
    }

    /// Delivers ties, messages with equal time and priority, in an order that depends on the seed
    /// instead of the order in which they were scheduled. The same seed gives the same order.
    ///
    /// A strategy whose result changes with the seed depends on the order of ties.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use static_bus::{prelude::*, time::{Time, Timeline}};
    /// struct Note(u32);
    /// event!(Note);
    /// mailbox! { enum Timers { event Note } }
    ///
    /// let order_under = |timeline: Timeline<Timers>| {
    ///     let seen = RefCell::new(vec![]);
    ///     let bus = BusBuilder::new().subscribe_fn(|note: &Note| seen.borrow_mut().push(note.0)).build();
    ///     for n in 0..10 {
    ///         timeline.schedule(Time::from_secs(5), Note(n));
    ///     }
    ///     timeline.advance_to(Time::from_secs(5), &bus).unwrap();
    ///     seen.take()
    /// };
    /// let plain = order_under(Timeline::new());
    /// let shuffled = order_under(Timeline::new().shuffle_ties(7));
    /// assert_ne!(shuffled, plain);
    /// assert_eq!(shuffled, order_under(Timeline::new().shuffle_ties(7)));
    /// ```
    pub fn shuffle_ties(mut self, seed: u64) -> Self {
        self.ties = Ties::Shuffled { seed };
        self
    }

    /// The time: while a message is delivered, the time it was due; between two calls of
    /// [`advance_to`](Timeline::advance_to), the time advanced to. It never goes back.
    pub fn now(&self) -> Time {
        self.now.get()
    }

    /// The time at which the next message is due.
    pub fn next_at(&self) -> Option<Time> {
        self.queue.borrow_mut().first()
    }

    /// The number of waiting messages.
    pub fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Returns true if no message waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Schedules a message for a time, with priority 0.
    ///
    /// A time in the past means [`now`](Timeline::now). A message scheduled for now, also by a handler, is
    /// delivered after the messages of its priority that already wait for now.
    pub fn schedule(&self, at: Time, message: impl Schedule<C>) -> Handle {
        self.schedule_with_priority(at, 0, message)
    }

    /// Schedules a message for a time; among messages of that time the smallest priority goes first.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use static_bus::{prelude::*, time::{Time, Timeline}};
    /// struct Note(&'static str);
    /// event!(Note);
    /// mailbox! { enum Timers { event Note } }
    ///
    /// let seen = RefCell::new(vec![]);
    /// let bus = BusBuilder::new().subscribe_fn(|note: &Note| seen.borrow_mut().push(note.0)).build();
    /// let timeline = Timeline::<Timers>::new();
    /// let five = Time::from_secs(5);
    /// timeline.schedule_with_priority(five, 2, Note("last"));
    /// timeline.schedule_with_priority(five, 1, Note("first"));
    /// timeline.advance_to(five, &bus)?;
    /// assert_eq!(*seen.borrow(), ["first", "last"]);
    /// # Ok::<_, static_bus::mailbox::CascadeError>(())
    /// ```
    pub fn schedule_with_priority(
        &self,
        at: Time,
        priority: u32,
        message: impl Schedule<C>,
    ) -> Handle {
        let at = at.max(self.now());
        let sequence = self.scheduled.get();
        self.scheduled.set(sequence + 1);
        let order = self.ties.order(sequence);
        let message = message.into_scheduled();
        self.idle_until.set(at.min(self.idle_until.get()));
        self.queue.borrow_mut().push(at, priority, order, message)
    }

    /// Cancels a message and returns it; `None` if it was already delivered or cancelled.
    ///
    /// ```
    /// use static_bus::{prelude::*, time::{Time, Timeline}};
    /// struct Expire { order: u32 }
    /// event!(Expire);
    /// mailbox! { enum Timers { event Expire } }
    ///
    /// let timeline = Timeline::<Timers>::new();
    /// let expiry = timeline.schedule(Time::from_secs(60), Expire { order: 1 });
    /// assert!(matches!(timeline.cancel(expiry), Some(Timers::Expire(Expire { order: 1 }))));
    /// assert!(timeline.cancel(expiry).is_none());
    /// assert!(timeline.is_empty());
    /// ```
    pub fn cancel(&self, handle: Handle) -> Option<C> {
        self.queue.borrow_mut().cancel(handle)
    }

    /// Delivers every message due at or before a time, and settles the bus before and after each;
    /// returns the number of scheduled messages delivered. A time in the past means
    /// [`now`](Timeline::now).
    ///
    /// Messages that handlers schedule within that time are delivered too. So a handler that schedules its
    /// message for now each time makes this an endless loop.
    ///
    /// # Errors
    ///
    /// [`CascadeError`] if a cascade passes the bus's limit. The time is then that of the message that
    /// began the cascade. No message is lost: posted messages are in the mailbox, scheduled ones in the
    /// timeline, and the next call continues with both in the same order.
    pub fn advance_to<B: Settle>(&self, time: Time, bus: &B) -> Result<usize, CascadeError>
    where
        C: Cascade<B>,
    {
        let mut delivered = 0;
        bus.settle()?;
        while let Some(message) = self.take_due(time) {
            message.deliver(bus);
            bus.settle()?;
            delivered += 1;
        }
        self.reach(time);
        Ok(delivered)
    }

    /// Returns false only if no message is due at or before `time`.
    #[inline]
    pub(crate) fn may_be_due(&self, time: Time) -> bool {
        self.idle_until.get() <= time
    }

    /// Removes the next message due at or before `time`, and sets the time to when it was due.
    pub(crate) fn take_due(&self, time: Time) -> Option<C> {
        let mut queue = self.queue.borrow_mut();
        let due = queue.pop_due(time.max(self.now()));
        self.idle_until.set(queue.first().unwrap_or(Time::MAX));
        let (at, message) = due?;
        self.reach(at);
        Some(message)
    }

    /// Sets the time to `time`, unless it is in the past.
    #[inline]
    pub(crate) fn reach(&self, time: Time) {
        self.now.set(time.max(self.now()));
    }
}

impl<C> Default for Timeline<C> {
    fn default() -> Self {
        Self::new()
    }
}

/// A message that a timeline of `C` can hold: one listed in the `mailbox!` of `C`, or `C` itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be scheduled: it is not in `{C}`, which this timeline holds",
    label = "not listed in `{C}`",
    note = "list it in the `mailbox!` that declares `{C}`; a timeline carries events and commands whose output is `()`"
)]
pub trait Schedule<C> {
    #[doc(hidden)]
    fn into_scheduled(self) -> C;
}
#[diagnostic::do_not_recommend]
impl<C, M: Into<C>> Schedule<C> for M {
    #[inline]
    fn into_scheduled(self) -> C {
        self.into()
    }
}

/// The rule for the order of ties.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Ties {
    InOrder,
    Shuffled { seed: u64 },
}

impl Ties {
    /// The position among ties of the message with this sequence number. Unique for each number.
    fn order(self, sequence: u64) -> u64 {
        match self {
            Ties::InOrder => sequence,
            Ties::Shuffled { seed } => splitmix64(seed, sequence),
        }
    }
}

/// Output number `index` of the generator SplitMix64 (Steele, Lea, Flood: "Fast splittable
/// pseudorandom number generators", 2014). For one seed all outputs differ.
fn splitmix64(seed: u64, index: u64) -> u64 {
    let state = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::splitmix64;

    /// The published outputs for seed 1234567.
    #[test]
    fn the_generator_is_splitmix64() {
        assert_eq!(splitmix64(1_234_567, 0), 6_457_827_717_110_365_317);
        assert_eq!(splitmix64(1_234_567, 1), 3_203_168_211_198_807_973);
        assert_eq!(splitmix64(1_234_567, 2), 9_817_491_932_198_370_423);
    }
}
