//! What can go wrong on the way to a handler, and in it.

use alloc::{boxed::Box, string::String};
use core::{error::Error, time::Duration};

/// Why an asynchronous call failed.
///
/// Each variant names the message. [`is_retryable`](BusError::is_retryable) says whether the same
/// call can succeed later.
///
/// ```
/// use std::time::Duration;
/// use static_bus::asynchronous::BusError;
///
/// let error = BusError::Timeout { message: "users.get", after: Duration::from_millis(250) };
/// assert_eq!(error.to_string(), "users.get: no answer within 250ms");
/// assert_eq!(error.message(), "users.get");
/// assert!(error.is_retryable());
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// No answer came in time. Whether a handler ran is not known.
    #[error("{message}: no answer within {after:?}")]
    Timeout {
        /// The message's name.
        message: &'static str,
        /// How long the caller waited.
        after: Duration,
    },
    /// The broker could not be reached, or refused. Whether it took the message is not known.
    #[error("{message}: the broker did not take it: {source}")]
    Transport {
        /// The message's name.
        message: &'static str,
        /// What the engine reports.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The message or its answer could not be written or read.
    #[error("{message}: its content does not fit: {source}")]
    Codec {
        /// The message's name.
        message: &'static str,
        /// What the format reports.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Nobody serves the message.
    #[error("{message}: nobody serves it")]
    NoHandler {
        /// The message's name.
        message: &'static str,
    },
    /// A handler in this process refused the message, or failed.
    #[error("{message}: its handler failed: {source}")]
    Rejected {
        /// The message's name.
        message: &'static str,
        /// The handler's own error. Of an event it is a
        /// [`PublishError<BusError>`](crate::message::PublishError) with each subscriber's.
        source: Box<dyn Error + Send + Sync>,
        /// Whether the handler may succeed another time.
        retryable: bool,
    },
    /// A handler in another process failed.
    #[error("{message}: its handler failed remotely: {error}")]
    Remote {
        /// The message's name.
        message: &'static str,
        /// What it reported.
        error: String,
        /// Whether the handler may succeed another time.
        retryable: bool,
    },
}

impl BusError {
    /// A handler's own failure: it may succeed another time.
    ///
    /// ```
    /// use static_bus::{asynchronous::BusError, prelude::*};
    /// struct Pay;
    /// command!(Pay, name = "billing.pay");
    /// let error = BusError::rejected::<Pay>("the bank is closed");
    /// assert_eq!(error.to_string(), "billing.pay: its handler failed: the bank is closed");
    /// assert!(error.is_retryable());
    /// ```
    pub fn rejected<M: crate::message::Message>(
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        BusError::Rejected {
            message: M::NAME,
            source: error.into(),
            retryable: true,
        }
    }

    /// A handler's own refusal, which stands however often it is asked. A
    /// message that came from a broker is not tried again.
    ///
    /// ```
    /// use static_bus::{asynchronous::BusError, prelude::*};
    /// struct Pay;
    /// command!(Pay, name = "billing.pay");
    /// assert!(!BusError::refused::<Pay>("no such account").is_retryable());
    /// ```
    pub fn refused<M: crate::message::Message>(
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        BusError::Rejected {
            message: M::NAME,
            source: error.into(),
            retryable: false,
        }
    }

    /// The name of the message that failed.
    pub fn message(&self) -> &'static str {
        match self {
            BusError::Timeout { message, .. }
            | BusError::Transport { message, .. }
            | BusError::Codec { message, .. }
            | BusError::NoHandler { message }
            | BusError::Rejected { message, .. }
            | BusError::Remote { message, .. } => message,
        }
    }

    /// Whether the same call can succeed later.
    ///
    /// A call that may have run before may run twice when it is retried: give it an idempotency key,
    /// or a handler that can stand it.
    pub fn is_retryable(&self) -> bool {
        match self {
            BusError::Timeout { .. } | BusError::Transport { .. } | BusError::NoHandler { .. } => {
                true
            }
            BusError::Codec { .. } => false,
            BusError::Rejected { retryable, .. } | BusError::Remote { retryable, .. } => *retryable,
        }
    }
}
