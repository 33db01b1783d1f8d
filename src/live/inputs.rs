//! What the loop asks of the receiver of its inputs.

use super::Receiver;
use core::{task::Waker, time::Duration};
use std::time::Instant;

/// The inputs of a [`Live`](super::Live) loop: the [`Receiver`] of a channel, or a source of a program's own.
pub trait Inputs<M> {
    /// The next input, if there is one. Does not wait.
    fn try_next(&mut self) -> Option<M>;

    /// True if there will be no further inputs than those that [`try_next`](Inputs::try_next) still returns.
    fn is_closed(&self) -> bool;

    /// Waits until there may be an input, until there will be none, until the waker is called, or until the
    /// timeout has passed; without a timeout, for any length of time.
    fn park(&mut self, timeout: Option<Duration>);

    /// Ends the present or the next [`park`](Inputs::park), from any thread.
    fn waker(&self) -> Waker;
}

impl<M: Send + 'static> Inputs<M> for Receiver<M> {
    #[inline]
    fn try_next(&mut self) -> Option<M> {
        Receiver::try_next(self)
    }
    #[inline]
    fn is_closed(&self) -> bool {
        Receiver::is_closed(self)
    }
    fn park(&mut self, timeout: Option<Duration>) {
        // A time that an `Instant` cannot express is as far as none.
        self.park_until(timeout.and_then(|timeout| Instant::now().checked_add(timeout)));
    }
    fn waker(&self) -> Waker {
        Receiver::waker(self)
    }
}
