//! The knowledge of a sender whether a query has a receiver.
//!
//! The receivers of a query are the members of its group. A sender asks the cluster for the group at the first query,
//! and then at most once in an interval, beside the queries. Before it refuses a query, it asks again.
//!
//! ```text
//!   the group has members                        accepted
//!   it has none any more                         accepted for the grace time from the first such answer on, then refused
//!   it does not exist                            refused: the topic never had a receiver
//!   the cluster does not answer, or hides it     accepted
//! ```
//!
//! The cluster hides a group from a user without the permission to describe it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::{
    clients,
    names::{group_id, topic_name},
    offsets::{REQUEST_TIMEOUT, list},
    settings::Settings,
    topics::Admin,
};
use static_bus_remote::{lock::lock, transport::Topic};

/// The group of the receivers of a query.
pub(super) const GROUP: &str = "handlers";
/// The longest interval at which a group is looked at while queries are sent.
const MAX_INTERVAL: Duration = Duration::from_secs(5);

/// The interval at which a group is looked at that a receiver joins.
const JOIN_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The groups of the queries that were sent.
pub(super) struct Receivers {
    settings: Arc<Settings>,
    known: Mutex<HashMap<Topic, Known>>,
    /// The queries whose groups the user may describe, as far as it was asked.
    visible: Mutex<HashSet<Topic>>,
}

/// The last answer about a group.
#[derive(Clone, Copy)]
struct Known {
    at: Instant,
    /// The time of the first answer without members; `None` with members.
    gone: Option<Instant>,
}

/// The state of a group.
enum Group {
    HasMembers,
    Empty,
    Missing,
}

impl Receivers {
    pub fn new(settings: Arc<Settings>) -> Self {
        Receivers {
            settings,
            known: Mutex::default(),
            visible: Mutex::default(),
        }
    }

    /// Returns `false` if a query has no receiver.
    pub async fn accept(self: &Arc<Self>, admin: &Arc<Admin>, topic: &Topic) -> bool {
        let grace = self.settings.receiver_grace();
        let known = lock(&self.known).get(topic).copied();
        let Some(known) = known.filter(|known| known.is_accepted(grace)) else {
            return self.look(admin, topic).await;
        };
        if known.at.elapsed() > MAX_INTERVAL.min(grace / 4) {
            // Until there is an answer, no other query asks.
            lock(&self.known)
                .entry(topic.clone())
                .and_modify(|known| known.at = Instant::now());
            let (receivers, admin, topic) = (self.clone(), admin.clone(), topic.clone());
            tokio::spawn(async move { receivers.look(&admin, &topic).await });
        }
        true
    }

    /// Asks the cluster. Returns `false` if a query has no receiver.
    async fn look(&self, admin: &Arc<Admin>, topic: &Topic) -> bool {
        let group = look_up(&self.settings, admin, topic).await;
        let is_unknown = match group {
            Some(Group::Missing) => !self.may_see(topic).await,
            _ => false,
        };
        let now = Instant::now();
        let Some(group) = group.filter(|_| !is_unknown) else {
            // Not asked for again at once: the other records of the connection would wait for it.
            let new = Known {
                at: now,
                gone: None,
            };
            lock(&self.known).entry(topic.clone()).or_insert(new).at = now;
            return true;
        };
        let mut all = lock(&self.known);
        let before = all.get(topic).copied();
        let gone = match (group, before) {
            (Group::HasMembers, _) => None,
            (Group::Empty | Group::Missing, Some(before)) => before.gone.or(Some(now)),
            (Group::Empty, None) => Some(now),
            (Group::Missing, None) => return false,
        };
        let known = Known { at: now, gone };
        all.insert(topic.clone(), known);
        known.is_accepted(self.settings.receiver_grace())
    }

    /// Returns `true` if the user has the permission to describe the group of a query.
    async fn may_see(&self, topic: &Topic) -> bool {
        if lock(&self.visible).contains(topic) {
            return true;
        }
        let namespace = self.settings.namespace();
        let config = self.settings.consumer(&group_id(namespace, topic, GROUP));
        let places = list(&topic_name(namespace, topic), [0]);
        // It is the same permission.
        let read_positions = move || {
            let client: BaseConsumer = config.create()?;
            client.committed_offsets(places, REQUEST_TIMEOUT)
        };
        let read = clients::on_thread(read_positions).await;
        let may_see = matches!(read, Some(Ok(_)));
        if may_see {
            lock(&self.visible).insert(topic.clone());
        }
        may_see
    }
}

impl Known {
    fn is_accepted(&self, grace: Duration) -> bool {
        self.gone.is_none_or(|gone| gone.elapsed() < grace)
    }
}

/// Waits until the group of a query has a member. `false` if it has none in time.
pub(super) async fn await_member(settings: &Settings, admin: &Arc<Admin>, topic: &Topic) -> bool {
    let end = Instant::now() + settings.deadline();
    while Instant::now() < end {
        if let Some(Group::HasMembers) = look_up(settings, admin, topic).await {
            return true;
        }
        tokio::time::sleep(JOIN_CHECK_INTERVAL).await;
    }
    false
}

/// The group of a query; `None` if the cluster does not answer, or refuses.
async fn look_up(settings: &Settings, admin: &Arc<Admin>, topic: &Topic) -> Option<Group> {
    let id = group_id(settings.namespace(), topic, GROUP);
    let admin = admin.clone();
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
