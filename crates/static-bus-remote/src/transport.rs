//! What a broker engine implements. Everything above it is written once, for all engines.
//!
//! An engine moves [`Record`]s from producers to consumers, and knows nothing of messages, handlers
//! or retries. What it has to promise is checked by the conformance suite.

use std::{borrow::Cow, error::Error, fmt, hash::Hash, sync::Arc, time::Duration};

use bytes::Bytes;

use super::Headers;

/// A broker engine: a handle to one broker, cheap to clone.
///
/// Every method has its own deadline, which the engine sets: none waits for a broker that is gone.
pub trait Transport: Clone + Send + Sync + 'static {
    /// A member of a group that consumes one topic.
    type Consumer: Consumer;

    /// The broker's address for errors and logs, without secrets: `redis://127.0.0.1:6379`.
    fn address(&self) -> &str;

    /// What this engine can do.
    fn capabilities(&self) -> Capabilities;

    /// Asks the broker whether it is there and willing.
    fn check(&self) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// Appends records, in order, in as few round trips as the broker allows. Gives one result for
    /// each: `Ok` when the broker has it, as safely as it keeps anything.
    ///
    /// Records with one topic and one key are consumed in the order in which they were appended.
    /// An event that no group waits for may be dropped.
    fn append(
        &self,
        records: Vec<(Topic, Record)>,
    ) -> impl Future<Output = Vec<Result<(), TransportError>>> + Send;

    /// Joins a group, and creates it and the topic where they are missing. From then on the group
    /// gets every record of the topic, also while it has no member.
    ///
    /// A new group of a [command](Kind::Command) begins with the oldest record, one of an
    /// [event](Kind::Event) with the next.
    fn consume(
        &self,
        subscription: Subscription,
    ) -> impl Future<Output = Result<Self::Consumer, TransportError>> + Send;

    /// Up to `limit` dead letters that come after `after`, the oldest first.
    fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<DeadLetterRecord>, TransportError>> + Send;

    /// Removes dead letters by their position. Those that are gone already are no error.
    fn remove_dead_letters(
        &self,
        positions: &[String],
    ) -> impl Future<Output = Result<(), TransportError>> + Send;
}

/// A member of a group. One task receives, others settle what was received meanwhile.
///
/// Of a record that it has handed out a consumer holds a *lease*: for [`Subscription::lease`] nobody
/// else gets the record. A lease is renewed, or ends with `acknowledge` or `release`; when it runs out,
/// because its holder is gone, another member gets the record. Records of queries and replies have no
/// lease: they are gone once they are handed out.
///
/// All records of one key go to one member at a time: it gets the next before it has settled the
/// one before, and keeps the order itself, but no other member gets any until it has settled all.
pub trait Consumer: Send + Sync + 'static {
    /// Names a record that was handed out.
    type Receipt: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static;

    /// Waits until there are records, but no longer than `wait`, and gives up to `max` of them.
    /// Dropping the future loses none: what it was about to give is handed out again, at the latest
    /// when its lease runs out.
    ///
    /// Called by one task at a time.
    fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Delivery<Self::Receipt>>, TransportError>> + Send;

    /// Claims each deduplication key for the length of a lease, in order, atomically for each.
    ///
    /// A key is claimed within the group. It is held until `acknowledge` confirms it, `release` gives
    /// it up, or the lease runs out.
    fn claim(
        &self,
        keys: &[Arc<str>],
    ) -> impl Future<Output = Result<Vec<Claim>, TransportError>> + Send;

    /// Ends leases: these records are done, and nobody gets them again. Their deduplication keys are
    /// confirmed, for [`Subscription::deduplication`], also those whose lease has run out meanwhile:
    /// the record was handled, if late. A key is confirmed before or together with its record, never after.
    fn acknowledge(
        &self,
        leases: &[Lease<Self::Receipt>],
    ) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// Where the broker has a record, as those who operate it say it: `partition 3, offset 1042`. A dead letter
    /// tells it; none where it means nothing.
    fn place(&self, receipt: &Self::Receipt) -> Option<String> {
        _ = receipt;
        None
    }

    /// Tells that the handler of a record has failed, before it is tried again or settled: for engines that
    /// keep what a handler sends until its record is acknowledged.
    fn failed(&self, receipt: &Self::Receipt) {
        _ = receipt;
    }

    /// Renews leases and claims from now on. Those that are lost already are no error.
    fn renew(
        &self,
        leases: &[Lease<Self::Receipt>],
    ) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// Gives records back, and gives their claims up: another member gets them at once, or the same one
    /// where the engine shares [partitions](Sharing::Partitions). Such a record does not count as handed
    /// out. Of a record that is acknowledged already, the claim is given up all the same.
    fn release(
        &self,
        leases: &[Lease<Self::Receipt>],
    ) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// Leaves the group. What was received and not settled is given back, as `release` does.
    fn close(&self) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// How far the group is behind.
    fn backlog(&self) -> impl Future<Output = Result<Backlog, TransportError>> + Send;
}

/// What an engine can do. What it cannot do, the conformance suite skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Records outlive the process that appended them.
    pub other_processes: bool,
    /// Records outlive a restart of the broker.
    pub persistence: bool,
    /// Records of one key are consumed in order, whatever the number of members.
    pub key_order: bool,
    /// What the members of a group divide among them.
    pub sharing: Sharing,
}

/// What the members of a group divide among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sharing {
    /// Records: the next goes to whoever asks, and so does what is given back.
    Records,
    /// Partitions: the records of one go to one member, and so does what that member gives back. A
    /// partition moves to another when its member closes or dies, lets a lease run out, or when a member
    /// joins. Members join when they first receive; only records of one key are in order.
    Partitions,
}

impl Capabilities {
    /// An engine that keeps the order of keys, and everything in this process.
    pub const IN_PROCESS: Self = Capabilities {
        other_processes: false,
        persistence: false,
        key_order: true,
        sharing: Sharing::Records,
    };
    /// A broker that outlives its clients.
    pub const BROKER: Self = Capabilities {
        other_processes: true,
        persistence: true,
        key_order: true,
        sharing: Sharing::Records,
    };
}

/// Where records are appended and consumed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic {
    /// What it carries.
    pub kind: Kind,
    /// The message's name; of replies, the address of the process that waits for them; of dead
    /// letters, nothing.
    pub name: Cow<'static, str>,
}

/// What a topic carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Requests, consumed at most once, by one of the members. They are worth nothing after their
    /// deadline.
    Query,
    /// Answers, consumed at most once, by one process.
    Reply,
    /// Records for one group.
    Command,
    /// Records for each group.
    Event,
    /// What could not be handled; read with [`Transport::dead_letters`] only.
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

/// What is appended: attributes, and a body that no engine looks into.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Attributes of the message.
    pub headers: Headers,
    /// Its content.
    pub body: Bytes,
    /// Records of one key keep their order.
    pub key: Option<Arc<str>>,
    /// How long the record is of use, if not forever: a query's deadline, from now.
    pub expires: Option<Duration>,
}

/// Who consumes what, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscription {
    /// The topic to consume.
    pub topic: Topic,
    /// The group to join: of an event its subscriber's name, otherwise `handlers`.
    pub group: Cow<'static, str>,
    /// This member's name, unlike that of any other.
    pub member: Arc<str>,
    /// How long a record is left to a member that gives no sign of life.
    pub lease: Duration,
    /// How long the keys of handled records are remembered; none are if this is `None`.
    pub deduplication: Option<Duration>,
}

impl Subscription {
    /// A subscription with a lease of 30 s that remembers handled keys for 10 minutes.
    pub fn new(
        topic: Topic,
        group: impl Into<Cow<'static, str>>,
        member: impl Into<Arc<str>>,
    ) -> Self {
        Subscription {
            topic,
            group: group.into(),
            member: member.into(),
            lease: Duration::from_secs(30),
            deduplication: Some(Duration::from_secs(600)),
        }
    }

    /// The same subscription with another lease.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// The same subscription with another [deduplication](Subscription::deduplication).
    pub fn with_deduplication(mut self, window: impl Into<Option<Duration>>) -> Self {
        self.deduplication = window.into();
        self
    }
}

/// A record that was handed out.
#[derive(Debug, Clone)]
pub struct Delivery<R> {
    /// Names it when it is settled.
    pub receipt: R,
    /// What was appended; shared with the engine, which may have to hand it out again.
    pub record: Arc<Record>,
    /// How often it has been handed out, this time included, and not been given back; 1 where the
    /// engine does not count.
    pub attempt: u32,
}

/// A record that is held, and the deduplication key that is held with it.
#[derive(Debug, Clone)]
pub struct Lease<R> {
    /// The record.
    pub receipt: R,
    /// The claimed key; none if the record was not claimed.
    pub claim: Option<Arc<str>>,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is yours until its lease runs out.
    Granted,
    /// Another record with this key is being handled.
    Held,
    /// A record with this key was handled.
    Done,
}

/// How far a group is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Records handed out and not settled.
    pub pending: u64,
    /// Records not yet handed out.
    pub lag: u64,
    /// The age of the oldest record that is not settled; zero if there is none.
    pub oldest: Duration,
}

/// A dead letter as the engine keeps it.
#[derive(Debug, Clone)]
pub struct DeadLetterRecord {
    /// Where it is; later ones have greater positions.
    pub position: String,
    /// What was appended.
    pub record: Record,
}

/// Why an engine could not do what it was asked.
///
/// The text names the broker, never a password, and what can be done. The [kind](TransportError::kind) says
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
}

impl TransportErrorKind {
    /// Whether the same record may be accepted later without a change of the record, the configuration or the
    /// rights: `true` for [`Unreachable`](Self::Unreachable) and [`Closed`](Self::Closed).
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Unreachable | Self::Closed => true,
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

    /// What happened, and the remedy.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
