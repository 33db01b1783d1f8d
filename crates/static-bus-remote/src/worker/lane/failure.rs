//! Why a handler did not succeed, and what that says of its message.

use std::any::Any;

use tokio::task::JoinError;

use crate::reply;
use static_bus::asynchronous::BusError;
use static_bus::message::PublishError;

/// Why a handler did not succeed.
pub(super) struct Failure {
    pub(super) error: String,
    pub(super) retryable: bool,
    /// The broker did not take what the handler sent: that says nothing about the message.
    pub(super) by_broker: bool,
}

pub(super) fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

/// Whether all that failed is that the broker did not take what a handler sent.
fn is_by_broker(error: &BusError) -> bool {
    match error {
        BusError::Transport { .. } => true,
        BusError::Rejected { source, .. } => {
            let published = source.downcast_ref::<PublishError<BusError>>();
            let handler = source.downcast_ref::<BusError>();
            published.is_some_and(|p| p.failures().iter().all(|f| is_by_broker(&f.error)))
                || handler.is_some_and(is_by_broker)
        }
        _ => false,
    }
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        Failure {
            retryable: error.is_retryable(),
            by_broker: is_by_broker(&error),
            error: error.to_string(),
        }
    }
}
impl Failure {
    pub(super) fn panicked(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => Self::of_panic(&*panic),
            Err(error) => Failure {
                error: error.to_string(),
                retryable: true,
                by_broker: false,
            },
        }
    }

    pub(super) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        Failure {
            error: format!("its handler panicked: {}", text_of(panic)),
            retryable: true,
            by_broker: false,
        }
    }

    pub(super) fn outcome(self) -> reply::Outcome {
        let Failure {
            error, retryable, ..
        } = self;
        reply::Outcome::Failed { error, retryable }
    }
}
