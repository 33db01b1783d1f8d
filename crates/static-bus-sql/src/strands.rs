//! Strands: the records of one key in a group, of which one member at a time gets some.
//!
//! A record with a key is *fresh* until a member of the group first looks at it. Then it is put into its strand, which is a row
//! with the member that holds records of it, and the number of its first record that waits, its head. So a member finds the strands
//! that are free by an index, however many records wait in others. A strand without records is removed.
//!
//! Senders do not touch strands: they only insert records. Members change the strands of a group under a lock.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Error;

use super::{
    bounds::{Room, first, record_size},
    dialect::{Argument, Dialect},
    group::Membership,
    joining::is_taken_over,
    list::{self, Pair},
    store::Session,
};

/// The number of fresh records that are put into strands at a time.
const SORTED: i64 = 1000;

/// The number of times in one transaction.
const SORTS: usize = 10;

const EXPIRE: &str = "update {p}strand set member = null \
     where group_id = $1 and member is not null and until <= {now} returning strand";

const SETTLE: &str = "update {p}strand as l set \
     member = case when l.member = $2 and not exists (select 1 from {p}delivery as d {by delivery_strand_leased} where d.group_id = l.group_id \
     and d.strand = l.strand and d.until > 0 and d.member = $2) then null else l.member end, \
     head = (select d.record_id from {p}delivery as d {by delivery_strand} where d.group_id = l.group_id and d.strand = l.strand \
     and d.until = 0 and not d.fresh order by d.record_id limit 1) \
     where l.group_id = $1 and l.strand {in $3}";

const REMOVE_EMPTY: &str = "delete from {p}strand where group_id = $1 and member is null and head is null \
     and strand {in $2}";

const SORT: &str = concat!(
    "update {p}delivery set fresh = false where {row group_id = $1 and record_id} {found} \
     select {row record_id} from {p}delivery {by delivery_fresh} where group_id {is $1} and fresh and ",
    is_taken_over!(),
    " order by group_id, record_id {limit $2} {end} returning strand, record_id"
);

const ADD: &str = "insert into {p}strand as l (group_id, strand, head) select $1, {int 0}, {int 1} from {each $2} where true \
     on conflict (group_id, strand) do update set head = case when l.head < excluded.head then l.head else excluded.head end";

/// The strands that are free, or the member's already, the oldest first.
const AVAILABLE: &str = "select strand from (select * from (select strand, head from {p}strand where group_id = $1 \
     and member is null and head is not null order by head {limit $3}) as free union all select * from \
     (select strand, head from {p}strand where group_id = $1 and member = $2 and head is not null order by head {limit $3}) as held) \
     as available order by head {limit $3}";

const HOLD: &str = "update {p}strand set member = $2, until = {now} + $3 where group_id = $1 \
     and strand {in $4}";

const TAKE: &str = concat!(
    "update {p}delivery set until = {now} + $3, member = $2, times = times + 1, attempts = attempts + 1 \
     where {row group_id = $1 and record_id} {found} select place ",
    first!(
        "select waiting.{row record_id} as place, record_id as number, ",
        record_size!(),
        " as size from {heads $4}";
        "$6", alone "$7"
    ),
    " {end} returning record_id, ",
    record_size!()
);

const RENEW: &str = "update {p}strand set until = {now} + $3 where group_id = $1 and member = $2 \
     and strand {in $4}";

/// Frees the strands whose leases have all run out.
pub(crate) async fn expire<D: Dialect>(
    session: &mut Session<'_, D>,
    group: i64,
) -> Result<BTreeSet<i64>, Error> {
    let strands = session.fetch(EXPIRE, &[group.into()]).await?;
    strands.iter().map(|row| row.int(0)).collect()
}

/// Brings strands up to date after records of them were settled or released. Those of which the member holds nothing any more are
/// free.
pub(crate) async fn settle<D: Dialect>(
    session: &mut Session<'_, D>,
    group: i64,
    member: i64,
    strands: BTreeSet<i64>,
) -> Result<(), Error> {
    if strands.is_empty() {
        return Ok(());
    }
    let strands = list::numbers(strands);
    session
        .fetch(SETTLE, &[group.into(), member.into(), (&strands).into()])
        .await?;
    session
        .fetch(REMOVE_EMPTY, &[group.into(), (&strands).into()])
        .await?;
    Ok(())
}

/// Leases records of the strands that the member may have, as many as there is room for. Returns `true` if there may be more in fresh
/// records.
pub(crate) async fn take<D: Dialect>(
    session: &mut Session<'_, D>,
    membership: &Membership,
    room: &mut Room,
) -> Result<bool, Error> {
    let mut sorts = 0;
    while !room.is_full() {
        match take_sorted(session, membership, room).await? {
            // The first one has more bytes than are left.
            Some(0) => break,
            Some(_) => {}
            None if sorts == SORTS => return Ok(true),
            None if !sort(session, membership).await? => break,
            None => sorts += 1,
        }
    }
    Ok(false)
}

/// Leases records of strands. Returns their number; `None` if the member may have no strand.
async fn take_sorted<D: Dialect>(
    session: &mut Session<'_, D>,
    membership: &Membership,
    room: &mut Room,
) -> Result<Option<usize>, Error> {
    let Membership {
        group,
        member,
        lease,
        ..
    } = *membership;
    let [max, bytes, alone] = room.left();
    let strands = session
        .fetch(AVAILABLE, &[group, member, max].map(Argument::from))
        .await?;
    let strands: Result<BTreeSet<_>, _> = strands.iter().map(|row| row.int(0)).collect();
    let strands = strands?;
    if strands.is_empty() {
        return Ok(None);
    }
    let each = (max / strands.len() as i64).max(1);
    let list = list::numbers(&strands);
    let arguments = [
        group.into(),
        member.into(),
        lease.into(),
        (&list).into(),
        each.into(),
        bytes.into(),
        alone.into(),
    ];
    let taken = session.fetch(TAKE, &arguments).await?;
    session.fetch(HOLD, &arguments[..4]).await?;
    settle(session, group, member, strands).await?;
    room.extend(&taken)?;
    Ok(Some(taken.len()))
}

/// Puts fresh records into their strands. Returns whether there were any.
async fn sort<D: Dialect>(
    session: &mut Session<'_, D>,
    membership: &Membership,
) -> Result<bool, Error> {
    let Membership { topic, group, .. } = *membership;
    let arguments = [group.into(), SORTED.into(), topic.into()];
    let fresh = session.fetch(SORT, &arguments).await?;
    let mut heads = BTreeMap::new();
    for row in &fresh {
        let (strand, record) = (row.int(0)?, row.int(1)?);
        let head = heads.entry(strand).or_insert(record);
        *head = record.min(*head);
    }
    if !heads.is_empty() {
        let heads = heads.into_iter().map(|(strand, head)| Pair(strand, head));
        let heads = list::numbers(heads);
        session.fetch(ADD, &[group.into(), (&heads).into()]).await?;
    }
    Ok(!fresh.is_empty())
}

/// Renews the strands that the member holds.
pub(crate) async fn renew<D: Dialect>(
    session: &mut Session<'_, D>,
    membership: &Membership,
    strands: BTreeSet<i64>,
) -> Result<(), Error> {
    if strands.is_empty() {
        return Ok(());
    }
    let strands = list::numbers(strands);
    let arguments = [
        membership.group.into(),
        membership.member.into(),
        membership.lease.into(),
        (&strands).into(),
    ];
    session.fetch(RENEW, &arguments).await.map(drop)
}
