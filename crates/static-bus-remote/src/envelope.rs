//! The attributes of a message: those of [CloudEvents 1.0](https://cloudevents.io), in binary mode, and
//! extensions.

use std::{borrow::Cow, cell::RefCell, fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use super::{Headers, context, headers::Position, transport::Record};

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
    /// All other attributes, with their names: the headers that the sender has set, and those of other programs.
    pub custom: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Envelope<'a> {
    /// The attributes of a new message.
    pub fn new(
        source: impl Into<Cow<'a, str>>,
        message_type: impl Into<Cow<'a, str>>,
        content_type: impl Into<Cow<'a, str>>,
    ) -> Self {
        Self::with_id(Uuid::now_v7(), source, message_type, content_type)
    }

    /// The attributes of a new message with this id.
    pub(crate) fn with_id(
        id: Uuid,
        source: impl Into<Cow<'a, str>>,
        message_type: impl Into<Cow<'a, str>>,
        content_type: impl Into<Cow<'a, str>>,
    ) -> Self {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text: &str = id.hyphenated().encode_lower(&mut text);
        Envelope {
            id: Cow::Owned(text.to_owned()),
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
            custom: Vec::new(),
        }
    }

    /// The attributes as a record carries them.
    ///
    /// # Panics
    /// If the name of a custom attribute is empty or has characters other than `a` to `z` and `0` to `9`.
    pub fn headers(&self) -> Headers {
        let mut headers = Headers::with_capacity(384);
        headers.push_valid("specversion", "1.0");
        for (name, value) in NAMES.iter().zip(self.values()) {
            if let Some(value) = value {
                headers.push_valid(name, value);
            }
        }
        if let Some(deadline) = self.deadline {
            headers.push_valid("deadline", &text_of(deadline));
        }
        if self.attempt != 1 {
            headers.push_valid("attempt", &self.attempt.to_string());
        }
        for (name, value) in &self.custom {
            headers.push(name, value);
        }
        headers
    }

    /// The value of a [custom](Self::custom) attribute.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.custom.iter().filter(|(other, _)| other == name);
        named.next_back().map(|(_, value)| &**value)
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

    /// Parses the attributes of a record. Those without a field of their own are [custom](Self::custom).
    ///
    /// # Errors
    /// When a required attribute is missing, or one cannot be parsed.
    pub fn parse(headers: &'a Headers) -> Result<Self, EnvelopeError> {
        let index = Index::of(headers)?;
        index.deadline(headers)?;
        Ok(index.envelope(headers))
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
            custom: self
                .custom
                .into_iter()
                .map(|(name, value)| (owned(name), owned(value)))
                .collect(),
        }
    }

    /// The record with these attributes.
    pub(crate) fn record(&self, body: bytes::Bytes, expires: Option<Duration>) -> Record {
        Record {
            headers: self.headers(),
            body,
            key: self.partition_key.as_deref().map(Arc::from),
            expires,
            due: None,
            scope: context::current_scope(),
        }
    }
}

/// The number of attributes that are text.
const TEXTS: usize = 13;

/// The names of the attributes, and the function that returns the number of a name: a comparison of texts of known
/// length, and no search.
macro_rules! attributes {
    ($($number:literal $id:ident $name:literal)*) => {
        const NAMES: [&str; [$($number),*].len()] = [$($name),*];

        /// The attributes by their numbers.
        pub(crate) mod attribute {
            $(pub(crate) const $id: usize = $number;)*
        }

        fn number_of(name: &str) -> Option<usize> {
            match name {
                $($name => Some($number),)*
                _ => None,
            }
        }
    };
}

// First those that are text, in the order in which they are written.
attributes! {
    0 ID "id"
    1 SOURCE "source"
    2 TYPE "type"
    3 TIME "time"
    4 CONTENT_TYPE "datacontenttype"
    5 PARTITION_KEY "partitionkey"
    6 TRACE_PARENT "traceparent"
    7 TRACE_STATE "tracestate"
    8 CORRELATION_ID "correlationid"
    9 CAUSATION_ID "causationid"
    10 IDEMPOTENCY_KEY "idempotencykey"
    11 REPLY_TO "replyto"
    12 ONLY_FOR "onlyfor"
    13 VERSION "specversion"
    14 DEADLINE "deadline"
    15 ATTEMPT "attempt"
}

/// The names of other attributes that CloudEvents defines, and of those that replies have.
const RESERVED: [&str; 7] = [
    "data",
    "datacontentencoding",
    "dataschema",
    "subject",
    "error",
    "retryable",
    "status",
];

/// Returns `true` if no header that a program sets may have this name.
pub(crate) fn is_reserved(name: &str) -> bool {
    number_of(name).is_some() || RESERVED.contains(&name)
}

/// The result of parsing headers: the positions of the values. So headers are parsed once, however often their
/// envelope is read.
pub(crate) struct Index {
    /// By the numbers of the attributes.
    positions: [Option<Position>; NAMES.len()],
    attempt: u32,
    /// `true` if there are attributes of other names.
    has_custom: bool,
}

impl Index {
    pub(crate) fn of(headers: &Headers) -> Result<Self, EnvelopeError> {
        let mut has_custom = false;
        let positions = headers.positions_of(|name| {
            let number = number_of(name);
            has_custom |= number.is_none();
            number
        });
        let mut index = Index {
            positions,
            attempt: 1,
            has_custom,
        };
        let error = |attribute: usize| EnvelopeError(NAMES[attribute]);
        if index.value(headers, attribute::VERSION).as_deref() != Some("1.0") {
            return Err(error(attribute::VERSION));
        }
        for required in [
            attribute::ID,
            attribute::SOURCE,
            attribute::TYPE,
            attribute::CONTENT_TYPE,
        ] {
            if index.positions[required].is_none_or(Position::is_empty) {
                return Err(error(required));
            }
        }
        if let Some(attempt) = index.value(headers, attribute::ATTEMPT) {
            let attempt = attempt.parse();
            index.attempt = attempt.map_err(|_| error(attribute::ATTEMPT))?;
        }
        Ok(index)
    }

    /// The deadline. It is parsed where it is needed: engines know the time that is left.
    ///
    /// # Errors
    /// When it cannot be parsed.
    pub(crate) fn deadline(&self, headers: &Headers) -> Result<Option<Timestamp>, EnvelopeError> {
        let deadline = self.value(headers, attribute::DEADLINE);
        let deadline = deadline.map(|deadline| deadline.parse()).transpose();
        deadline.map_err(|_| EnvelopeError(NAMES[attribute::DEADLINE]))
    }

    /// The value of the attribute with this number, in the headers that were parsed.
    pub(crate) fn value<'h>(&self, headers: &'h Headers, attribute: usize) -> Option<Cow<'h, str>> {
        self.positions[attribute].map(|position| headers.value(position))
    }

    /// The envelope of the headers that were parsed.
    pub(crate) fn envelope<'h>(&self, headers: &'h Headers) -> Envelope<'h> {
        let value = |attribute| self.value(headers, attribute);
        Envelope {
            id: value(attribute::ID).unwrap_or_default(),
            source: value(attribute::SOURCE).unwrap_or_default(),
            message_type: value(attribute::TYPE).unwrap_or_default(),
            time: value(attribute::TIME).unwrap_or_default(),
            content_type: value(attribute::CONTENT_TYPE).unwrap_or_default(),
            partition_key: value(attribute::PARTITION_KEY),
            trace_parent: value(attribute::TRACE_PARENT),
            trace_state: value(attribute::TRACE_STATE),
            correlation_id: value(attribute::CORRELATION_ID),
            causation_id: value(attribute::CAUSATION_ID),
            idempotency_key: value(attribute::IDEMPOTENCY_KEY),
            reply_to: value(attribute::REPLY_TO),
            only_for: value(attribute::ONLY_FOR),
            deadline: self.deadline(headers).unwrap_or_default(),
            attempt: self.attempt,
            custom: match self.has_custom {
                true => custom(headers).collect(),
                false => Vec::new(),
            },
        }
    }
}

/// The attributes that have no field of their own.
fn custom(headers: &Headers) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let others = headers.iter().filter(|(name, _)| number_of(name).is_none());
    others.map(|(name, value)| (Cow::Borrowed(name), value))
}

/// The current time, as an attribute.
pub(crate) fn now() -> String {
    text_of(Timestamp::now())
}

thread_local! {
    /// The texts of some seconds, by the seconds since the Unix epoch: messages have the times of few seconds.
    static SECONDS: RefCell<[(i64, String); 8]> = RefCell::default();
}

/// A time as an attribute: as `to_string` writes it, without the cost of a calendar and a formatter.
fn text_of(time: Timestamp) -> String {
    let (second, mut nanos) = (time.as_second(), time.subsec_nanosecond());
    if second <= 0 {
        return time.to_string();
    }
    SECONDS.with_borrow_mut(|seconds| {
        let (known, text) = &mut seconds[(second % 8) as usize];
        if *known != second {
            *text = Timestamp::from_second(second).unwrap_or(time).to_string();
            *known = second;
        }
        let whole = text.strip_suffix('Z').unwrap_or(text);
        let mut written = String::with_capacity(30);
        written.push_str(whole);
        let mut place = 100_000_000;
        if nanos > 0 {
            written.push('.');
        }
        while nanos > 0 {
            written.push((b'0' + (nanos / place) as u8) as char);
            (nanos, place) = (nanos % place, place / 10);
        }
        written.push('Z');
        written
    })
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::text_of;

    #[test]
    fn a_time_is_written_as_its_to_string_writes_it() {
        for second in [
            -2,
            -1,
            0,
            1,
            1_767_225_599,
            1_767_225_600,
            1_767_225_607,
            253_402_207_200,
        ] {
            for nanos in [0, 1, 10, 999, 1000, 120_000_000, 987_654_321, 999_999_999] {
                let time = Timestamp::new(second, nanos).unwrap();
                assert_eq!(text_of(time), time.to_string());
            }
        }
    }
}
