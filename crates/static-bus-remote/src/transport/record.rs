//! Records and the topics that carry them.

use std::{
    any::Any,
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use static_bus::message::Message;

use crate::Headers;

/// A sequence of records, to which producers append and from which consumers and receivers read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic {
    /// The kind of its records.
    pub kind: Kind,
    /// The name of the message; of replies, the address of the process that waits for them; of dead letters,
    /// empty.
    pub name: Cow<'static, str>,
}

impl Topic {
    /// The topic of messages of this type.
    pub(crate) fn of<M: Message>(kind: Kind) -> Self {
        Topic {
            kind,
            name: Cow::Borrowed(M::NAME),
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

/// The kind of the records of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Requests. Delivered at most once, to one [receiver](super::Receiver), before they expire.
    Query,
    /// Responses. Delivered at most once, to one process.
    Reply,
    /// Delivered at least once, to one group.
    Command,
    /// Delivered at least once, to each group.
    Event,
    /// Messages that could not be handled. Read with [`Transport::dead_letters`](super::Transport::dead_letters)
    /// only.
    DeadLetter,
}

impl Kind {
    /// `query`, `reply`, `command`, `event` or `dead-letter`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Query => "query",
            Kind::Reply => "reply",
            Kind::Command => "command",
            Kind::Event => "event",
            Kind::DeadLetter => "dead-letter",
        }
    }
}

/// The unit that producers append: attributes, and a body that is opaque to the engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The attributes of the message.
    pub headers: Headers,
    /// The encoded message.
    pub body: Bytes,
    /// The ordering key. Records of one topic and one key keep their order. A key that is not text, from another
    /// program, is represented as [`key_from_bytes`](super::key_from_bytes) does it.
    pub key: Option<Arc<str>>,
    /// The time until the record expires, counted from `append`: the deadline of a query. `None`: never. Of a received
    /// record, the time that is left, best by the clock of the broker: it decides when the handler is cancelled.
    pub expires: Option<Duration>,
    /// The time at which a [scheduled](Due) record of a command or an event is due. `None`: at once; and of a record that
    /// was received.
    pub due: Option<Due>,
    /// The attempt to handle a message that sends this record; `None` outside of handlers, and of a record that
    /// was received.
    pub scope: Option<Scope>,
}

/// The time at which a scheduled record is due, and the key by which it is cancelled.
///
/// When it is due, it is as if it were appended at that moment.
///
/// ```
/// # use std::time::{Duration, SystemTime};
/// # use static_bus_remote::transport::{Due, DueTime};
/// let reminder = Due::after(Duration::from_secs(3600)).with_key("order 7");
/// assert_eq!(reminder.time, DueTime::After(Duration::from_secs(3600)));
/// assert_eq!(reminder.key.as_deref(), Some("order 7"));
///
/// let midnight = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_057_600);
/// assert_eq!(Due::from(midnight), Due::at(midnight));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Due {
    /// The time.
    pub time: DueTime,
    /// The cancellation key, unique among the records of a topic that are not due: a new record replaces one with the
    /// same key. `None`: the record cannot be cancelled.
    pub key: Option<Arc<str>>,
}

/// A time or a delay, by the clock of the broker. A time that is over is due at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueTime {
    /// At this time.
    At(SystemTime),
    /// After this time, counted from `append`.
    After(Duration),
}

impl Due {
    /// At this time.
    pub const fn at(time: SystemTime) -> Self {
        let time = DueTime::At(time);
        Due { time, key: None }
    }

    /// After this time, counted from when the broker accepts the message.
    pub const fn after(delay: Duration) -> Self {
        let time = DueTime::After(delay);
        Due { time, key: None }
    }

    /// The same time with a [cancellation key](Due::key).
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl From<SystemTime> for Due {
    fn from(time: SystemTime) -> Self {
        Due::at(time)
    }
}

impl From<Duration> for Due {
    fn from(delay: Duration) -> Self {
        Due::after(delay)
    }
}

/// An attempt to handle a record, in the terms of the engine that delivered it:
/// [`Consumer::begin`](super::Consumer::begin).
///
/// ```
/// # use static_bus_remote::transport::Scope;
/// let scope = Scope::new(String::from("attempt 7"));
/// assert_eq!(scope.get::<String>().unwrap(), "attempt 7");
/// assert_eq!(scope.get::<u32>(), None, "the scope of another engine");
/// ```
#[derive(Clone)]
pub struct Scope(Arc<dyn Any + Send + Sync>);

impl Scope {
    /// The scope of an attempt.
    pub fn new(attempt: impl Any + Send + Sync) -> Self {
        Scope(Arc::new(attempt))
    }

    /// The attempt; `None` if it is of another type.
    pub fn get<A: Any>(&self) -> Option<&A> {
        self.0.downcast_ref()
    }
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Scope {}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// A dead letter as the engine keeps it.
#[derive(Debug, Clone)]
pub struct DeadLetterRecord {
    /// The position among the dead letters. Later ones have greater positions.
    pub position: String,
    /// The record that was appended.
    pub record: Record,
}
