//! The trait of a bus that can be settled.

use crate::bus::{Bus, NoMailbox};
use crate::mailbox::{Cascade, CascadeError, Mailbox};

/// A bus that can be made quiescent: no posted message is left to deliver.
///
/// Implemented by every [`Bus`]: with a mailbox by its [`settle`](Bus::settle), without one as a no-op.
pub trait Settle {
    /// Delivers posted messages until none is left; returns the number delivered.
    ///
    /// # Errors
    /// [`CascadeError`] if more messages than the limit would be delivered; the others stay queued.
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
