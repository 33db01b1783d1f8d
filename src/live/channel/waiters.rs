//! Threads that wait until another thread has changed something.

use super::sync::{AtomicBool, Condvar, Mutex, MutexGuard, Ordering, PoisonError, fence};
use std::time::Instant;

/// The threads that wait for a condition. The thread that makes it true calls [`wake`](Waiters::wake),
/// which is a fence and a load if no thread waits.
#[derive(Default)]
pub(super) struct Waiters {
    /// True if a thread waits that was not woken. Changed under the lock.
    waiting: AtomicBool,
    /// The number of threads in `wait`.
    count: Mutex<usize>,
    changed: Condvar,
}

impl Waiters {
    /// Wakes all threads that wait. The caller has made their condition true.
    // The fence is between the change of the condition and the load of `waiting`, and `wait` has one
    // between its store of `waiting` and its look at the condition. So at least one of the two threads
    // sees what the other one wrote.
    #[inline]
    pub(super) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) {
            self.wake_all();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_all(&self) {
        let _count = self.lock();
        self.waiting.store(false, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Calls `ready` until it returns a value, and sleeps in between. `None` after the deadline.
    #[cold]
    pub(super) fn wait<R>(
        &self,
        deadline: Option<Instant>,
        mut ready: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let mut count = self.lock();
        *count += 1;
        let result = loop {
            self.waiting.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if let Some(result) = ready() {
                break Some(result);
            }
            count = match deadline {
                None => (self.changed.wait(count)).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break None;
                    }
                    let waited = self.changed.wait_timeout(count, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        };
        *count -= 1;
        if *count == 0 {
            self.waiting.store(false, Ordering::Relaxed);
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        // Nothing panics under the lock.
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
