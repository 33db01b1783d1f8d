//! The end of a run from outside.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use std::thread::{self, Thread};

/// Stops a [`Live`](super::Live) loop from another thread, or from a handler.
#[derive(Debug, Clone)]
pub struct StopHandle(Arc<Stop>);

#[derive(Debug)]
struct Stop {
    requested: AtomicBool,
    inputs: Waker,
    /// The thread of the loop.
    thread: Thread,
}

impl StopHandle {
    /// A handle for a loop on this thread, which waits for inputs with this waker.
    pub(super) fn new(inputs: Waker) -> Self {
        StopHandle(Arc::new(Stop {
            requested: AtomicBool::new(false),
            inputs,
            thread: thread::current(),
        }))
    }

    /// Ends the run after the current message and what is due at its time; between two runs, ends the next
    /// one at once. Later runs continue.
    pub fn stop(&self) {
        self.0.requested.store(true, Ordering::Release);
        self.0.inputs.wake_by_ref();
        self.0.thread.unpark();
    }

    #[inline]
    pub(super) fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::Acquire)
    }

    pub(super) fn reset(&self) {
        self.0.requested.store(false, Ordering::Relaxed);
    }
}
