//! The failure of a handler.

use std::{any::Any, error::Error, fmt};

use tokio::task::JoinError;

use crate::{TransportError, TransportErrorKind, error_text::error_text};
use static_bus::asynchronous::BusError;
use static_bus::message::PublishError;

/// The failure of a handler, and its meaning for the message.
pub(super) struct Failure {
    pub(super) error: String,
    pub(super) retryable: bool,
    /// `true` if the only cause is a transient error of the broker when the handler sent something. Such a failure is
    /// not one of the message.
    pub(super) is_by_broker: bool,
    /// `true` if the broker accepts nothing from this handler at present, whatever the message.
    pub(super) cannot_send: bool,
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

/// The kind of the error of the engine; `Unreachable` if there is none among the sources.
fn kind_of(source: &(dyn Error + 'static)) -> TransportErrorKind {
    std::iter::successors(Some(source), |&error| error.source())
        .find_map(|error| error.downcast_ref::<TransportError>())
        .map_or(TransportErrorKind::Unreachable, TransportError::kind)
}

/// Returns `true` if all causes of an error are errors of the broker of a kind that passes.
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

/// Returns `true` if another attempt may succeed. An oversized record stays oversized.
fn is_retryable(error: &BusError) -> bool {
    let may_succeed = match error {
        BusError::Transport { source, .. } => kind_of(&**source) != TransportErrorKind::TooLarge,
        BusError::Rejected { source, .. } => {
            if let Some(published) = source.downcast_ref::<PublishError<BusError>>() {
                published.failures().iter().any(|f| is_retryable(&f.error))
            } else if let Some(handler) = source.downcast_ref::<BusError>() {
                // Other errors are retryable: the handler decided so.
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
            is_by_broker: is_by_broker(&error, TransportErrorKind::is_transient),
            cannot_send: is_by_broker(&error, |kind| {
                kind.is_transient() || kind == TransportErrorKind::Unauthorized
            }),
            error: error_text(error),
        }
    }
}
impl Failure {
    /// A failure that is not by the broker.
    pub(super) fn new(error: impl fmt::Display, retryable: bool) -> Self {
        Failure {
            error: error_text(error),
            retryable,
            is_by_broker: false,
            cannot_send: false,
        }
    }

    pub(super) fn panicked(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => Self::of_panic(&*panic),
            Err(error) => Self::new(error, true),
        }
    }

    pub(super) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        Self::new(
            format_args!("its handler panicked: {}", panic_text(panic)),
            true,
        )
    }
}
