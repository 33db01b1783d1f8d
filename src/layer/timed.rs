//! The time that each handler takes.

mod around;
mod nesting;
mod record;
mod report;
#[cfg(test)]
mod tests;

pub use around::Timing;
pub use record::Counter;
pub use report::{HandlerTimes, PercentileError, Report};

use super::Layer;
use crate::wiring::Registration;
use alloc::{sync::Arc, vec::Vec};
use core::{cell::Cell, fmt, sync::atomic::AtomicU64};
use nesting::Slot;
use quanta::Clock;
use record::Record;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A layer that measures how long each handler takes.
///
/// It has a histogram for each handler, made when the layer is added. When a message passes, the clock is read twice and the
/// histogram is updated, without a lookup, a lock or an allocation (around a client, whose messages are not known in advance,
/// with a lookup). A clone has the same histograms: keep one
/// for the [`report`](Timed::report), or to add the layer to several modules.
///
/// It keeps 10 KB for each handler, also after the bus is gone: make one for each bus.
///
/// Two times are measured for each call:
///
/// - **total**: from the call of the handler to its return. The percentiles are of this time.
/// - **exclusive**: the same, without the time of the handlers within this `Timed` that it called. The exclusive times of all
///   handlers add up to the time spent in the outermost ones. The measurement of a call is part of the caller's time.
///
/// For an asynchronous handler the total time is from its first poll to its end, waiting included. The exclusive time is the
/// time in which it was polled, without the handlers that were polled within. A call that is cancelled counts until
/// then, and a call that panics as well.
///
/// `Timed::new()` has atomic counters, for every bus. [`Timed::local`] has [`Cell`]s, which take less time, for a bus
/// that stays on one thread.
///
/// The clock is the time-stamp counter of the processor, if it is constant, and the monotonic clock of the system otherwise.
/// `docs/BENCHMARKS.md` has the time that a measured call takes.
///
/// A histogram takes 10 KB. Its percentiles are at most 3.2 % too high. Calls of more than an hour count as the longest.
///
/// ```
/// use static_bus::{layer::Timed, prelude::*};
///
/// struct Square(u64);
/// query!(Square -> u64, name = "square");
///
/// let timed = Timed::new();
/// let bus = BusBuilder::new()
///     .register_query_fn(|query: Square| query.0 * query.0)
///     .layer(timed.clone())
///     .build();
/// for number in 0..100 {
///     bus.send::<Square>(Square(number));
/// }
///
/// let report = timed.report();
/// println!("{report}");
/// let square = &report.handlers()[0];
/// assert_eq!(square.registration().message, "square");
/// assert_eq!(square.count(), 100);
/// assert!(square.percentile(50.0)? <= square.max());
/// # Ok::<(), static_bus::layer::PercentileError>(())
/// ```
///
/// The layer of a bus with a name is `Timed`, or `Timed<Cell<u64>>`:
///
/// ```
/// use std::cell::Cell;
/// use static_bus::{layer::{Layered, Timed}, prelude::*};
/// # struct Square(u64);
/// # query!(Square -> u64, name = "square");
/// # struct Squares;
/// # impl<B> QueryHandler<Square, B> for Squares {
/// #     fn handle(&self, query: Square, _bus: &B) -> u64 { query.0 * query.0 }
/// # }
/// # type Numbers = HList![OnQuery<Square, Squares>];
/// # let numbers: Numbers = hlist![on_query(Squares)];
///
/// type LocalBus = BusOf<Layered<Numbers, Timed<Cell<u64>>>>;
/// let bus: LocalBus = BusBuilder::new().mount(numbers.layer(Timed::local())).build();
/// # assert_eq!(bus.send::<Square>(Square(3)), 9);
/// ```
pub struct Timed<C = AtomicU64> {
    shared: Arc<Shared<C>>,
}
struct Shared<C> {
    clock: Clock,
    slot: Slot,
    handlers: Mutex<Vec<Timing<C>>>,
}

impl Timed {
    /// A layer for any bus. The first clock of a program is calibrated, which takes up to 0.2 s.
    pub fn new() -> Self {
        Self::with(Clock::new())
    }
}
impl Timed<Cell<u64>> {
    /// A layer for a bus that stays on one thread.
    pub fn local() -> Self {
        Self::with(Clock::new())
    }
}
impl<C: Counter> Timed<C> {
    fn with(clock: Clock) -> Self {
        let shared = Shared {
            clock,
            slot: Slot::new(),
            handlers: Mutex::default(),
        };
        Timed {
            shared: Arc::new(shared),
        }
    }

    /// The times of all handlers so far. It does not stop the bus: calls that end meanwhile may be counted in a part
    /// of the figures only.
    pub fn report(&self) -> Report {
        Report::of(&self.handlers(), &self.shared.clock)
    }

    /// Sets all times to zero. Calls that end meanwhile may be counted in a part of the figures only.
    ///
    /// ```
    /// use static_bus::{layer::Timed, prelude::*};
    /// struct Ping;
    /// query!(Ping -> u8);
    /// let timed = Timed::new();
    /// let bus = BusBuilder::new().register_query_fn(|_: Ping| 1).layer(timed.clone()).build();
    /// bus.send::<Ping>(Ping);
    /// timed.reset();
    /// assert_eq!(timed.report().handlers()[0].count(), 0);
    /// ```
    pub fn reset(&self) {
        for handler in &*self.handlers() {
            handler.record().reset();
        }
    }

    /// Locked when the layer is added, and for a report or a reset. A panic leaves the list complete.
    fn handlers(&self) -> MutexGuard<'_, Vec<Timing<C>>> {
        let handlers = self.shared.handlers.lock();
        handlers.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Counter> Layer for Timed<C> {
    type Around = Timing<C>;
    fn around(&self, registration: Registration) -> Timing<C> {
        let record = Arc::new(Record::new(registration));
        let timing = Timing::new(record, self.shared.clock.clone(), self.shared.slot);
        self.handlers().push(timing.clone());
        timing
    }
}

impl<C> Clone for Timed<C> {
    fn clone(&self) -> Self {
        Timed {
            shared: Arc::clone(&self.shared),
        }
    }
}
impl Default for Timed {
    fn default() -> Self {
        Timed::new()
    }
}
impl Default for Timed<Cell<u64>> {
    fn default() -> Self {
        Timed::local()
    }
}
impl<C: Counter> fmt::Debug for Timed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handlers = self.handlers();
        let registrations = handlers.iter().map(|it| it.record().registration());
        f.write_str("Timed ")?;
        f.debug_list().entries(registrations).finish()
    }
}
