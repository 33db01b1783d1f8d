//! What travels with a message: the attributes of [CloudEvents 1.0](https://cloudevents.io), in
//! binary mode, with a few of our own.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Headers,
    transport::Record,
};

/// A message's attributes.
///
/// Those of CloudEvents 1.0 keep their names; `correlationid`, `causationid`, `idempotencykey`,
/// `replyto`, `deadline` and `onlyfor` are extensions of ours. Times are in UTC, as RFC 3339 has it.
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
    /// `id`: a UUIDv7, one for each message sent.
    pub id: Cow<'a, str>,
    /// `source`: the service that sent it.
    pub source: Cow<'a, str>,
    /// `type`: the message's name.
    pub message_type: Cow<'a, str>,
    /// `time`: when it was sent.
    pub time: Cow<'a, str>,
    /// `datacontenttype`: the format of the body, such as `application/json`.
    pub content_type: Cow<'a, str>,
    /// `partitionkey`: messages of one type and one key keep their order.
    pub partition_key: Option<Cow<'a, str>>,
    /// `traceparent`, of the [W3C Trace Context](https://www.w3.org/TR/trace-context/).
    pub trace_parent: Option<Cow<'a, str>>,
    /// `tracestate`, likewise.
    pub trace_state: Option<Cow<'a, str>>,
    /// `correlationid`: the id of the message that began it all.
    pub correlation_id: Option<Cow<'a, str>>,
    /// `causationid`: the id of the message whose handler sent this one; of a reply, of its query.
    pub causation_id: Option<Cow<'a, str>>,
    /// `idempotencykey`: messages of one type with one key are handled once. Without it the id is the
    /// key.
    pub idempotency_key: Option<Cow<'a, str>>,
    /// `replyto`: where a query's answer goes.
    pub reply_to: Option<Cow<'a, str>>,
    /// `deadline`: when a query's caller stops waiting.
    pub deadline: Option<Timestamp>,
    /// `attempt`: how often the message was replayed from the dead letters and sent, counted from 1.
    pub attempt: u32,
    /// `onlyfor`: the one group that is meant, when a dead letter of an event is replayed.
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
        headers.push("id", &self.id);
        headers.push("source", &self.source);
        headers.push("type", &self.message_type);
        headers.push("time", &self.time);
        headers.push("datacontenttype", &self.content_type);
        let optional = [
            ("partitionkey", &self.partition_key),
            ("traceparent", &self.trace_parent),
            ("tracestate", &self.trace_state),
            ("correlationid", &self.correlation_id),
            ("causationid", &self.causation_id),
            ("idempotencykey", &self.idempotency_key),
            ("replyto", &self.reply_to),
            ("onlyfor", &self.only_for),
        ];
        for (name, value) in optional {
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

    /// Reads a record's attributes. Those that it does not know are left alone.
    ///
    /// # Errors
    /// When one that is required is missing, or one cannot be read.
    pub fn parse(headers: &'a Headers) -> Result<Self, EnvelopeError> {
        const NONE: Cow<'static, str> = Cow::Borrowed("");
        let mut version = NONE;
        let mut envelope = Envelope {
            id: NONE,
            source: NONE,
            message_type: NONE,
            time: NONE,
            content_type: NONE,
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
        };
        for (name, value) in headers.iter() {
            match name {
                "specversion" => version = value,
                "id" => envelope.id = value,
                "source" => envelope.source = value,
                "type" => envelope.message_type = value,
                "time" => envelope.time = value,
                "datacontenttype" => envelope.content_type = value,
                "partitionkey" => envelope.partition_key = Some(value),
                "traceparent" => envelope.trace_parent = Some(value),
                "tracestate" => envelope.trace_state = Some(value),
                "correlationid" => envelope.correlation_id = Some(value),
                "causationid" => envelope.causation_id = Some(value),
                "idempotencykey" => envelope.idempotency_key = Some(value),
                "replyto" => envelope.reply_to = Some(value),
                "onlyfor" => envelope.only_for = Some(value),
                "deadline" => {
                    let deadline = value.parse().map_err(|_| EnvelopeError("deadline"))?;
                    envelope.deadline = Some(deadline);
                }
                "attempt" => {
                    envelope.attempt = value.parse().map_err(|_| EnvelopeError("attempt"))?;
                }
                _ => {}
            }
        }
        if version != "1.0" {
            return Err(EnvelopeError("specversion"));
        }
        for (name, value) in [
            ("id", &envelope.id),
            ("source", &envelope.source),
            ("type", &envelope.message_type),
            ("datacontenttype", &envelope.content_type),
        ] {
            if value.is_empty() {
                return Err(EnvelopeError(name));
            }
        }
        Ok(envelope)
    }

    /// The same, in its own memory.
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

    /// The message as an engine takes it.
    pub(crate) fn record(&self, body: bytes::Bytes, expires: Option<Duration>) -> Record {
        Record {
            headers: self.headers(),
            body,
            key: self.partition_key.as_deref().map(Arc::from),
            expires,
        }
    }
}

/// Now, as an attribute.
pub(crate) fn now() -> String {
    Timestamp::now().to_string()
}

/// An attribute is missing or cannot be read; holds its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeError(pub &'static str);
impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the attribute `{}` is missing or cannot be read", self.0)
    }
}
impl std::error::Error for EnvelopeError {}
