//! The conversion of the outputs of handlers into the result of an asynchronous call.

use super::BusError;
use crate::message::{EventOutput, Failure, Message, PublishError};
use alloc::{boxed::Box, vec::Vec};
use core::error::Error;

/// The output of a synchronous handler of command or event `M`.
pub trait Outcome<M>: EventOutput {
    fn outcome(self) -> Result<(), BusError>;
    /// The result of an event from the log of its subscribers.
    fn published(log: Self::Log, subscribers: usize) -> Result<(), BusError>;
}
impl<M> Outcome<M> for () {
    #[inline]
    fn outcome(self) -> Result<(), BusError> {
        Ok(())
    }
    #[inline]
    fn published(_: (), _: usize) -> Result<(), BusError> {
        Ok(())
    }
}
impl<M: Message, E: Reportable<M>> Outcome<M> for Result<(), E> {
    #[inline]
    fn outcome(self) -> Result<(), BusError> {
        self.map_err(|error| BusError::rejected::<M>(error.boxed()))
    }
    #[inline]
    fn published(log: Vec<Failure<E>>, subscribers: usize) -> Result<(), BusError> {
        let failures = log.into_iter().map(|failure| Failure {
            handler: failure.handler,
            position: failure.position,
            error: BusError::rejected::<M>(failure.error.boxed()),
        });
        combine(failures.collect(), subscribers, M::NAME)
    }
}

/// Combines the failures of the subscribers of an event into one result.
pub(super) fn combine(
    failures: Vec<Failure<BusError>>,
    subscribers: usize,
    event: &'static str,
) -> Result<(), BusError> {
    let retryable = failures.iter().any(|failure| failure.error.is_retryable());
    let published: Result<(), PublishError<BusError>> =
        <Result<(), BusError>>::finish(failures, subscribers, event);
    published.map_err(|error| BusError::Rejected {
        message: event,
        source: Box::new(error),
        retryable,
    })
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
