//! The records of a command that were sent before a group joined: its members take them over, in steps of a thousand.
//!
//! A command that finds no group is a delivery of the group with the negative number of the topic. Members of the groups that join
//! adopt it. A further group copies the deliveries of the records that are stored when it joins, those with numbers up to its
//! `copies_until`; `copied` is the number of the last one at which its members have looked, and the records beyond it are not removed. So a
//! record is either copied or adopted, and a process that ends in between leaves a state from which others continue.
//!
//! Keys keep their order, as no member takes a record with a key that was sent after one that is not taken over yet.

use sqlx::Error;
use static_bus_remote::transport::Kind;

use super::{
    dialect::Dialect,
    list,
    store::{Row, Session},
};

/// The largest number of records of a step.
const STEP: i64 = 1000;

/// A further group of a command gets the records that are stored.
const ADD_GROUP: &str = "insert into {p}consumer_group (topic_id, name, copies_until) select $1, $2, \
     case when $3 = 'command' and exists (select 1 from {p}consumer_group as g where g.topic_id = $1) \
     then coalesce((select max(id) from {p}record), 0) else 0 end \
     where true on conflict (topic_id, name) do nothing returning id";

/// Orphans that another member adopts are left to it.
const REMOVE_ORPHANS: &str = "delete from {p}delivery where {row group_id = -$1 and record_id} {found} \
     select {row record_id} from {p}delivery where group_id = -$1 order by record_id {limit $2} {skip} {end} \
     returning record_id, strand";
const ADOPT: &str = "insert into {p}delivery (group_id, record_id, strand, fresh) \
     select g.id, {int 0}, {int 1}, {int 1} is not null from {each $2} join {p}consumer_group as g \
     on g.topic_id = $1 and {int 0} > g.copies_until";

/// The numbers between which a step copies; none if all is copied.
const PART: &str = "select g.copied, coalesce((select max(id) from (select r.id from {p}record as r \
     where r.id > g.copied and r.id <= g.copies_until order by r.id {limit $2}) as looked_at), g.copies_until) \
     from {p}consumer_group as g where g.id = $1 and g.copied < g.copies_until";
const COPY: &str = "insert into {p}delivery (group_id, record_id, strand, fresh) \
     select $2, r.id, r.strand, r.strand is not null from {p}record as r \
     where r.topic_id = $1 and r.id > $3 and r.id <= $4";
const COPIED: &str = "update {p}consumer_group set copied = $2 where id = $1";

/// The condition that there are records which the group `$1` of the topic `$3` has not taken over.
macro_rules! is_behind {
    () => {
        "exists (select 1 from {p}delivery where group_id = -$3) \
         or exists (select 1 from {p}consumer_group where id = $1 and copied < copies_until)"
    };
}

/// The condition that records with the number `record_id`, and those before, were taken over by the group `$1` of the topic `$3`.
macro_rules! is_taken_over {
    () => {
        "record_id < coalesce((select min(record_id) from {p}delivery where group_id = -$3), 9223372036854775807) \
         and record_id <= (select case when copied < copies_until then copied else 9223372036854775807 end \
         from {p}consumer_group where id = $1)"
    };
}
pub(crate) use {is_behind, is_taken_over};

/// Adds a group. Returns its number, unless another process has added it.
pub(crate) async fn add_group<D: Dialect>(
    session: &mut Session<'_, D>,
    topic: i64,
    kind: Kind,
    name: &str,
) -> Result<Option<i64>, Error> {
    let arguments = [topic.into(), name.into(), kind.as_str().into()];
    let added = session.fetch(ADD_GROUP, &arguments).await?;
    added.first().map(|row| row.int(0)).transpose()
}

/// Takes over some records, under the lock of the group. Returns whether there may be more.
pub(crate) async fn take_over<D: Dialect>(
    session: &mut Session<'_, D>,
    topic: i64,
    group: i64,
) -> Result<bool, Error> {
    let arguments = [topic.into(), STEP.into()];
    let orphans = session.fetch(REMOVE_ORPHANS, &arguments).await?;
    if !orphans.is_empty() {
        let orphan = |row: &Row<D>| {
            let strand = row.some_int(1)?;
            let strand = strand.map_or("null".to_owned(), |strand| strand.to_string());
            Ok(format!("[{},{strand}]", row.int(0)?))
        };
        let adopted: Result<Vec<_>, Error> = orphans.iter().map(orphan).collect();
        let adopted = list::numbers(adopted?);
        let arguments = [topic.into(), (&adopted).into()];
        session.fetch(ADOPT, &arguments).await?;
    }
    let part = session.fetch(PART, &[group.into(), STEP.into()]).await?;
    if let Some(part) = part.first() {
        let (after, last) = (part.int(0)?, part.int(1)?);
        let arguments = [topic.into(), group.into(), after.into(), last.into()];
        session.fetch(COPY, &arguments).await?;
        session.fetch(COPIED, &[group.into(), last.into()]).await?;
    }
    Ok(!part.is_empty() || orphans.len() as i64 == STEP)
}
