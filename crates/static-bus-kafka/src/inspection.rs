//! The state of topics and groups, for operators.
//!
//! The position of a group can be read only with a client of that group, which does not join it. Some of these clients
//! are kept, because each inspection needs them again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rdkafka::{groups::GroupMemberInfo, metadata::Metadata};
use tokio::task::JoinSet;

use super::{
    backlog::{GroupOffsets, Waiting, age, topic_bounds},
    clients::{self, blocking, retry_until},
    cluster::Cluster,
    events::{Client, Events},
    names::{group_id, topic_name, topic_of},
    settings::Settings,
};
use static_bus_remote::{
    lock::lock,
    transport::{
        Backlog, GroupState, MemberState, Topic, TopicState, TransportError, UnsettledRecord,
    },
};

/// The operation in errors.
const DOING: &str = "inspecting the cluster";
/// The number of groups that are inspected at the same time.
const AT_ONCE: usize = 8;

/// The greatest number of clients of groups that are kept. Those of further groups are started for each inspection.
const KEPT: usize = 32;

/// The clients that inspect.
#[derive(Default)]
pub(super) struct Clients(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// The client that reads the bounds of topics. It has no group.
    topics: Option<Arc<Client>>,
    /// Those that read the positions of groups, by group.
    groups: HashMap<String, Arc<Client>>,
}

/// A client of a group. It is not a member.
struct GroupClient {
    client: Arc<Client>,
    is_kept: bool,
}

impl Clients {
    fn of_topics(&self, settings: &Settings) -> Result<Arc<Client>, TransportError> {
        let mut kept = lock(&self.0);
        if let Some(client) = &kept.topics {
            return Ok(client.clone());
        }
        let client: Client = clients::start(settings, &settings.admin(), Events::default())?;
        Ok(kept.topics.insert(Arc::new(client)).clone())
    }

    fn of_group(&self, settings: &Settings, group: &str) -> Result<GroupClient, TransportError> {
        let mut kept = lock(&self.0);
        if let Some(client) = kept.groups.get(group) {
            let (client, is_kept) = (client.clone(), true);
            return Ok(GroupClient { client, is_kept });
        }
        let config = settings.consumer(group);
        let client: Client = clients::start(settings, &config, Events::default())?;
        let client = Arc::new(client);
        let is_kept = kept.groups.len() < KEPT;
        if is_kept {
            kept.groups.insert(group.to_owned(), client.clone());
        }
        Ok(GroupClient { client, is_kept })
    }

    /// Ends the clients of groups that do not exist any more.
    fn retain(&self, groups: &[Group]) {
        let exists = |id: &str| groups.iter().any(|group| group.id == id);
        let mut kept = lock(&self.0);
        let gone = kept.groups.extract_if(|id, _| !exists(id));
        gone.for_each(|(_, client)| clients::end(client));
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let Kept { topics, groups } = std::mem::take(&mut *lock(&self.0));
        let all = topics.into_iter().chain(groups.into_values());
        all.for_each(clients::end);
    }
}

impl Drop for GroupClient {
    fn drop(&mut self) {
        if !self.is_kept {
            clients::end(self.client.clone());
        }
    }
}

/// A group of the cluster, with its members.
struct Group {
    id: String,
    members: Vec<MemberState>,
}

/// The topics of the namespace.
pub(super) async fn topics(cluster: &Cluster) -> Result<Vec<Topic>, TransportError> {
    let metadata = metadata(cluster).await?;
    let namespace = cluster.settings().namespace();
    let names = metadata.topics().iter().map(|topic| topic.name());
    let topics: BTreeSet<_> = names.filter_map(|name| topic_of(namespace, name)).collect();
    Ok(topics.into_iter().collect())
}

/// The states of those topics that exist.
pub(super) async fn inspect(
    cluster: &Arc<Cluster>,
    topics: &[Topic],
) -> Result<Vec<TopicState>, TransportError> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let namespace = cluster.settings().namespace();
    let metadata = metadata(cluster).await?;
    let groups = groups(cluster).await?;
    cluster.inspectors().retain(&groups);
    let client = cluster.inspectors().of_topics(cluster.settings())?;
    let mut states = Vec::with_capacity(topics.len());
    let mut inspections = Vec::new();
    for topic in topics {
        let name: Arc<str> = topic_name(namespace, topic).into();
        let Some(found) = metadata
            .topics()
            .iter()
            .find(|found| *found.name() == *name)
        else {
            continue;
        };
        let mut state = TopicState::new(topic.clone());
        state.partitions = found.partitions().len();
        let bounds = topic_bounds(cluster, client.clone(), &name).await?;
        let (mut stored, mut appended) = (0, 0);
        for (begin, end) in bounds.into_values() {
            stored += end - begin;
            appended += end;
        }
        state.stored = u64::try_from(stored).unwrap_or_default();
        state.appended = u64::try_from(appended).ok();
        let prefix = group_id(namespace, topic, "");
        for group in &groups {
            if let Some(short) = group.id.strip_prefix(&prefix) {
                let mut state = GroupState::new(short);
                state.members = group.members.clone();
                inspections.push((states.len(), group.id.clone(), name.clone(), state));
            }
        }
        states.push(state);
    }
    let mut inspections = inspections.into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE
            && let Some((at, id, name, state)) = inspections.next()
        {
            let cluster = cluster.clone();
            running.spawn(async move {
                let state = inspect_group(&cluster, &id, &name, state).await?;
                Ok::<_, TransportError>((at, state))
            });
        }
        match running.join_next().await {
            Some(Ok(inspected)) => {
                let (at, state) = inspected?;
                states[at].groups.push(state);
            }
            Some(Err(_)) => return Err(cluster.unanswered(DOING)),
            None => break,
        }
    }
    for state in &mut states {
        state.groups.sort_by(|a, b| a.group.cmp(&b.group));
    }
    Ok(states)
}

/// Adds the backlog to the state of a group.
async fn inspect_group(
    cluster: &Cluster,
    id: &str,
    topic: &Arc<str>,
    mut state: GroupState,
) -> Result<GroupState, TransportError> {
    let client = cluster.inspectors().of_group(cluster.settings(), id)?;
    let offsets = GroupOffsets::read(cluster, client.client.clone(), topic).await?;
    let waiting = offsets.waiting(cluster, &BTreeMap::new()).await?;
    let record = |(number, waiting): (&i32, &Waiting)| {
        let place = format!("partition {number}, offset {}", waiting.first);
        let mut record = UnsettledRecord::new(place, age(waiting.appended?));
        let number = usize::try_from(*number).unwrap_or_default();
        let mut members = state.members.iter();
        let holder = members.find(|member| member.partitions.contains(&number));
        record.holder = holder.map(|member| member.name.clone());
        Some(record)
    };
    let mut oldest: Vec<_> = waiting.iter().filter_map(record).collect();
    oldest.sort_by(|a, b| (b.age, &a.place).cmp(&(a.age, &b.place)));
    oldest.truncate(GroupState::OLDEST);
    state.backlog = Backlog {
        pending: 0,
        lag: waiting.values().map(|waiting| waiting.records).sum(),
        oldest: oldest.first().map_or(Duration::ZERO, |record| record.age),
    };
    state.oldest = oldest;
    Ok(state)
}

async fn metadata(cluster: &Cluster) -> Result<Metadata, TransportError> {
    let (admin, deadline) = (
        cluster.topics().admin().await?,
        cluster.settings().deadline(),
    );
    blocking(cluster.settings(), DOING, move || {
        retry_until(Instant::now() + deadline, || {
            admin.inner().fetch_metadata(None, deadline)
        })
    })
    .await
}

/// The groups of the namespace.
async fn groups(cluster: &Cluster) -> Result<Vec<Group>, TransportError> {
    let (admin, deadline) = (
        cluster.topics().admin().await?,
        cluster.settings().deadline(),
    );
    let prefix = format!("{}.", cluster.settings().namespace());
    blocking(cluster.settings(), DOING, move || {
        let list = retry_until(Instant::now() + deadline, || {
            admin.inner().fetch_group_list(None, deadline)
        })?;
        let groups = list.groups().iter();
        let groups = groups.filter(|group| group.name().starts_with(&prefix));
        let group = groups.map(|group| {
            let mut members: Vec<_> = group.members().iter().map(member).collect();
            members.sort();
            Group {
                id: group.name().to_owned(),
                members,
            }
        });
        Ok(group.collect())
    })
    .await
}

fn member(info: &GroupMemberInfo) -> MemberState {
    let mut member = MemberState::new(info.id());
    member.host = Some(info.client_host().trim_start_matches('/').to_owned());
    let assignment = info.assignment().unwrap_or_default();
    member.partitions = assigned(assignment).unwrap_or_default();
    member
}

/// The partitions in an assignment, in the format of Kafka's
/// [consumer protocol](https://kafka.apache.org/protocol): a version, then topics with their partitions.
fn assigned(assignment: &[u8]) -> Option<Vec<usize>> {
    let mut rest = assignment;
    let mut take = |length: usize| rest.split_off(..length);
    take(2)?;
    let topics = u32::from_be_bytes(take(4)?.try_into().ok()?);
    let mut partitions = Vec::new();
    for _ in 0..topics {
        let length = u16::from_be_bytes(take(2)?.try_into().ok()?);
        take(length.into())?;
        let count = u32::from_be_bytes(take(4)?.try_into().ok()?);
        for _ in 0..count {
            let number = u32::from_be_bytes(take(4)?.try_into().ok()?);
            partitions.push(usize::try_from(number).ok()?);
        }
    }
    partitions.sort_unstable();
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::Consumer as _;

    use super::{Clients, Group, KEPT, assigned};
    use crate::settings::KafkaTransportBuilder;

    #[test]
    fn clients_of_groups_are_kept_up_to_a_number_and_while_their_group_exists() {
        let settings = KafkaTransportBuilder::new("127.0.0.1:1")
            .settings()
            .unwrap();
        let clients = Clients::default();
        let groups = (0..KEPT + 3).map(|n| Group {
            id: n.to_string(),
            members: Vec::new(),
        });
        let groups: Vec<_> = groups.collect();
        let address = |group: &Group| {
            let client = clients.of_group(&settings, &group.id).unwrap();
            client.client.client().native_ptr()
        };
        for group in &groups {
            address(group);
        }
        let kept = || clients.0.lock().unwrap().groups.len();
        assert_eq!(kept(), KEPT);
        assert_eq!(address(&groups[0]), address(&groups[0]));
        clients.retain(&groups[1..]);
        assert_eq!(kept(), KEPT - 1);
        address(&groups[KEPT]);
        assert_eq!(kept(), KEPT);
    }

    #[test]
    fn an_assignment_has_the_partitions_of_all_topics() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\x07\0\0\0\x03\0\x02bc\0\0\0\x01\0\0\x01\0\xff\xff\xff\xff";
        assert_eq!(assigned(bytes), Some(vec![3, 7, 256]));
        for cut in 0..bytes.len() - 4 {
            assert_eq!(assigned(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(assigned(b"\0\0\xff\xff\xff\xff"), None);
    }
}
