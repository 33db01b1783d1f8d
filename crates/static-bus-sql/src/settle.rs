//! Settling records: acknowledging, renewing, releasing.
//!
//! All transactions change keys first, then deliveries, then strands: they wait for each other, and for no one in a circle.

use std::collections::BTreeSet;

use sqlx::Error;
use static_bus_remote::transport::Lease;

use super::{
    append::announce,
    claims,
    dialect::{Argument, Dialect},
    group::Membership,
    list::{self, Pair},
    receipt::SqlReceipt,
    store::{Session, Work},
    strands,
};

/// The condition that no group needs a record of the table `r` any more.
macro_rules! is_settled {
    () => {
        "not exists (select 1 from {p}delivery as d where d.group_id = -r.topic_id and d.record_id = r.id) \
         and not exists (select 1 from {p}consumer_group as g where g.topic_id = r.topic_id and (r.id > g.copied \
         and r.id <= g.copies_until or exists (select 1 from {p}delivery as d where d.group_id = g.id and d.record_id = r.id)))"
    };
}
pub(crate) use is_settled;

const REMOVE: &str = concat!(
    "delete from {p}record as r where r.id {in $1} and ",
    is_settled!()
);

/// Acknowledges records and removes those that no group needs any more, on a database with one writer. Returns whether any was there.
const ACKNOWLEDGE: &str = concat!(
    "delete from {p}delivery where group_id = $1 and record_id {in $3}; select changes() > 0; \
     delete from {p}record as r where r.id {in $3} \
     and (not exists (select 1 from {p}consumer_group where topic_id = $2 and id <> $1) or ",
    is_settled!(),
    ")"
);

/// The same, and the confirmation of keys, on a database with functions. Returns whether there are other groups, unless nothing was
/// settled.
const ACKNOWLEDGE_AND_REMOVE: &str = "select * from {p}acknowledge($1, $2, $3, $4, $5, $6)";

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

    fn is_call(&self) -> bool {
        D::FUNCTIONS
            && matches!(self.end, End::Acknowledged)
            && (self.membership.deduplication.is_some() || self.keys().next().is_none())
            && self.leases.iter().all(|l| l.receipt.strand.is_none())
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
        let keys: Vec<_> = self.keys().collect();
        if !strands.is_empty() && !matches!(self.end, End::Renewed) {
            session.lock("group", group).await?;
        }
        let mut remove = None;
        match self.end {
            End::Acknowledged => {
                let records: Vec<_> = self.leases.iter().map(|l| l.receipt.record).collect();
                remove = acknowledge(session, &self.membership, &records, &keys)
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

/// Acknowledges records of the group, and confirms the keys whose claims they have.
pub(crate) async fn acknowledge<D: Dialect>(
    session: &mut Session<'_, D>,
    membership: &Membership,
    records: &[i64],
    keys: &[&str],
) -> Result<Acknowledged, Error> {
    let Membership {
        topic,
        group,
        deduplication,
        ..
    } = *membership;
    if D::FUNCTIONS {
        let confirmed = match deduplication {
            Some(_) => claims::each(keys.iter().copied()),
            None => {
                claims::give_up(session, membership, keys).await?;
                BTreeSet::new()
            }
        };
        let confirmed: Vec<_> = confirmed.into_iter().map(Some).collect();
        let numbers: Vec<_> = records.iter().copied().map(Some).collect();
        let arguments = [
            group.into(),
            topic.into(),
            Argument::Ints(&numbers),
            Argument::BytesOfRows(&confirmed),
            deduplication.into(),
            session.lock_timeout.into(),
        ];
        let settled = session.fetch(ACKNOWLEDGE_AND_REMOVE, &arguments).await?;
        let others = settled.first().map_or(Ok(false), |row| row.is(0))?;
        return Ok(Acknowledged {
            any: !settled.is_empty(),
            remove: others.then(|| Remove(list::numbers(records))),
        });
    }
    claims::confirm(session, membership, keys).await?;
    let records = list::numbers(records);
    let arguments = [group.into(), topic.into(), (&records).into()];
    let changed = session.fetch(ACKNOWLEDGE, &arguments).await?;
    Ok(Acknowledged {
        any: changed.first().ok_or(Error::RowNotFound)?.is(0)?,
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
    fn keys(&self) -> impl Iterator<Item = &str> {
        self.leases.iter().filter_map(|l| l.claim.as_deref())
    }

    fn deliveries(&self) -> String {
        let receipts = self.leases.iter().map(|lease| lease.receipt);
        list::numbers(receipts.map(|receipt| Pair(receipt.record, receipt.time)))
    }
}
