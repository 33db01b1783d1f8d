//! The failures of engines.

use std::{borrow::Cow, error::Error, sync::Arc};

use super::{Kind, Topic};

/// The failure of an operation of an engine.
///
/// The text names the broker, never a password, and the remedy. The [kind](TransportError::kind) says
/// whether the same call may succeed later.
///
/// ```
/// use static_bus_remote::transport::{TransportError, TransportErrorKind};
///
/// let kind = TransportErrorKind::TooLarge;
/// let error = TransportError::new(kind, "redis://127.0.0.1:6379", "the record has 600 MB");
/// assert_eq!(error.to_string(), "redis://127.0.0.1:6379: the record has 600 MB");
/// assert!(!error.kind().is_transient());
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[error("{address}: {reason}")]
pub struct TransportError {
    kind: TransportErrorKind,
    address: Arc<str>,
    reason: Cow<'static, str>,
    #[source]
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The class of a [`TransportError`].
///
/// A worker repeats a message whose handler met a [transient](TransportErrorKind::is_transient) error of the
/// broker without counting an attempt. Other errors count as attempts; `TooLarge` makes a dead letter at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// No connection, no answer in time, or no capacity at present. Transient: the call may succeed later.
    Unreachable,
    /// A refusal by the broker or the engine: an invalid setting, name or request, or a violated policy. Not
    /// transient: the same call is refused again until the configuration is changed.
    Refused,
    /// A record that exceeds the largest size that the broker or the client accepts. Not transient: the same
    /// record is refused again.
    TooLarge,
    /// Credentials that the broker refuses, or a missing permission. Not transient: the same call is refused
    /// again until the rights are changed.
    Unauthorized,
    /// A call on a consumer or client that is closed, or in a process that is shutting down. Transient: it says
    /// nothing about the record, and the call may succeed on a new handle or in another process, not on this one.
    Closed,
    /// A query of a topic without a receiver: none is open, and none has been for the
    /// [grace time](super::RECEIVER_GRACE). Transient: a receiver may open. A client turns it into
    /// [`BusError::NoHandler`](static_bus::asynchronous::BusError::NoHandler), which counts as an attempt.
    NoReceiver,
}

impl TransportErrorKind {
    /// Returns `true` if the same record may be accepted later without a change of the record, the configuration or the
    /// rights: `true` for [`Unreachable`](Self::Unreachable), [`Closed`](Self::Closed) and
    /// [`NoReceiver`](Self::NoReceiver).
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Unreachable | Self::Closed | Self::NoReceiver => true,
            Self::Refused | Self::TooLarge | Self::Unauthorized => false,
        }
    }
}

impl TransportError {
    /// An error of the broker at this address; `reason` is what happened, and the remedy.
    pub fn new(
        kind: TransportErrorKind,
        address: impl Into<Arc<str>>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        TransportError {
            kind,
            address: address.into(),
            reason: reason.into(),
            source: None,
        }
    }

    /// The refusal of [`consume`](super::Transport::consume) for a topic of another kind.
    #[doc(hidden)]
    pub fn not_consumed(address: impl Into<Arc<str>>, topic: &Topic) -> Self {
        let remedy = match topic.kind {
            Kind::DeadLetter => "read dead letters with `dead_letters`",
            _ => "open a receiver with `listen`",
        };
        let reason = format!("{topic} has no groups that can be joined: {remedy}");
        Self::new(TransportErrorKind::Refused, address, reason)
    }

    /// The refusal of [`listen`](super::Transport::listen) for a topic of another kind.
    #[doc(hidden)]
    pub fn not_received(address: impl Into<Arc<str>>, topic: &Topic) -> Self {
        let remedy = match topic.kind {
            Kind::DeadLetter => "read dead letters with `dead_letters`",
            _ => "join a group with `consume`",
        };
        let reason = format!("{topic} has no receivers: {remedy}");
        Self::new(TransportErrorKind::Refused, address, reason)
    }

    /// The refusal of [`append`](super::Transport::append) for a query whose topic has no receiver.
    #[doc(hidden)]
    pub fn no_receiver(address: impl Into<Arc<str>>, topic: &Topic) -> Self {
        let reason = format!(
            "{topic} has no receiver: start a worker that serves it, and send the query again"
        );
        Self::new(TransportErrorKind::NoReceiver, address, reason)
    }

    /// The refusal of an engine that does not keep records until they are due.
    #[doc(hidden)]
    pub fn not_scheduled(address: impl Into<Arc<str>>) -> Self {
        let reason = "this broker does not keep messages until they are due: schedule them through an outbox in a database \
                      (`SqlTransport::outbox` of static-bus-sql), whose relay sends them when they are due, or on another \
                      broker, such as Redis";
        Self::new(TransportErrorKind::Refused, address, reason)
    }

    /// The refusal of [`append`](super::Transport::append) for a record that is due later, of another topic than one of
    /// a command or an event.
    #[doc(hidden)]
    pub fn never_due(address: impl Into<Arc<str>>, topic: &Topic) -> Self {
        let topic = topic.to_string();
        let reason = format!(
            "a record of {} cannot be due later: only commands and events can, remove `due`",
            topic.trim_end()
        );
        Self::new(TransportErrorKind::Refused, address, reason)
    }

    /// The same error with the error of the client library as its source.
    #[must_use]
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The class of the error.
    pub const fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// The broker's address, without secrets.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The event and the remedy.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
