//! The conversion of a synchronous handler's output into the result of an asynchronous call.

use super::BusError;
use crate::message::Message;
use alloc::boxed::Box;
use core::error::Error;

/// The output of a synchronous handler of command or event `M`.
pub trait Outcome<M> {
    fn outcome(self) -> Result<(), BusError>;
}
impl<M> Outcome<M> for () {
    #[inline]
    fn outcome(self) -> Result<(), BusError> {
        Ok(())
    }
}
impl<M: Message, E: Reportable<M>> Outcome<M> for Result<(), E> {
    #[inline]
    fn outcome(self) -> Result<(), BusError> {
        self.map_err(|error| BusError::rejected::<M>(error.boxed()))
    }
}

/// An error that an asynchronous call can report as a source.
#[diagnostic::on_unimplemented(
    message = "an asynchronous call cannot report the error of `{M}`",
    label = "`{Self}` is not an `Error` that is `Send` and `Sync`",
    note = "implement `std::error::Error` for `{Self}` (it has to be `Send + Sync + 'static`), or make it a `&'static str` or a `String`"
)]
pub trait Reportable<M> {
    fn boxed(self) -> Box<dyn Error + Send + Sync>;
}
#[diagnostic::do_not_recommend]
impl<M, E: Into<Box<dyn Error + Send + Sync>>> Reportable<M> for E {
    #[inline]
    fn boxed(self) -> Box<dyn Error + Send + Sync> {
        self.into()
    }
}
