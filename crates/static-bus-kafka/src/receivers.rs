//! The knowledge of a sender whether a query has a receiver.
//!
//! The receivers of a query are the members of its group. A sender asks the cluster for the group at the first query,
//! and then at most once in an interval, beside the queries. Before it refuses a query, it asks again.
//!
//! ```text
//!   the group has members                        accepted
//!   it has none any more                         accepted for the grace time from the first such answer on, then refused,
//!                                                unless a receiver has been there since
//!   it does not exist                            refused: the topic never had a receiver
//!   the cluster does not answer, or hides it     accepted
//! ```
//!
//! The cluster hides a group from a user without the permission to describe it. A receiver that has come and gone between
//! two answers has read what was sent after the first one: before a query is refused, the commits are compared, at most once
//! in an interval.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use rdkafka::{
    Offset,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaResult,
    topic_partition_list::TopicPartitionListElem,
};
use tokio::time::Instant;

use super::{
    clients,
    names::{group_id, topic_name},
    offsets::{REQUEST_TIMEOUT, all, list},
    settings::Settings,
    topics::Admin,
};
use static_bus_remote::{lock::lock, transport::Topic};

#[cfg(test)]
mod tests;

/// The group of the receivers of a query.
pub(super) const GROUP: &str = "handlers";
/// The longest interval at which a group is looked at while queries are sent.
const MAX_INTERVAL: Duration = Duration::from_secs(5);
/// The interval at which the permission to describe a hidden group is looked at. Each look takes a client.
const PERMISSION_INTERVAL: Duration = Duration::from_secs(60);

/// The interval at which a group is looked at that a receiver joins.
const JOIN_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The queries that were sent.
pub(super) struct Receivers {
    grace: Duration,
    queries: Mutex<HashMap<Topic, Arc<Query>>>,
}

/// A query that was sent, and the knowledge of its group.
struct Query {
    topic: Topic,
    grace: Duration,
    known: Mutex<Option<Known>>,
    /// Locked while the cluster is asked.
    asked: tokio::sync::Mutex<Asked>,
}

/// The last answer about a group.
#[derive(Clone)]
struct Known {
    at: Instant,
    /// `None` with members.
    gone: Option<Arc<Gone>>,
}

/// The first answer without members.
struct Gone {
    at: Instant,
    committed: Committed,
    /// The time at which the commits were last compared.
    compared: Instant,
}

/// What a group has committed: the position in each partition, and the end of its hold.
pub(super) type Committed = Vec<(Offset, String)>;

#[derive(Default)]
struct Asked {
    /// The beginning of the last question that ended with a refusal.
    refused: Option<Instant>,
    /// The time of the last answer about the permission, and `true` if the user has it.
    permission: Option<(Instant, bool)>,
}

/// The state of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    HasMembers,
    Empty,
    Missing,
}

/// Questions to a cluster about the groups of queries.
pub(super) trait Groups: Clone + Send + Sync + 'static {
    /// The group of a query; `None` if the cluster does not answer, or refuses.
    fn look_up(&self, topic: &Topic) -> impl Future<Output = Option<Group>> + Send;

    /// What the group of a query has committed; `None` if the cluster does not answer, or the user lacks the permission
    /// to describe the group.
    fn committed(&self, topic: &Topic) -> impl Future<Output = Option<Committed>> + Send;
}

/// The groups of a cluster.
#[derive(Clone)]
pub(super) struct ClusterGroups {
    pub settings: Arc<Settings>,
    pub admin: Arc<Admin>,
}

impl Receivers {
    pub fn new(grace: Duration) -> Self {
        Receivers {
            grace,
            queries: Mutex::default(),
        }
    }

    /// Returns `false` if a query has no receiver.
    pub async fn accept(&self, groups: impl Groups, topic: &Topic) -> bool {
        let query = self.query(topic);
        let Some(known) = query.accepted() else {
            return query.ask(&groups).await;
        };
        if known.at.elapsed() > query.interval() {
            // Until there is an answer, no other query asks.
            let at = Instant::now();
            *lock(&query.known) = Some(Known { at, ..known });
            tokio::spawn(
                async move { query.update(&groups, &mut *query.asked.lock().await).await },
            );
        }
        true
    }

    fn query(&self, topic: &Topic) -> Arc<Query> {
        let mut queries = lock(&self.queries);
        if let Some(query) = queries.get(topic) {
            return query.clone();
        }
        let query = Arc::new(Query {
            topic: topic.clone(),
            grace: self.grace,
            known: Mutex::default(),
            asked: tokio::sync::Mutex::default(),
        });
        queries.insert(topic.clone(), query.clone());
        query
    }
}

impl Query {
    /// The interval at which the group is looked at while queries are sent.
    fn interval(&self) -> Duration {
        MAX_INTERVAL.min(self.grace / 4)
    }

    /// The last answer, if queries are accepted by it.
    fn accepted(&self) -> Option<Known> {
        let is_over = |gone: &Arc<Gone>| gone.at.elapsed() >= self.grace;
        let known = lock(&self.known).clone();
        known.filter(|known| !known.gone.as_ref().is_some_and(is_over))
    }

    /// Asks the cluster, once for all queries that wait for it. Returns `false` if the query has no receiver.
    async fn ask(&self, groups: &impl Groups) -> bool {
        let sent = Instant::now();
        let mut asked = self.asked.lock().await;
        if self.accepted().is_some() {
            return true;
        }
        // A receiver that opened before the query was sent is in the answer.
        if asked.refused.is_some_and(|begun| begun >= sent) {
            return false;
        }
        let begun = Instant::now();
        let is_accepted = self.update(groups, &mut asked).await;
        asked.refused = (!is_accepted).then_some(begun);
        is_accepted
    }

    /// Asks the cluster. Returns `false` if the query has no receiver.
    async fn update(&self, groups: &impl Groups, asked: &mut Asked) -> bool {
        let group = match groups.look_up(&self.topic).await {
            Some(Group::Missing) if !self.may_describe(groups, &mut asked.permission).await => None,
            group => group,
        };
        let now = Instant::now();
        let known = lock(&self.known).clone();
        if group == Some(Group::Missing) && known.is_none() {
            return false;
        }
        let before = known.and_then(|known| known.gone);
        let answer = match group {
            Some(Group::HasMembers) => Some(None),
            Some(_) => self.gone(groups, now, before.clone()).await.map(Some),
            None => None,
        };
        // Without an answer not asked for again at once: the other records of the connection would wait for it.
        let is_unknown = answer.is_none();
        let gone = answer.unwrap_or(before);
        *lock(&self.known) = Some(Known { at: now, gone });
        is_unknown || self.accepted().is_some()
    }

    /// The first answer without members since a receiver was there. `None` if the cluster does not answer.
    async fn gone(
        &self,
        groups: &impl Groups,
        now: Instant,
        before: Option<Arc<Gone>>,
    ) -> Option<Arc<Gone>> {
        if let Some(gone) = before.as_ref()
            && (gone.at.elapsed() < self.grace || gone.compared.elapsed() < self.interval())
        {
            return before;
        }
        let committed = groups.committed(&self.topic).await?;
        let unchanged = before.filter(|gone| gone.committed == committed);
        Some(Arc::new(Gone {
            at: unchanged.map_or(now, |gone| gone.at),
            committed,
            compared: now,
        }))
    }

    /// Asks for the permission, which is not asked for again once it is there.
    async fn may_describe(
        &self,
        groups: &impl Groups,
        permission: &mut Option<(Instant, bool)>,
    ) -> bool {
        match *permission {
            Some((_, true)) => true,
            Some((at, false)) if at.elapsed() < PERMISSION_INTERVAL => false,
            _ => {
                let may_describe = groups.committed(&self.topic).await.is_some();
                *permission = Some((Instant::now(), may_describe));
                may_describe
            }
        }
    }
}

/// Waits until the group of a query has a member. `false` if it has none in time.
pub(super) async fn await_member(groups: &impl Groups, topic: &Topic, deadline: Duration) -> bool {
    let end = Instant::now() + deadline;
    while Instant::now() < end {
        if groups.look_up(topic).await == Some(Group::HasMembers) {
            return true;
        }
        tokio::time::sleep(JOIN_CHECK_INTERVAL).await;
    }
    false
}

impl Groups for ClusterGroups {
    async fn look_up(&self, topic: &Topic) -> Option<Group> {
        let id = group_id(self.settings.namespace(), topic, GROUP);
        let admin = self.admin.clone();
        let look = move || {
            let found = admin
                .inner()
                .fetch_group_list(Some(&id), REQUEST_TIMEOUT)
                .ok()?;
            let group = found.groups().iter().find(|group| group.name() == id);
            Some(match group {
                Some(group) if !group.members().is_empty() => Group::HasMembers,
                Some(group) if group.state() != "Dead" => Group::Empty,
                _ => Group::Missing,
            })
        };
        clients::on_thread(look).await.flatten()
    }

    async fn committed(&self, topic: &Topic) -> Option<Committed> {
        let namespace = self.settings.namespace();
        let config = self.settings.consumer(&group_id(namespace, topic, GROUP));
        let name = topic_name(namespace, topic);
        let read = move || {
            let client: BaseConsumer = config.create()?;
            // Of a topic that does not exist any partition serves.
            let places = all(&client, &name).unwrap_or_else(|_| list(&name, [0]));
            let places = client.committed_offsets(places, REQUEST_TIMEOUT)?;
            let places = places.elements();
            let committed = |place: &TopicPartitionListElem<'_>| {
                place.error()?;
                Ok((place.offset(), place.metadata().to_owned()))
            };
            places.iter().map(committed).collect::<KafkaResult<_>>()
        };
        clients::on_thread(read).await?.ok()
    }
}
