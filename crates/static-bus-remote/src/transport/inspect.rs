//! The state of topics and groups, for operators.

use std::time::Duration;

use super::{Backlog, Topic, Transport, TransportError};

/// A broker engine whose topics and groups can be inspected.
///
/// An inspection changes nothing. Each command to the broker does a bounded amount of work, however many records are
/// stored.
pub trait Inspect: Transport {
    /// The topics of [queries](super::Kind::Query), [commands](super::Kind::Command), [events](super::Kind::Event) and
    /// [dead letters](super::Kind::DeadLetter) that exist, in ascending order.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    fn topics(&self) -> impl Future<Output = Result<Vec<Topic>, TransportError>> + Send;

    /// The states of topics, in the same order. A topic that does not exist is left out.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    fn inspect(
        &self,
        topics: &[Topic],
    ) -> impl Future<Output = Result<Vec<TopicState>, TransportError>> + Send;
}

/// The state of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicState {
    /// The topic.
    pub topic: Topic,
    /// The number of partitions; 0 if the topic has none.
    pub partitions: usize,
    /// The number of records that the broker stores. Settled records are included until the broker removes them.
    pub stored: u64,
    /// The number of records that were ever appended; `None` where the broker does not count.
    pub appended: Option<u64>,
    /// The number of records that are due later.
    pub scheduled: u64,
    /// The time until the next of them is due; zero if it is; `None` if there are none.
    pub next_due: Option<Duration>,
    /// The groups, in ascending order of their names.
    pub groups: Vec<GroupState>,
}

impl TopicState {
    /// The state of a topic without records and groups.
    pub fn new(topic: Topic) -> Self {
        TopicState {
            topic,
            partitions: 0,
            stored: 0,
            appended: None,
            scheduled: 0,
            next_due: None,
            groups: Vec::new(),
        }
    }
}

/// The state of a group of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupState {
    /// The name of the group.
    pub group: String,
    /// The records that the group has not settled.
    pub backlog: Backlog,
    /// `false` if [`Backlog::lag`] is a lower bound, because an exact count would take unbounded work.
    pub lag_is_exact: bool,
    /// The members, in ascending order of their names.
    pub members: Vec<MemberState>,
    /// The oldest records that are not settled, up to [`GroupState::OLDEST`], the oldest first.
    pub oldest: Vec<UnsettledRecord>,
}

impl GroupState {
    /// The greatest number of records in [`GroupState::oldest`].
    pub const OLDEST: usize = 10;

    /// The state of a group without members and backlog.
    pub fn new(group: impl Into<String>) -> Self {
        GroupState {
            group: group.into(),
            backlog: Backlog::default(),
            lag_is_exact: true,
            members: Vec::new(),
            oldest: Vec::new(),
        }
    }
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct MemberState {
    /// The name of the member in the terms of the broker. It begins with
    /// [`Subscription::member`](super::Subscription::member), except of receivers of queries.
    pub name: String,
    /// The address of its process, where the broker reports it.
    pub host: Option<String>,
    /// The partitions that the member has.
    pub partitions: Vec<usize>,
}

impl MemberState {
    /// A member without partitions.
    pub fn new(name: impl Into<String>) -> Self {
        MemberState {
            name: name.into(),
            host: None,
            partitions: Vec::new(),
        }
    }
}

/// A record that a group has not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnsettledRecord {
    /// The location of the record, as in [`DeadLetter::place`](crate::DeadLetter::place).
    pub place: String,
    /// The time since it was appended. The time since its delivery is unknown: brokers do not keep it.
    pub age: Duration,
    /// The name of the member that has the record or, where the engine knows only the owners of partitions, of the one
    /// that has its partition. `None` if there is none.
    pub holder: Option<String>,
    /// The number of deliveries, where the broker counts them.
    pub deliveries: Option<u64>,
}

impl UnsettledRecord {
    /// A record that no member has.
    pub fn new(place: impl Into<String>, age: Duration) -> Self {
        UnsettledRecord {
            place: place.into(),
            age,
            holder: None,
            deliveries: None,
        }
    }
}
