//! The state of topics and groups.

use sqlx::Error;
use static_bus_remote::{
    DEAD_LETTERS,
    transport::{
        Backlog, GroupState, Kind, MemberState, Topic, TopicState, TransportError, UnsettledRecord,
    },
};

use super::{
    dialect::Dialect,
    receipt::place,
    record::duration,
    store::{Row, Store},
};

/// The greatest number of rows that an inspection counts.
pub(crate) const COUNTED: i64 = 100_000;

const TOPICS: &str = "select kind, name from {p}topic where kind <> 'reply'";
const ANY_DEAD_LETTER: &str = "select 1 from {p}dead_letter limit 1";
const TOPIC: &str = "select id from {p}topic where kind = $1 and name = $2";
/// Queries have no deliveries.
const STORED: &str = "select count(distinct record_id) from (select r.id as record_id from {p}record as r \
     where r.topic_id = $1 and r.drop_at is not null union all select d.record_id from {p}delivery as d \
     where d.group_id in (select -$1 union all select g.id from {p}consumer_group as g where g.topic_id = $1) {limit $2}) as counted";
const STORED_DEAD_LETTERS: &str =
    "select count(*) from (select 1 from {p}dead_letter {limit $1}) as counted";
const SCHEDULED: &str = "select count(*), coalesce(min(due_at) - {now}, 0) from \
     (select due_at from {p}scheduled where topic_id = $1 order by due_at {limit $2}) as counted";
const GROUPS: &str = "select id, name from {p}consumer_group where topic_id = $1 order by name";
const BACKLOG: &str = "select count(*), count(case when until > {now} then 1 end) \
     from (select until from {p}delivery where group_id = $1 union all \
     select d.until from {p}consumer_group as g join {p}delivery as d on d.group_id = -g.topic_id and d.record_id > g.copies_until \
     where g.id = $1 union all \
     select 0 from {p}consumer_group as g join {p}record as r on r.id > g.copied and r.id <= g.copies_until and r.topic_id = g.topic_id \
     where g.id = $1 {limit $2}) as counted";
/// The first of those that the group has, of those that it will adopt, and of those that it will copy.
const OLDEST: &str = "select d.record_id, {now} - r.appended_at, d.attempts, \
     case when d.until > {now} then coalesce(m.name, '') else '' end from (\
     select * from (select record_id, attempts, until, member from {p}delivery where group_id = $1 order by record_id {limit $2}) as taken \
     union all select * from (select d.record_id, 0, 0, cast(null as bigint) from {p}consumer_group as g \
     join {p}delivery as d on d.group_id = -g.topic_id and d.record_id > g.copies_until \
     where g.id = $1 order by d.record_id {limit $2}) as adopted \
     union all select * from (select r.id, 0, 0, cast(null as bigint) from {p}consumer_group as g \
     join {p}record as r on r.id > g.copied and r.id <= g.copies_until and r.topic_id = g.topic_id \
     where g.id = $1 order by r.id {limit $2}) as copied \
     ) as d join {p}record as r on r.id = d.record_id left join {p}member as m on m.id = d.member \
     order by d.record_id {limit $2}";
const MEMBERS: &str =
    "select name from {p}member where group_id = $1 and until > {now} order by name";

pub(crate) async fn topics<D: Dialect>(store: &Store<D>) -> Result<Vec<Topic>, TransportError> {
    let rows = store.read(TOPICS, &[]).await?;
    let topic = |row: &Row<D>| {
        let (kind, name) = (row.text(0)?, row.text(1)?);
        let kinds = [Kind::Query, Kind::Command, Kind::Event];
        let kind = kinds.into_iter().find(|known| known.as_str() == kind);
        Ok(kind.map(|kind| Topic {
            kind,
            name: name.into(),
        }))
    };
    let topics: Result<Vec<_>, Error> = rows.iter().map(topic).collect();
    let mut topics: Vec<_> = store.checked(topics)?.into_iter().flatten().collect();
    if !store.read(ANY_DEAD_LETTER, &[]).await?.is_empty() {
        topics.push(DEAD_LETTERS);
    }
    topics.sort();
    Ok(topics)
}

/// The state of a topic; `None` if it does not exist.
pub(crate) async fn inspect<D: Dialect>(
    store: &Store<D>,
    topic: &Topic,
) -> Result<Option<TopicState>, TransportError> {
    let mut state = TopicState::new(topic.clone());
    if topic.kind == Kind::DeadLetter {
        let [stored] = ints(store, STORED_DEAD_LETTERS, &[COUNTED]).await?;
        state.stored = stored.cast_unsigned();
        return Ok((stored > 0).then_some(state));
    }
    let named = [topic.kind.as_str().into(), (&*topic.name).into()];
    let rows = store.read(TOPIC, &named).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let topic = store.checked(row.int(0))?;
    let [stored] = ints(store, STORED, &[topic, COUNTED]).await?;
    state.stored = stored.cast_unsigned();
    let [scheduled, next_due] = ints(store, SCHEDULED, &[topic, COUNTED]).await?;
    state.scheduled = scheduled.cast_unsigned();
    state.next_due = (scheduled > 0).then_some(duration(next_due));
    for row in store.read(GROUPS, &[topic.into()]).await? {
        let (group, name) = (store.checked(row.int(0))?, store.checked(row.text(1))?);
        state.groups.push(inspect_group(store, group, name).await?);
    }
    Ok(Some(state))
}

async fn inspect_group<D: Dialect>(
    store: &Store<D>,
    group: i64,
    name: String,
) -> Result<GroupState, TransportError> {
    let mut state = GroupState::new(name);
    let [all, pending] = ints(store, BACKLOG, &[group, COUNTED]).await?;
    state.oldest = oldest(store, group, GroupState::OLDEST).await?;
    state.backlog = Backlog {
        pending: pending.cast_unsigned(),
        lag: (all - pending).cast_unsigned(),
        oldest: state
            .oldest
            .first()
            .map_or_else(Default::default, |record| record.age),
    };
    state.lag_is_exact = all < COUNTED;
    for row in store.read(MEMBERS, &[group.into()]).await? {
        let name = store.checked(row.text(0))?;
        state.members.push(MemberState::new(name));
    }
    Ok(state)
}

/// The backlog of a group. Counts all of its records.
pub(crate) async fn backlog<D: Dialect>(
    store: &Store<D>,
    group: i64,
) -> Result<Backlog, TransportError> {
    let [all, pending] = ints(store, BACKLOG, &[group, i64::MAX]).await?;
    let oldest = oldest(store, group, 1).await?;
    Ok(Backlog {
        pending: pending.cast_unsigned(),
        lag: (all - pending).cast_unsigned(),
        oldest: oldest
            .first()
            .map_or_else(Default::default, |record| record.age),
    })
}

async fn oldest<D: Dialect>(
    store: &Store<D>,
    group: i64,
    limit: usize,
) -> Result<Vec<UnsettledRecord>, TransportError> {
    let rows = store
        .read(OLDEST, &[group.into(), (limit as i64).into()])
        .await?;
    let record = |row: &Row<D>| {
        let mut record = UnsettledRecord::new(place(row.int(0)?), duration(row.int(1)?));
        record.deliveries = Some(row.int(2)?.cast_unsigned());
        record.holder = Some(row.text(3)?).filter(|name| !name.is_empty());
        Ok(record)
    };
    let records: Result<_, Error> = rows.iter().map(record).collect();
    store.checked(records)
}

/// The numbers in the only row of a result.
async fn ints<D: Dialect, const N: usize>(
    store: &Store<D>,
    template: &'static str,
    arguments: &[i64],
) -> Result<[i64; N], TransportError> {
    let arguments: Vec<_> = arguments.iter().map(|int| (*int).into()).collect();
    let rows = store.read(template, &arguments).await?;
    let mut ints = [0; N];
    for (at, int) in ints.iter_mut().enumerate() {
        *int = store.checked(rows[0].int(at))?;
    }
    Ok(ints)
}
