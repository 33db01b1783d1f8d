//! The permissions of a lane to run handlers.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::call::{Ongoing, ended};

/// The permission to run a handler. It is returned when it is dropped.
pub(super) type Slot = OwnedSemaphorePermit;

/// The slots of a lane: one of its own, so that no lane waits for the others, and those that all lanes share.
pub(super) struct Slots {
    own: Arc<Semaphore>,
    shared: Arc<Semaphore>,
    /// A request for a shared slot, while all are taken.
    request: Ongoing<Slot>,
    /// The slot that was requested.
    granted: Option<Slot>,
}

impl Slots {
    pub(super) fn new(shared: Arc<Semaphore>) -> Self {
        Slots {
            own: Arc::new(Semaphore::new(1)),
            shared,
            request: None,
            granted: None,
        }
    }

    /// Returns `true` if [`take`](Slots::take) may return a slot, or has not requested one yet.
    pub(super) fn may_take(&self) -> bool {
        self.request.is_none() || self.granted.is_some() || self.own.available_permits() > 0
    }

    /// Takes a slot. If there is none, it requests one, for which [`granted`](Slots::granted) waits.
    pub(super) fn take(&mut self) -> Option<Slot> {
        if let Ok(slot) = self.own.clone().try_acquire_owned() {
            return Some(slot);
        }
        if let Some(slot) = self.granted.take() {
            return Some(slot);
        }
        if self.request.is_none() {
            if let Ok(slot) = self.shared.clone().try_acquire_owned() {
                return Some(slot);
            }
            let shared = self.shared.clone();
            self.request = Some(Box::pin(async move {
                match shared.acquire_owned().await {
                    Ok(slot) => slot,
                    Err(_) => std::future::pending().await,
                }
            }));
        }
        None
    }

    /// Waits until the requested slot is granted; forever if none is requested.
    pub(super) async fn granted(&mut self) {
        self.granted = Some(ended(&mut self.request).await);
    }

    /// Leaves requested slots to other lanes.
    pub(super) fn cancel_request(&mut self) {
        (self.request, self.granted) = (None, None);
    }
}
