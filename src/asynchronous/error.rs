//! The error of asynchronous calls: failures of the transport and of the handler.

use alloc::{boxed::Box, string::String};
use core::{error::Error, time::Duration};

/// The error of an asynchronous call.
///
/// Each variant names the message. [`is_retryable`](BusError::is_retryable) returns true if the same
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
    /// No answer arrived in time. It is unknown whether a handler ran.
    #[error("{message}: no answer within {after:?}")]
    Timeout {
        /// The message's name.
        message: &'static str,
        /// The time that the caller waited.
        after: Duration,
    },
    /// The broker could not be reached, or refused. It is unknown whether it accepted the message.
    #[error("{message}: the broker did not take it: {source}")]
    Transport {
        /// The message's name.
        message: &'static str,
        /// The error that the engine reports.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The message or its answer could not be encoded or decoded.
    #[error("{message}: its content does not fit: {source}")]
    Codec {
        /// The message's name.
        message: &'static str,
        /// The error that the codec reports.
        source: Box<dyn Error + Send + Sync>,
    },
    /// No worker serves the message. A worker that is started later may.
    #[error("{message}: no worker serves it")]
    NoHandler {
        /// The message's name.
        message: &'static str,
    },
    /// A handler in this process refused the message, or failed.
    #[error("{message}: its handler failed: {source}")]
    Rejected {
        /// The message's name.
        message: &'static str,
        /// The handler's own error. For an event it is a
        /// [`PublishError<BusError>`](crate::message::PublishError) with the error of each subscriber.
        source: Box<dyn Error + Send + Sync>,
        /// True if the handler may succeed when called again.
        retryable: bool,
    },
    /// A handler in another process failed.
    #[error("{message}: its handler failed remotely: {error}")]
    Remote {
        /// The message's name.
        message: &'static str,
        /// The error that it reported.
        error: String,
        /// True if the handler may succeed when called again.
        retryable: bool,
    },
}

impl BusError {
    /// The failure of a handler that may succeed when called again.
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

    /// The permanent refusal of a handler. A message from a broker is not retried.
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

    /// Returns true if the same call can succeed later.
    ///
    /// A failed call may have run its handler, so a retry may run it twice: use an idempotency key, or a
    /// handler that tolerates repetition.
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
