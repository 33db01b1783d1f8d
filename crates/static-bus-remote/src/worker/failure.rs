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

/// What is found in an error of any type, or in its sources, and so in each failure of a published event. `None` if one of
/// these has nothing of it.
pub(super) fn causes<T>(
    error: &(dyn Error + 'static),
    find: &dyn Fn(&(dyn Error + 'static)) -> Option<T>,
) -> Option<Vec<T>> {
    if let Some(found) = find(error) {
        return Some(vec![found]);
    }
    if let Some(published) = error.downcast_ref::<PublishError<BusError>>() {
        let failures = published.failures().iter();
        let found = failures.map(|failure| causes(&failure.error, find));
        let found = found.collect::<Option<Vec<_>>>()?;
        return Some(found.into_iter().flatten().collect());
    }
    causes(error.source()?, find)
}

/// Returns `true` if an error has no other cause than errors of the broker of a kind that passes.
fn is_by_broker(error: &(dyn Error + 'static), passes: fn(TransportErrorKind) -> bool) -> bool {
    let kind = |error: &(dyn Error + 'static)| {
        let error = error.downcast_ref::<TransportError>();
        error.map(TransportError::kind)
    };
    causes(error, &kind).is_some_and(|kinds| kinds.into_iter().all(passes))
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
