//! The error of a run.

use crate::mailbox::CascadeError;
use core::{error::Error, fmt};

/// The error of a run that ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiveError<E> {
    /// A cascade passed the bus's limit. Undelivered messages are still queued, and another run continues
    /// with them.
    Cascade(CascadeError),
    /// An input could not be recorded. It was not delivered, and another run records it again.
    Record(E),
}

impl<E> From<CascadeError> for LiveError<E> {
    fn from(error: CascadeError) -> Self {
        LiveError::Cascade(error)
    }
}

impl<E: fmt::Display> fmt::Display for LiveError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LiveError::Cascade(error) => error.fmt(f),
            LiveError::Record(error) => write!(
                f,
                "an input cannot be recorded, and was not delivered ({error}): mend the recorder and run again, or take \
                 the inputs that are left with `into_parts`"
            ),
        }
    }
}

impl<E: Error> Error for LiveError<E> {}
