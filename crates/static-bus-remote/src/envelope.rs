//! The attributes of a message: those of [CloudEvents 1.0](https://cloudevents.io), in binary mode, and
//! extensions.

use std::{borrow::Cow, fmt, ops::Range, sync::Arc, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use super::{Headers, context, transport::Record};

/// The attributes of a message.
///
/// Those of CloudEvents 1.0 keep their names; `correlationid`, `causationid`, `idempotencykey`,
/// `replyto`, `deadline`, `attempt` and `onlyfor` are extensions. Times are in UTC, in the format of RFC 3339.
///
/// ```
/// use static_bus_remote::{Envelope, Headers};
///
/// let headers = Headers::from_iter([
///     ("specversion", "1.0"),
///     ("id", "0199a3c5-5f6b-7e4b-8d11-0c9a6f7b2d10"),
///     ("source", "shop"),
///     ("type", "orders.place"),
///     ("time", "2026-11-24T10:00:00Z"),
///     ("datacontenttype", "application/json"),
/// ]);
/// let envelope = Envelope::parse(&headers).unwrap();
/// assert_eq!(envelope.message_type, "orders.place");
/// assert_eq!(envelope.headers(), headers);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope<'a> {
    /// `id`: a UUIDv7, unique for each message.
    pub id: Cow<'a, str>,
    /// `source`: the service that sent it.
    pub source: Cow<'a, str>,
    /// `type`: the name of the message.
    pub message_type: Cow<'a, str>,
    /// `time`: the time at which it was sent.
    pub time: Cow<'a, str>,
    /// `datacontenttype`: the format of the body, such as `application/json`.
    pub content_type: Cow<'a, str>,
    /// `partitionkey`: messages of one type and one key keep their order.
    pub partition_key: Option<Cow<'a, str>>,
    /// `traceparent`, of the [W3C Trace Context](https://www.w3.org/TR/trace-context/).
    pub trace_parent: Option<Cow<'a, str>>,
    /// `tracestate`, of the W3C Trace Context.
    pub trace_state: Option<Cow<'a, str>>,
    /// `correlationid`: the id of the first message of a chain of causes.
    pub correlation_id: Option<Cow<'a, str>>,
    /// `causationid`: the id of the message whose handler sent this one; of a reply, the id of its query.
    pub causation_id: Option<Cow<'a, str>>,
    /// `idempotencykey`: messages of one type with one key are handled once. Default: the id.
    pub idempotency_key: Option<Cow<'a, str>>,
    /// `replyto`: the address of the process that waits for the reply to a query.
    pub reply_to: Option<Cow<'a, str>>,
    /// `deadline`: the time at which the caller of a query stops waiting.
    pub deadline: Option<Timestamp>,
    /// `attempt`: the number of times that the message was sent: 1, and one more for each replay of its dead letter.
    pub attempt: u32,
    /// `onlyfor`: the only group that handles the message, if it is the replay of a dead letter of an event.
    pub only_for: Option<Cow<'a, str>>,
}

impl<'a> Envelope<'a> {
    /// The attributes of a new message.
    pub fn new(
        source: impl Into<Cow<'a, str>>,
        message_type: impl Into<Cow<'a, str>>,
        content_type: impl Into<Cow<'a, str>>,
    ) -> Self {
        let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
        let id: &str = Uuid::now_v7().hyphenated().encode_lower(&mut id);
        Envelope {
            id: Cow::Owned(id.to_owned()),
            source: source.into(),
            message_type: message_type.into(),
            time: Cow::Owned(now()),
            content_type: content_type.into(),
            partition_key: None,
            trace_parent: None,
            trace_state: None,
            correlation_id: None,
            causation_id: None,
            idempotency_key: None,
            reply_to: None,
            deadline: None,
            attempt: 1,
            only_for: None,
        }
    }

    /// The attributes as a record carries them.
    pub fn headers(&self) -> Headers {
        let mut headers = Headers::with_capacity(256);
        headers.push("specversion", "1.0");
        for (name, value) in NAMES.iter().zip(self.values()) {
            if let Some(value) = value {
                headers.push(name, value);
            }
        }
        if let Some(deadline) = self.deadline {
            headers.push("deadline", &deadline.to_string());
        }
        if self.attempt != 1 {
            headers.push("attempt", &self.attempt.to_string());
        }
        headers
    }

    /// The attributes that are text, in the order of [`NAMES`].
    fn values(&self) -> [Option<&str>; TEXTS] {
        [
            Some(&self.id),
            Some(&self.source),
            Some(&self.message_type),
            Some(&self.time),
            Some(&self.content_type),
            self.partition_key.as_deref(),
            self.trace_parent.as_deref(),
            self.trace_state.as_deref(),
            self.correlation_id.as_deref(),
            self.causation_id.as_deref(),
            self.idempotency_key.as_deref(),
            self.reply_to.as_deref(),
            self.only_for.as_deref(),
        ]
    }

    /// Parses the attributes of a record. Unknown attributes are ignored.
    ///
    /// # Errors
    /// When a required attribute is missing, or one cannot be parsed.
    pub fn parse(headers: &'a Headers) -> Result<Self, EnvelopeError> {
        Ok(Index::of(headers)?.envelope(headers))
    }

    /// The same attributes, owned.
    pub fn into_owned(self) -> Envelope<'static> {
        let owned = |value: Cow<'a, str>| Cow::Owned(value.into_owned());
        Envelope {
            id: owned(self.id),
            source: owned(self.source),
            message_type: owned(self.message_type),
            time: owned(self.time),
            content_type: owned(self.content_type),
            partition_key: self.partition_key.map(owned),
            trace_parent: self.trace_parent.map(owned),
            trace_state: self.trace_state.map(owned),
            correlation_id: self.correlation_id.map(owned),
            causation_id: self.causation_id.map(owned),
            idempotency_key: self.idempotency_key.map(owned),
            reply_to: self.reply_to.map(owned),
            only_for: self.only_for.map(owned),
            deadline: self.deadline,
            attempt: self.attempt,
        }
    }

    /// The record with these attributes.
    pub(crate) fn record(&self, body: bytes::Bytes, expires: Option<Duration>) -> Record {
        Record {
            headers: self.headers(),
            body,
            key: self.partition_key.as_deref().map(Arc::from),
            expires,
            scope: context::scope(),
        }
    }
}

/// The number of attributes that are text.
const TEXTS: usize = 13;
/// The names of the attributes: first those that are text, in the order in which they are written.
const NAMES: [&str; TEXTS + 3] = [
    "id",
    "source",
    "type",
    "time",
    "datacontenttype",
    "partitionkey",
    "traceparent",
    "tracestate",
    "correlationid",
    "causationid",
    "idempotencykey",
    "replyto",
    "onlyfor",
    "specversion",
    "deadline",
    "attempt",
];

/// The result of parsing headers: the positions of the values. So headers are parsed once, however often their
/// envelope is read.
pub(crate) struct Index {
    /// In the order of [`NAMES`].
    positions: [Option<Range<usize>>; NAMES.len()],
    deadline: Option<Timestamp>,
    attempt: u32,
}

impl Index {
    pub(crate) fn of(headers: &Headers) -> Result<Self, EnvelopeError> {
        let positions = headers.positions_of(&NAMES);
        let value = |name| {
            let at = NAMES.iter().position(|known| *known == name)?;
            Some(headers.value(positions[at].clone()?))
        };
        if value("specversion").as_deref() != Some("1.0") {
            return Err(EnvelopeError("specversion"));
        }
        for name in ["id", "source", "type", "datacontenttype"] {
            if value(name).is_none_or(|value| value.is_empty()) {
                return Err(EnvelopeError(name));
            }
        }
        let deadline = value("deadline").map(|deadline| deadline.parse());
        let attempt = value("attempt").map(|attempt| attempt.parse());
        Ok(Index {
            deadline: deadline
                .transpose()
                .map_err(|_| EnvelopeError("deadline"))?,
            attempt: attempt
                .unwrap_or(Ok(1))
                .map_err(|_| EnvelopeError("attempt"))?,
            positions,
        })
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// The envelope of the headers that were parsed.
    pub(crate) fn envelope<'h>(&self, headers: &'h Headers) -> Envelope<'h> {
        let mut values = self.positions.iter().map(|position| {
            let position = position.clone()?;
            Some(headers.value(position))
        });
        let mut next = || values.next().flatten();
        // In the order of `NAMES`.
        Envelope {
            id: next().unwrap_or_default(),
            source: next().unwrap_or_default(),
            message_type: next().unwrap_or_default(),
            time: next().unwrap_or_default(),
            content_type: next().unwrap_or_default(),
            partition_key: next(),
            trace_parent: next(),
            trace_state: next(),
            correlation_id: next(),
            causation_id: next(),
            idempotency_key: next(),
            reply_to: next(),
            only_for: next(),
            deadline: self.deadline,
            attempt: self.attempt,
        }
    }
}

/// The current time, as an attribute.
pub(crate) fn now() -> String {
    Timestamp::now().to_string()
}

/// An attribute that is missing or cannot be parsed; holds its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeError(pub &'static str);
impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the attribute `{}` is missing or cannot be read", self.0)
    }
}
impl std::error::Error for EnvelopeError {}
