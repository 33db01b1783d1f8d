//! The time in which a loop runs.

use crate::time::Time;
use std::time::SystemTime;

/// The clock of a [`Live`](super::Live) loop. It may stand still; if it goes back, the loop goes on with its
/// latest time.
pub trait Clock {
    /// The time.
    fn now(&self) -> Time;
}

impl<K: Clock + ?Sized> Clock for &K {
    fn now(&self) -> Time {
        (**self).now()
    }
}

/// Real time: read from the system's clock once, and measured from then on.
///
/// The measure is the time-stamp counter of the processor, if it is constant, and the monotonic clock of the
/// system otherwise. So the time never goes back, and does not follow later changes of the system's clock.
#[derive(Debug, Clone)]
pub struct RealTime {
    counter: quanta::Clock,
    start: u64,
    started_at: Time,
}

impl RealTime {
    /// Real time from now on. The first counter of a program is calibrated, which takes up to 0.2 s.
    ///
    /// # Panics
    ///
    /// If the system's clock is not between [`Time::MIN`] and [`Time::MAX`].
    pub fn new() -> Self {
        let counter = quanta::Clock::new();
        let start = counter.raw();
        let started_at = Time::try_from(SystemTime::now());
        RealTime {
            counter,
            start,
            started_at: started_at.unwrap_or_else(|error| panic!("{error}")),
        }
    }
}

impl Clock for RealTime {
    #[inline]
    fn now(&self) -> Time {
        let nanos = self.counter.delta_as_nanos(self.start, self.counter.raw());
        Time::from_nanos(self.started_at.as_nanos().saturating_add_unsigned(nanos))
    }
}

impl Default for RealTime {
    fn default() -> Self {
        Self::new()
    }
}
