//! What the loop asks of a recorder.

use crate::time::Time;
use core::convert::Infallible;

/// A recorder of the inputs of a [`Live`](super::Live) loop, such as the writer of a log. `()` records
/// nothing.
pub trait Record<M> {
    /// The error of an input that cannot be recorded. It ends the run.
    type Error;

    /// Records an input with the time at which it is delivered.
    ///
    /// Called after every message that is due at or before that time, and before the input. After an error
    /// the input is not delivered; the next run records it again, with another time.
    fn record(&mut self, time: Time, input: &M) -> Result<(), Self::Error>;
}

impl<M> Record<M> for () {
    type Error = Infallible;
    #[inline]
    fn record(&mut self, _: Time, _: &M) -> Result<(), Infallible> {
        Ok(())
    }
}

impl<M, R: Record<M> + ?Sized> Record<M> for &mut R {
    type Error = R::Error;
    #[inline]
    fn record(&mut self, time: Time, input: &M) -> Result<(), R::Error> {
        (**self).record(time, input)
    }
}
