//! What a simulation needs of a bus besides delivery.

use crate::bus::{Bus, NoOutbox};
use crate::outbox::{Cascade, CascadeError, Outbox};

/// A bus that can be made quiescent: nothing posted is left to deliver.
///
/// Every [`Bus`] is one: with an outbox by its own [`settle`](Bus::settle), without one trivially.
pub trait Settle {
    /// Delivers what was posted until nothing is left; returns how many messages.
    ///
    /// # Errors
    /// When more than the limit would be delivered; what was not delivered stays queued.
    fn settle(&self) -> Result<usize, CascadeError>;
}

impl<T, C: Cascade<Self>> Settle for Bus<T, Outbox<C>> {
    #[inline]
    fn settle(&self) -> Result<usize, CascadeError> {
        Bus::settle(self)
    }
}

impl<T> Settle for Bus<T, NoOutbox> {
    #[inline]
    fn settle(&self) -> Result<usize, CascadeError> {
        Ok(0)
    }
}
