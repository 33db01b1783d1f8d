//! What a simulation needs of a bus besides delivery.

use crate::bus::{Bus, NoMailbox};
use crate::mailbox::{Cascade, CascadeError, Mailbox};

/// A bus that can be made quiescent: nothing posted is left to deliver.
///
/// Every [`Bus`] is one: with a mailbox by its own [`settle`](Bus::settle), without one trivially.
pub trait Settle {
    /// Delivers what was posted until nothing is left; returns how many messages.
    ///
    /// # Errors
    /// When more than the limit would be delivered; what was not delivered stays queued.
    fn settle(&self) -> Result<usize, CascadeError>;
}

impl<T, C: Cascade<Self>> Settle for Bus<T, Mailbox<C>> {
    #[inline]
    fn settle(&self) -> Result<usize, CascadeError> {
        Bus::settle(self)
    }
}

impl<T> Settle for Bus<T, NoMailbox> {
    #[inline]
    fn settle(&self) -> Result<usize, CascadeError> {
        Ok(0)
    }
}
