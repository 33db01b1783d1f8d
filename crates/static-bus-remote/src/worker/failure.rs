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

/// Returns `true` if an error has no other cause than errors of the broker of a kind that passes. The cause is found in
/// the sources of an error of any type, and is that of each failure of a published event.
fn is_by_broker(error: &(dyn Error + 'static), passes: fn(TransportErrorKind) -> bool) -> bool {
    if let Some(error) = error.downcast_ref::<TransportError>() {
        return passes(error.kind());
    }
    if let Some(published) = error.downcast_ref::<PublishError<BusError>>() {
        let mut failures = published.failures().iter();
        return failures.all(|failure| is_by_broker(&failure.error, passes));
    }
    let source = error.source();
    source.is_some_and(|source| is_by_broker(source, passes))
}

/// Returns `true` if another attempt may succeed. An oversized record stays oversized.
fn is_retryable(error: &BusError) -> bool {
    let published = match error {
        BusError::Rejected { source, .. } => source.downcast_ref::<PublishError<BusError>>(),
        _ => None,
    };
    error.is_retryable()
        && match published {
            Some(published) => published.failures().iter().any(|f| is_retryable(&f.error)),
            None => !is_by_broker(error, |kind| kind == TransportErrorKind::TooLarge),
        }
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
