//! Why a handler did not succeed, and what that says of its message.

use std::{any::Any, error::Error};

use tokio::task::JoinError;

use crate::{TransportError, TransportErrorKind, reply};
use static_bus::asynchronous::BusError;
use static_bus::message::PublishError;

/// Why a handler did not succeed.
pub(super) struct Failure {
    pub(super) error: String,
    pub(super) retryable: bool,
    /// The only cause is a transient error of the broker when the handler sent something: that says nothing
    /// about the message.
    pub(super) by_broker: bool,
    /// The broker takes nothing from this handler, whatever the message: it is transient, or rights are missing.
    pub(super) cannot_send: bool,
}

pub(super) fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

/// What the engine reported, `Unreachable` if it is not to be found.
fn kind_of(source: &(dyn Error + 'static)) -> TransportErrorKind {
    std::iter::successors(Some(source), |&error| error.source())
        .find_map(|error| error.downcast_ref::<TransportError>())
        .map_or(TransportErrorKind::Unreachable, TransportError::kind)
}

/// Whether all causes of a failure are errors of the broker, of a kind that passes.
fn is_by_broker(error: &BusError, passes: fn(TransportErrorKind) -> bool) -> bool {
    match error {
        BusError::Transport { source, .. } => passes(kind_of(&**source)),
        BusError::Rejected { source, .. } => {
            let published = source.downcast_ref::<PublishError<BusError>>();
            let handler = source.downcast_ref::<BusError>();
            published.is_some_and(|p| p.failures().iter().all(|f| is_by_broker(&f.error, passes)))
                || handler.is_some_and(|handler| is_by_broker(handler, passes))
        }
        _ => false,
    }
}

/// Whether another attempt may succeed. An oversized record stays oversized.
fn is_retryable(error: &BusError) -> bool {
    let may_succeed = match error {
        BusError::Transport { source, .. } => kind_of(&**source) != TransportErrorKind::TooLarge,
        BusError::Rejected { source, .. } => {
            if let Some(published) = source.downcast_ref::<PublishError<BusError>>() {
                published.failures().iter().any(|f| is_retryable(&f.error))
            } else if let Some(handler) = source.downcast_ref::<BusError>() {
                // What the handler makes of other errors is its own decision.
                !is_by_broker(handler, |kind| kind == TransportErrorKind::TooLarge)
            } else {
                true
            }
        }
        _ => true,
    };
    may_succeed && error.is_retryable()
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        Failure {
            retryable: is_retryable(&error),
            by_broker: is_by_broker(&error, TransportErrorKind::is_transient),
            cannot_send: is_by_broker(&error, |kind| {
                kind.is_transient() || kind == TransportErrorKind::Unauthorized
            }),
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
                cannot_send: false,
            },
        }
    }

    pub(super) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        Failure {
            error: format!("its handler panicked: {}", text_of(panic)),
            retryable: true,
            by_broker: false,
            cannot_send: false,
        }
    }

    pub(super) fn outcome(self) -> reply::Outcome {
        let Failure {
            error, retryable, ..
        } = self;
        reply::Outcome::Failed { error, retryable }
    }
}
