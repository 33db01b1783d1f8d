//! Settling records: acknowledging, renewing, releasing.
//!
//! All transactions change keys first, then deliveries, then strands: they wait for each other, and for no one in a circle.

use std::collections::BTreeSet;

use sqlx::Error;
use static_bus_remote::transport::Lease;

use super::{
    append::announce,
    claims,
    dialect::Dialect,
    group::Membership,
    list::{self, Pair},
    receipt::SqlReceipt,
    store::{Session, Work},
    strands,
};

const ACKNOWLEDGE: &str = "delete from {p}delivery where group_id = $1 and record_id {in $2}";
/// Returns whether the last statement has changed anything.
const CHANGED: &str = "select case when changes() > 0 then 1 else 0 end";
const REMOVE: &str = "delete from {p}record as r where r.id {in $1} \
     and not exists (select 1 from {p}delivery as d where d.record_id = r.id)";

/// Both in one statement, the second one if there are no other groups. Returns whether there are others, unless nothing was settled.
const ACKNOWLEDGE_AND_REMOVE: &str = "with other as (select exists (select 1 from {p}consumer_group as g \
     where g.topic_id = $3 and g.id <> $1) as is_there), \
     settled as (delete from {p}delivery where group_id = $1 and record_id {in $2} returning 1), \
     removed as (delete from {p}record as r where r.id {in $2} and not (select is_there from other) \
     and not exists (select 1 from {p}delivery as d where d.record_id = r.id and d.group_id <> $1)) \
     select case when (select is_there from other) then 1 else 0 end from settled limit 1";

const RENEW: &str = "update {p}delivery set until = {now} + $3 where group_id = $1 and +until > 0 \
     and record_id {in_first $2} and (record_id, times) in (select {int 0}, {int 1} from {each $2})";
const RELEASE: &str = "update {p}delivery set until = 0, member = null, attempts = attempts - 1 \
     where group_id = $1 and +until > 0 \
     and record_id {in_first $2} and (record_id, times) in (select {int 0}, {int 1} from {each $2})";

/// What becomes of leases.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Acknowledged,
    Renewed,
    Released,
}

pub(crate) struct Settle {
    pub membership: Membership,
    pub leases: Vec<Lease<SqlReceipt>>,
    pub end: End,
}

impl<D: Dialect> Work<D> for Settle {
    /// Records that no group may need any more, which have to be removed by another transaction.
    type Output = Option<Remove>;

    /// A renewal that is lost with the machine is that of a member which is gone as well.
    fn is_durable(&self) -> bool {
        !matches!(self.end, End::Renewed)
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Option<Remove>, Error> {
        let Membership {
            topic,
            group,
            member,
            lease,
            ..
        } = self.membership;
        let strands: BTreeSet<_> = self
            .leases
            .iter()
            .filter_map(|l| l.receipt.strand)
            .collect();
        let keys: Vec<_> = self
            .leases
            .iter()
            .filter_map(|l| l.claim.as_deref())
            .collect();
        if !strands.is_empty() && !matches!(self.end, End::Renewed) {
            session.lock("group", group).await?;
        }
        let mut remove = None;
        match self.end {
            End::Acknowledged => {
                claims::confirm(session, &self.membership, &keys).await?;
                let records = self.leases.iter().map(|l| l.receipt.record);
                remove = acknowledge(session, &self.membership, records)
                    .await?
                    .remove;
            }
            End::Renewed => {
                claims::renew(session, &self.membership, &keys).await?;
                let deliveries = self.deliveries();
                let arguments = [group.into(), (&deliveries).into(), lease.into()];
                session.fetch(RENEW, &arguments).await?;
                strands::renew(session, &self.membership, strands).await?;
                return Ok(None);
            }
            End::Released => {
                claims::give_up(session, &self.membership, &keys).await?;
                let deliveries = self.deliveries();
                let arguments = [group.into(), (&deliveries).into()];
                session.fetch(RELEASE, &arguments).await?;
                announce(session, &[topic].into()).await?;
            }
        }
        strands::settle(session, group, member, strands).await?;
        Ok(remove)
    }
}

/// What became of acknowledged records.
pub(crate) struct Acknowledged {
    /// `false` if all were acknowledged before.
    pub any: bool,
    pub remove: Option<Remove>,
}

/// Acknowledges records of the group.
pub(crate) async fn acknowledge<D: Dialect>(
    session: &mut Session<'_, D>,
    membership: &Membership,
    records: impl Iterator<Item = i64>,
) -> Result<Acknowledged, Error> {
    let records = list::numbers(records);
    let Membership { topic, group, .. } = *membership;
    let arguments = [group.into(), (&records).into(), topic.into()];
    if D::CHANGES_TABLES {
        let settled = session.fetch(ACKNOWLEDGE_AND_REMOVE, &arguments).await?;
        let others = settled.first().map_or(Ok(false), |row| row.is(0))?;
        return Ok(Acknowledged {
            any: !settled.is_empty(),
            remove: others.then_some(Remove(records)),
        });
    }
    session.fetch(ACKNOWLEDGE, &arguments[..2]).await?;
    let changed = session.fetch(CHANGED, &[]).await?;
    session.fetch(REMOVE, &arguments[1..2]).await?;
    Ok(Acknowledged {
        any: changed.first().map_or(Ok(false), |row| row.is(0))?,
        remove: None,
    })
}

/// Removes the records that no group needs any more.
///
/// Of two groups that settle a record at the same time, neither sees in its transaction that the other does. So the removal is a
/// transaction of its own: the last one sees both. If it is lost, the housekeeping finds the record.
pub(crate) struct Remove(String);

impl<D: Dialect> Work<D> for Remove {
    type Output = ();

    fn is_durable(&self) -> bool {
        false
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<(), Error> {
        session.fetch(REMOVE, &[(&self.0).into()]).await.map(drop)
    }
}

impl Settle {
    fn deliveries(&self) -> String {
        let receipts = self.leases.iter().map(|lease| lease.receipt);
        list::numbers(receipts.map(|receipt| Pair(receipt.record, receipt.time)))
    }
}
