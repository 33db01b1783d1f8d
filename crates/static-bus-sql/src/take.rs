//! Taking records: a member leases those that wait.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sqlx::Error;
use static_bus_remote::transport::{Delivery, TransportError};

use super::{
    dialect::{Argument, Dialect},
    group::Membership,
    joining::{is_behind, take_over},
    list,
    receipt::SqlReceipt,
    record::decode,
    room::Bounds,
    store::{Row, Session, Store, Work},
    strands,
};

/// What there is for a group, found without a lock. It says which statements are needed.
const WAITING: &str = concat!(
    "select case when exists (select 1 from {p}delivery {by delivery_leased} where group_id = $1 and until > 0 and until <= {now}) \
     or exists (select 1 from {p}strand where group_id = $1 and member is not null and until <= {now}) then 1 else 0 end, \
     case when exists (select 1 from {p}delivery {by delivery_ready} where group_id = $1 and until = 0 and strand is null) then 1 else 0 end, \
     case when exists (select 1 from {p}delivery {by delivery_fresh} where group_id = $1 and fresh) \
     or exists (select 1 from {p}strand where group_id = $1 and member is null and head is not null) \
     or exists (select 1 from {p}strand where group_id = $1 and member = $2 and head is not null) then 1 else 0 end, \
     case when ",
    is_behind!(),
    " then 1 else 0 end"
);

const EXPIRE: &str = "update {p}delivery {by delivery_leased} set until = 0, member = null \
     where group_id = $1 and until > 0 and until <= {now} returning strand";

const TAKE: &str = "update {p}delivery set until = {now} + $3, member = $2, times = times + 1, attempts = attempts + 1 \
     where {row group_id = $1 and record_id} {found} select {row record_id} from {p}delivery {by delivery_ready} \
     where group_id {is $1} and until = 0 and strand is null order by group_id, record_id {limit $4} {skip} {end} returning record_id";

/// Takes and reads records without a key, on a database with functions. Returns one row without a number if there are other things to do.
const TAKE_AND_READ: &str = "select * from {p}take($1, $2, $3, $4, $5, $6)";

/// The same on a database with one writer, where other things to do are known before.
const TAKE_AND_RETURN: &str = "update {p}delivery set until = {now} + $3, member = $2, times = times + 1, attempts = attempts + 1 \
     where group_id = $1 and record_id in (select record_id from {p}delivery {by delivery_ready} \
     where group_id = $1 and until = 0 and strand is null order by group_id, record_id {limit $4}) \
     returning record_id, times, attempts, strand, null, (select headers from {p}record where id = record_id), \
     (select body from {p}record where id = record_id), (select expires_at - {now} from {p}record where id = record_id), \
     (select id from {p}record where id = record_id)";

const TAKEN: &str = "select d.record_id, d.times, d.attempts, d.strand, r.key, r.headers, r.body, r.expires_at - {now} \
     from {p}delivery as d join {p}record as r on r.id = d.record_id \
     where d.group_id = $1 and d.record_id {in $2} order by d.record_id";

/// Deliveries of records that another group removed while this one was joining.
const REMOVE_LOST: &str = "delete from {p}delivery where group_id = $1 and record_id {in $2} \
     and not exists (select 1 from {p}record as r where r.id = record_id)";

/// The statements that are needed.
#[derive(Clone, Copy)]
struct Waiting {
    /// Leases have run out.
    expired: bool,
    /// Records without a key wait.
    keyless: bool,
    /// Records with keys wait.
    keyed: bool,
    /// Records wait that the group has not taken over.
    behind: bool,
}

struct Take {
    membership: Membership,
    bounds: Bounds,
    last: Mix,
    /// `None` if the transaction looks itself.
    waiting: Option<Waiting>,
}

/// Leased records.
#[derive(Default)]
pub(crate) struct Taken {
    pub deliveries: Vec<Delivery<SqlReceipt>>,
    /// `true` if there may be more at once.
    pub is_partial: bool,
    pub mix: Mix,
}

/// The records of a call with and without keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mix {
    /// There was nothing but records without a key.
    #[default]
    Keyless,
    /// Records with keys were waiting. If there is room for an odd number, those without have the greater part next time, and then
    /// those with keys: neither waits for ever.
    KeylessNext,
    KeyedNext,
}

/// Leases records. There are probably records with keys if the last call has found some.
pub(crate) async fn take<D: Dialect>(
    store: &Arc<Store<D>>,
    membership: &Membership,
    bounds: Bounds,
    last: Mix,
) -> Result<Taken, TransportError> {
    let keyless = TakeKeyless {
        membership: *membership,
        bounds,
    };
    if D::FUNCTIONS
        && last == Mix::Keyless
        && let Some(taken) = store.transact(keyless).await?
    {
        return Ok(taken);
    }
    let mut work = Take {
        membership: *membership,
        bounds,
        last,
        waiting: None,
    };
    // On SQLite a transaction that writes is alone.
    if !D::CONCURRENT {
        let rows = store.read(WAITING, &looked_for(membership)).await?;
        let waiting = Waiting::of(&rows);
        if !waiting.is_any() {
            return Ok(Taken::default());
        }
        if waiting.is_keyless() {
            return Ok(store.transact(keyless).await?.unwrap_or_default());
        }
        work.waiting = Some(waiting);
    }
    store.transact(work).await
}

/// The arguments of [`WAITING`].
fn looked_for(membership: &Membership) -> [Argument<'static>; 3] {
    let Membership {
        topic,
        group,
        member,
        ..
    } = *membership;
    [group.into(), member.into(), topic.into()]
}

impl Waiting {
    fn of<D: Dialect>(rows: &[Row<D>]) -> Self {
        let is = |at| rows.first().is_some_and(|row| row.is(at).unwrap_or(false));
        Waiting {
            expired: is(0),
            keyless: is(1),
            keyed: is(2),
            behind: is(3),
        }
    }

    fn is_any(self) -> bool {
        self.expired || self.keyless || self.keyed || self.behind
    }

    /// Returns `true` if there are records without a key, and nothing else to do.
    fn is_keyless(self) -> bool {
        self.keyless && !(self.expired || self.keyed || self.behind)
    }
}

impl<D: Dialect> Work<D> for Take {
    type Output = Taken;

    /// Leases that are lost with the machine are those of members which are gone as well.
    fn is_durable(&self) -> bool {
        false
    }

    fn time(&self, _: Duration) -> Duration {
        self.bounds.time
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Self::Output, Error> {
        let Membership { topic, group, .. } = self.membership;
        let most = self.bounds.max;
        let mut waiting = match self.waiting {
            Some(waiting) => waiting,
            None => {
                let looked_for = looked_for(&self.membership);
                Waiting::of(&session.fetch(WAITING, &looked_for).await?)
            }
        };
        if !waiting.is_any() {
            return Ok(Taken::default());
        }
        if waiting.expired || waiting.keyed || waiting.behind {
            session.lock("group", group).await?;
        }
        let mut is_partial = waiting.behind && take_over(session, topic, group).await?;
        if waiting.expired {
            self.expire(session).await?;
        }
        if waiting.behind || waiting.expired {
            (waiting.keyless, waiting.keyed) = (true, true);
        }
        let mut taken = Vec::new();
        if waiting.keyless {
            // Half of the room is for the others.
            let max = match (waiting.keyed, self.last) {
                (false, _) => most,
                (true, Mix::KeylessNext) => most.div_ceil(2),
                (true, _) => most / 2,
            };
            taken.extend(self.take_keyless(session, max).await?);
        }
        if waiting.keyed {
            let rest = most - taken.len();
            let keyed = strands::take(session, &self.membership, rest).await?;
            is_partial |= keyed.is_partial;
            taken.extend(keyed.records);
            if waiting.keyless && taken.len() < most {
                taken.extend(self.take_keyless(session, most - taken.len()).await?);
            }
        }
        let deliveries = deliveries(session, group, &taken).await?;
        Ok(Taken {
            is_partial: is_partial || deliveries.len() == most,
            mix: match (waiting.keyed, self.last) {
                (false, _) => Mix::Keyless,
                (true, Mix::KeylessNext) => Mix::KeyedNext,
                (true, _) => Mix::KeylessNext,
            },
            deliveries,
        })
    }
}

/// Leases records without a key in one statement.
#[derive(Clone, Copy)]
struct TakeKeyless {
    membership: Membership,
    bounds: Bounds,
}

impl<D: Dialect> Work<D> for TakeKeyless {
    /// `None` if there are other things to do.
    type Output = Option<Taken>;

    fn is_durable(&self) -> bool {
        false
    }

    fn time(&self, _: Duration) -> Duration {
        self.bounds.time
    }

    fn is_call(&self) -> bool {
        true
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Self::Output, Error> {
        let Membership {
            topic,
            group,
            member,
            lease,
            ..
        } = self.membership;
        let max = self.bounds.max as i64;
        let arguments = [group, member, lease, max, topic].map(Argument::from);
        let [group_id, member, lease, max, topic] = arguments;
        let arguments = [
            group_id,
            member,
            lease,
            max,
            topic,
            session.lock_timeout.into(),
        ];
        let take = if D::FUNCTIONS {
            TAKE_AND_READ
        } else {
            TAKE_AND_RETURN
        };
        let rows = session.fetch(take, &arguments).await?;
        let mut taken = Taken {
            is_partial: rows.len() == self.bounds.max,
            ..Taken::default()
        };
        let mut lost = Vec::new();
        for row in &rows {
            match (row.some_int(0)?, row.some_int(8)?) {
                (None, _) => return Ok(None),
                (Some(lost_record), None) => lost.push(lost_record),
                _ => taken.deliveries.push(delivery(row)?),
            }
        }
        if !lost.is_empty() {
            remove_lost(session, group, &list::numbers(&lost)).await?;
        }
        Ok(Some(taken))
    }
}

/// The deliveries of records that the group has leased.
async fn deliveries<D: Dialect>(
    session: &mut Session<'_, D>,
    group: i64,
    taken: &[i64],
) -> Result<Vec<Delivery<SqlReceipt>>, Error> {
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let list = list::numbers(taken);
    let rows = session
        .fetch(TAKEN, &[group.into(), (&list).into()])
        .await?;
    if rows.len() < taken.len() {
        remove_lost(session, group, &list).await?;
    }
    rows.iter().map(delivery).collect()
}

async fn remove_lost<D: Dialect>(
    session: &mut Session<'_, D>,
    group: i64,
    records: &str,
) -> Result<(), Error> {
    session
        .fetch(REMOVE_LOST, &[group.into(), records.into()])
        .await
        .map(drop)
}

fn delivery<D: Dialect>(row: &Row<D>) -> Result<Delivery<SqlReceipt>, Error> {
    Ok(Delivery {
        receipt: SqlReceipt {
            record: row.int(0)?,
            time: row.int(1)?,
            strand: row.some_int(3)?,
        },
        attempt: u32::try_from(row.int(2)?).unwrap_or(u32::MAX),
        record: Arc::new(decode(row, 4)?),
    })
}

impl Take {
    async fn take_keyless<D: Dialect>(
        &self,
        session: &mut Session<'_, D>,
        max: usize,
    ) -> Result<Vec<i64>, Error> {
        let Membership {
            group,
            member,
            lease,
            ..
        } = self.membership;
        if max == 0 {
            return Ok(Vec::new());
        }
        let arguments = [
            group.into(),
            member.into(),
            lease.into(),
            (max as i64).into(),
        ];
        let taken = session.fetch(TAKE, &arguments).await?;
        taken.iter().map(|row| row.int(0)).collect()
    }

    async fn expire<D: Dialect>(&self, session: &mut Session<'_, D>) -> Result<(), Error> {
        let Membership { group, member, .. } = self.membership;
        let mut changed = BTreeSet::new();
        for row in session.fetch(EXPIRE, &[group.into()]).await? {
            changed.extend(row.some_int(0)?);
        }
        // After the records: a renewal changes them in this order too.
        changed.extend(strands::expire(session, group).await?);
        strands::settle(session, group, member, changed).await
    }
}
