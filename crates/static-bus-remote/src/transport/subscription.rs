//! Membership in a group, and the records that a member holds.

use std::{borrow::Cow, sync::Arc, time::Duration};

use super::{Record, Topic};

/// The membership of a [consumer](super::Consumer) in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscription {
    /// The topic, of a command or an event.
    pub topic: Topic,
    /// The name of the group: of an event its subscriber, of a command `handlers`.
    pub group: Cow<'static, str>,
    /// The name of this member, unique among all members.
    pub member: Arc<str>,
    /// The time after which the records of a member that does not renew its leases go to others. Default: 30 s.
    pub lease: Duration,
    /// The time for which the deduplication keys of acknowledged records are remembered; `None` for no
    /// deduplication. Default: 10 minutes.
    pub deduplication: Option<Duration>,
}

impl Subscription {
    /// A subscription with the default lease and deduplication.
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

    /// The same subscription with another [lease](Subscription::lease).
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// The same subscription with another [deduplication](Subscription::deduplication).
    #[must_use]
    pub fn with_deduplication(mut self, window: impl Into<Option<Duration>>) -> Self {
        self.deduplication = window.into();
        self
    }
}

/// A record that a consumer received, and now holds a lease of.
#[derive(Debug, Clone)]
pub struct Delivery<R> {
    /// The name of this delivery when it is settled.
    pub receipt: R,
    /// The record that was appended; shared with the engine, which may have to deliver it again.
    pub record: Arc<Record>,
    /// The number of deliveries of this record, this one included, without those that were released; 1 where the
    /// engine does not count.
    pub attempt: u32,
}

/// A held record, and the deduplication key that is held with it.
#[derive(Debug, Clone)]
pub struct Lease<R> {
    /// The record.
    pub receipt: R,
    /// The claimed key; `None` if none was claimed.
    pub claim: Option<Arc<str>>,
}

/// The result of a claim of a deduplication key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The key is held by the caller until the lease runs out.
    Granted,
    /// The key is held for another record that is being handled.
    Held,
    /// A record with this key was acknowledged.
    Done,
}

/// The records that a group has not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// The number of records that are delivered and not settled.
    pub pending: u64,
    /// The number of records that are not delivered.
    pub lag: u64,
    /// The age of the oldest record that is not settled; zero if there is none.
    pub oldest: Duration,
}
