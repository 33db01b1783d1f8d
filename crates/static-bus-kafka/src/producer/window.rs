//! The records that the clients of a producer have, bounded in bytes.
//!
//! A record waits outside of the client until there is room for it: so it has the whole deadline for its own way, and
//! one that waits in vain was certainly not sent. Room that is free only because the records before it have timed out
//! is for later calls.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use static_bus_remote::lock::lock;

/// The greatest sum of the sizes of the records that the clients have. A link of 4 Mbit/s passes as much in the default
/// deadline.
const BYTES: usize = 4_000_000;

/// The bound.
pub(super) struct Window {
    free: Arc<Semaphore>,
    known: Mutex<Known>,
}

/// What the results of records say of the cluster.
#[derive(Clone, Copy)]
struct Known {
    /// The time of the last confirmation.
    confirmed: Instant,
    /// The last time at which a record timed out, and none had been confirmed since it entered.
    silent: Option<Instant>,
}

/// The room for one record, until its result is known.
pub(super) struct Room {
    window: Arc<Window>,
    entered: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Window {
    pub fn new() -> Arc<Self> {
        Arc::new(Window {
            free: Arc::new(Semaphore::new(BYTES)),
            known: Mutex::new(Known {
                confirmed: Instant::now(),
                silent: None,
            }),
        })
    }

    /// Waits for the room for a record of this size, in the order of the calls. `None` if nothing was confirmed for the
    /// length of a deadline.
    pub async fn enter(self: &Arc<Self>, size: usize, deadline: Duration) -> Option<Room> {
        // A record that is larger has the whole window for itself.
        let size = u32::try_from(size.min(BYTES)).unwrap_or(u32::MAX);
        // Almost always. It does not overtake: free permits go to those that wait first.
        if let Ok(permit) = self.free.clone().try_acquire_many_owned(size) {
            return Some(self.room(permit));
        }
        let mut entering = pin!(self.free.clone().acquire_many_owned(size));
        let begun = Instant::now();
        loop {
            let last = begun.max(lock(&self.known).confirmed);
            let permit = timeout_at(last + deadline, &mut entering).await;
            let Known { confirmed, silent } = *lock(&self.known);
            match permit {
                Ok(_) if silent.is_some_and(|silent| silent >= begun.max(confirmed)) => {
                    return None;
                }
                Ok(permit) => return Some(self.room(permit.ok()?)),
                Err(_) if confirmed > last => {}
                Err(_) => return None,
            }
        }
    }

    fn room(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Room {
        Room {
            window: self.clone(),
            entered: Instant::now(),
            _permit: permit,
        }
    }
}

impl Room {
    /// Notes that the record is confirmed.
    pub fn confirmed(&self) {
        lock(&self.window.known).confirmed = Instant::now();
    }

    /// Notes that the record has timed out.
    pub fn timed_out(&self) {
        let mut known = lock(&self.window.known);
        if known.confirmed <= self.entered {
            known.silent = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_record_waits_as_long_as_others_are_confirmed() {
        let window = Window::new();
        let mut first = window.enter(BYTES, DEADLINE).await.unwrap();
        let begun = Instant::now();
        let waiting = tokio::spawn({
            let window = window.clone();
            async move { window.enter(2 * BYTES, DEADLINE).await.is_some() }
        });
        for _ in 0..10 {
            tokio::time::sleep(DEADLINE * 9 / 10).await;
            first.confirmed();
            assert!(!waiting.is_finished());
        }
        drop(first);
        assert!(waiting.await.unwrap());
        assert!(begun.elapsed() > 8 * DEADLINE);
        first = window.enter(1, DEADLINE).await.unwrap();
        drop(first);
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_waits_for_a_deadline_if_nothing_is_confirmed() {
        let window = Window::new();
        let first = window.enter(BYTES, DEADLINE).await.unwrap();
        tokio::time::sleep(DEADLINE / 2).await;
        let begun = Instant::now();
        assert!(window.enter(1, DEADLINE).await.is_none());
        assert_eq!(begun.elapsed(), DEADLINE);
        drop(first);
        assert!(window.enter(1, DEADLINE).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_does_not_follow_those_that_have_timed_out() {
        let window = Window::new();
        let enter = || {
            let window = window.clone();
            tokio::spawn(async move { window.enter(1, DEADLINE).await.is_some() })
        };
        for one_was_confirmed in [false, true] {
            let first = window.enter(BYTES / 2, DEADLINE).await.unwrap();
            let second = window.enter(BYTES / 2, DEADLINE).await.unwrap();
            tokio::time::sleep(DEADLINE / 2).await;
            let waiting = enter();
            if one_was_confirmed {
                tokio::time::sleep(DEADLINE / 4).await;
                second.confirmed();
            }
            tokio::time::sleep(DEADLINE / 4).await;
            first.timed_out();
            drop(first);
            assert_eq!(waiting.await.unwrap(), one_was_confirmed);
            assert!(enter().await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_record_does_not_overtake_a_large_one_that_waits() {
        let window = Window::new();
        let first = window.enter(BYTES / 2, DEADLINE).await.unwrap();
        let enter = |size| {
            let window = window.clone();
            tokio::spawn(async move { window.enter(size, DEADLINE).await })
        };
        let large = enter(BYTES);
        tokio::task::yield_now().await;
        let small = enter(1);
        tokio::task::yield_now().await;
        assert!(!small.is_finished(), "half of the window is free");
        drop(first);
        let large = large.await.unwrap().unwrap();
        tokio::task::yield_now().await;
        assert!(!small.is_finished());
        drop(large);
        assert!(small.await.unwrap().is_some());
    }
}
