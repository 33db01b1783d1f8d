//! The state of topics and groups, for operators.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use redis::{FromRedisValue, Value, cmd, from_redis_value};

use super::{
    errors::connect_error,
    keys::{self, GroupKeys},
    link::Link,
    scripts,
    servers::Servers,
    wire::EntryId,
};
use static_bus_remote::transport::{
    Backlog, GroupState, Kind, MemberState, Topic, TopicState, TransportError, UnsettledRecord,
};

/// The number of keys that one call of `SCAN` visits.
const SCANNED: usize = 1000;
/// The greatest number of calls of `SCAN`.
const SCANS: usize = 1000;
/// The greatest number of entries of a group that are counted one by one.
const COUNTED: usize = 1000;

/// The entries of the reply of the script for one group: the number of the stream, id, member, deliveries.
type Old = (usize, String, String, u64);

/// The topics of a namespace: those with a number of partitions, and those with a key among the first million of each
/// server.
pub(super) async fn topics(
    servers: &Arc<Servers>,
    namespace: &str,
) -> Result<Vec<Topic>, TransportError> {
    let mut topics = BTreeSet::new();
    let mut command = cmd("HKEYS");
    let key = keys::partitions(namespace);
    command.arg(&key);
    let link = servers.link(&key);
    let names: Vec<Vec<u8>> = read(&link, link.send(&command).await?, "HKEYS")?;
    let topic_of_name = |name: &Vec<u8>| keys::topic_of_name(str::from_utf8(name).ok()?);
    topics.extend(names.iter().filter_map(topic_of_name));
    let links = servers.all().await;
    for link in links.map_err(|e| connect_error(servers.address(), &e))? {
        scan(&link, namespace, &mut topics).await?;
    }
    Ok(topics.into_iter().collect())
}

/// Adds the topics with a key among the first million of a server.
async fn scan(
    link: &Link,
    namespace: &str,
    topics: &mut BTreeSet<Topic>,
) -> Result<(), TransportError> {
    let pattern = format!("{}:*", escape(namespace));
    let mut cursor = "0".to_owned();
    for _ in 0..SCANS {
        let mut command = cmd("SCAN");
        command.arg(&cursor).arg("MATCH").arg(&pattern);
        command.arg("COUNT").arg(SCANNED);
        let (next, page): (String, Vec<Vec<u8>>) = read(link, link.send(&command).await?, "SCAN")?;
        topics.extend(page.iter().filter_map(|key| {
            let key = str::from_utf8(key).ok()?;
            keys::topic_of_key(key.strip_prefix(namespace)?.strip_prefix(':')?)
        }));
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    Ok(())
}

/// The state of a topic; `None` if it does not exist.
pub(super) async fn inspect(
    servers: &Arc<Servers>,
    namespace: &str,
    topic: &Topic,
) -> Result<Option<TopicState>, TransportError> {
    let mut state = TopicState::new(topic.clone());
    let link = &servers.link(&keys::shared(namespace, topic));
    if topic.kind == Kind::Query {
        let mut command = cmd("LLEN");
        command.arg(keys::shared(namespace, topic));
        state.stored = read(link, link.send(&command).await?, "LLEN")?;
        return Ok((state.stored > 0).then_some(state));
    }
    let mut command = cmd("HGET");
    let key = keys::partitions(namespace);
    command.arg(&key).arg(keys::topic(topic));
    let answer = servers.link(&key).send(&command).await?;
    let partitions: Option<usize> = read(link, answer, "HGET")?;
    state.partitions = partitions.unwrap_or(0);
    // The keys of all groups have the same streams.
    let streams = GroupKeys::new(namespace, topic, "", state.partitions);
    let streams = streams.streams();
    let due = keys::is_partitioned(topic).then(|| keys::due(namespace, topic));
    let mut call = scripts::INSPECT.call(streams.iter().chain(&due));
    call.arg(COUNTED).arg(GroupState::OLDEST).arg(streams.len());
    let answer = link.run(&scripts::INSPECT, &call).await?;
    let Value::Array(answer) = answer else {
        return Err(link.server().unexpected("the script of the state"));
    };
    let mut answer = answer.into_iter();
    let mut number = || -> Result<Option<u64>, TransportError> {
        read(
            link,
            answer.next().unwrap_or_default(),
            "the script of the state",
        )
    };
    let now = number()?.unwrap_or_default();
    state.stored = number()?.unwrap_or_default();
    state.appended = number()?;
    state.scheduled = number()?.unwrap_or_default();
    state.next_due = number()?.map(Duration::from_millis);
    for group in answer {
        let (name, pending, lag, exact, old): (String, u64, u64, u8, Vec<Old>) =
            read(link, group, "the script of the state")?;
        let mut group = GroupState::new(name);
        group.oldest = oldest(old, now, streams);
        group.backlog = Backlog {
            pending,
            lag,
            oldest: group
                .oldest
                .first()
                .map_or(Duration::ZERO, |record| record.age),
        };
        group.lag_is_exact = exact == 1;
        let keys = GroupKeys::new(namespace, topic, &group.group, state.partitions);
        group.members = members(link, &keys, now).await?;
        state.groups.push(group);
    }
    state.groups.sort_by(|a, b| a.group.cmp(&b.group));
    let has_records = state.stored > 0 || state.scheduled > 0;
    let exists = partitions.is_some() || has_records || !state.groups.is_empty();
    Ok(exists.then_some(state))
}

/// The oldest of these entries.
fn oldest(old: Vec<Old>, now: u64, streams: &[String]) -> Vec<UnsettledRecord> {
    let record = |(stream, id, member, deliveries): Old| {
        let millis = EntryId::parse(&id).map_or(now, EntryId::millis);
        let place = format!("{} {id}", streams.get(stream).map_or("", |s| s));
        let mut record =
            UnsettledRecord::new(place, Duration::from_millis(now.saturating_sub(millis)));
        record.holder = (!member.is_empty()).then_some(member);
        record.deliveries = Some(deliveries);
        record
    };
    let mut records: Vec<_> = old.into_iter().map(record).collect();
    records.sort_by(|a, b| (b.age, &a.place).cmp(&(a.age, &b.place)));
    records.truncate(GroupState::OLDEST);
    records
}

/// The members whose lease has not ended, with their partitions.
async fn members(
    link: &Link,
    keys: &GroupKeys,
    now: u64,
) -> Result<Vec<MemberState>, TransportError> {
    let mut commands = redis::pipe();
    commands
        .cmd("ZRANGEBYSCORE")
        .arg(keys.members())
        .arg(format!("({now}"))
        .arg("+inf");
    if !keys.owners().is_empty() {
        commands.cmd("MGET").arg(keys.owners());
    }
    let mut answers = link.send_all(&commands).await?.into_iter();
    let names: Vec<String> = read(link, answers.next().unwrap_or_default(), "ZRANGEBYSCORE")?;
    let owners: Vec<Option<String>> = match answers.next() {
        Some(owners) => read(link, owners, "MGET")?,
        None => Vec::new(),
    };
    let mut members: Vec<_> = names.into_iter().map(MemberState::new).collect();
    members.sort();
    for (number, owner) in owners.into_iter().enumerate() {
        let owner = members.iter_mut().find(|m| Some(&m.name) == owner.as_ref());
        if let Some(owner) = owner {
            owner.partitions.push(number);
        }
    }
    Ok(members)
}

/// The answer to a command as a value of this type.
fn read<T: FromRedisValue>(
    link: &Link,
    answer: Value,
    command: &'static str,
) -> Result<T, TransportError> {
    let server = link.server();
    let answer = answer.extract_error().map_err(|e| server.error(&e))?;
    from_redis_value(answer).map_err(|_| server.unexpected(command))
}

/// A text as a pattern of `SCAN` that matches it alone.
fn escape(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if "*?[]^-\\".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn a_pattern_matches_the_namespace_alone() {
        assert_eq!(escape("shop"), "shop");
        assert_eq!(escape(r"a*[b]?\^-"), r"a\*\[b\]\?\\\^\-");
    }
}
