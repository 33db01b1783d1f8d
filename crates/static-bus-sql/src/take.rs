//! Taking records: a member leases those that wait.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sqlx::Error;
use static_bus_remote::transport::{Delivery, Record, TransportError};

use super::{
    bounds::{ANY_SIZE, Bounds, Room, first, record_size},
    dialect::{Argument, Dialect},
    group::Membership,
    joining::{is_behind, take_over},
    list,
    receipt::SqlReceipt,
    record::{as_millis, decode},
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

/// The statement that leases the first records without a key.
macro_rules! lease {
    () => {
        concat!(
            "update {p}delivery set until = {now} + $3, member = $2, times = times + 1, attempts = attempts + 1 \
             where {row group_id = $1 and record_id} {found} select place ",
            first!(
                "select {row record_id} as place, record_id as number, ",
                record_size!(),
                " as size from {p}delivery {by delivery_ready} where group_id {is $1} and until = 0 and strand is null \
                 order by group_id, record_id {limit $4} {skip}";
                "$5", alone "$6"
            ),
            " {end} returning record_id, "
        )
    };
}

const TAKE: &str = concat!(lease!(), record_size!());

/// Takes and reads records without a key, on a database with functions. Returns one row without a record if there are other things to
/// do; with its size if the first record has more bytes than the bound.
const TAKE_AND_READ: &str = "select * from {p}take($1, $2, $3, $4, $5, $6, $7)";

/// The same on a database with one writer, where other things to do are known before, and records of any size arrive in time.
const TAKE_AND_RETURN: &str = concat!(
    lease!(),
    "times, attempts, strand, null, (select headers from {p}record where id = record_id), \
     (select body from {p}record where id = record_id), (select expires_at - {now} from {p}record where id = record_id), \
     (select id from {p}record where id = record_id)"
);

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
    /// Records with keys were waiting. Those without have half of the room first next time, and then those with keys: neither waits
    /// for ever, though there is room for one record alone.
    KeylessNext,
    KeyedNext,
}

/// What a call has found.
enum Found {
    /// Records, which it has leased.
    Some(Taken),
    /// A record with this number of bytes, which is more than the bound.
    Large(usize),
    /// Other things to do.
    Others,
}

/// Leases records. There are probably records with keys if the last call has found some.
pub(crate) async fn take<D: Dialect>(
    store: &Arc<Store<D>>,
    membership: &Membership,
    max: usize,
    last: Mix,
) -> Result<Taken, TransportError> {
    let mut bounds = Bounds::new(max, store.deadline());
    loop {
        let membership = Membership {
            lease: membership.lease + as_millis(bounds.transfer),
            ..*membership
        };
        let mut found = Found::Others;
        if D::FUNCTIONS && last == Mix::Keyless {
            found = store.transact(TakeKeyless { membership, bounds }).await?;
        }
        if let Found::Others = found {
            found = take_others(store, membership, bounds, last).await?;
        }
        match found {
            Found::Some(taken) => return Ok(taken),
            Found::Large(size) => bounds = bounds.of_size(size),
            Found::Others => return Ok(Taken::default()),
        }
    }
}

async fn take_others<D: Dialect>(
    store: &Arc<Store<D>>,
    membership: Membership,
    bounds: Bounds,
    last: Mix,
) -> Result<Found, TransportError> {
    let mut waiting = None;
    // On SQLite a transaction that writes is alone.
    if !D::CONCURRENT {
        let rows = store.read(WAITING, &looked_for(&membership)).await?;
        let found = Waiting::of(&rows);
        if !found.is_any() {
            return Ok(Found::Others);
        }
        if found.is_keyless() {
            return store.transact(TakeKeyless { membership, bounds }).await;
        }
        waiting = Some(found);
    }
    let work = Take {
        membership,
        bounds,
        last,
        waiting,
    };
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
    type Output = Found;

    /// Leases that are lost with the machine are those of members which are gone as well.
    fn is_durable(&self) -> bool {
        false
    }

    fn time(&self, deadline: Duration) -> Duration {
        deadline + self.bounds.transfer
    }

    fn is_kept(found: &Found) -> bool {
        !matches!(found, Found::Large(_))
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Found, Error> {
        let Membership { topic, group, .. } = self.membership;
        let mut waiting = match self.waiting {
            Some(waiting) => waiting,
            None => {
                let looked_for = looked_for(&self.membership);
                Waiting::of(&session.fetch(WAITING, &looked_for).await?)
            }
        };
        if !waiting.is_any() {
            return Ok(Found::Others);
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
        let keyed_first = self.last != Mix::KeylessNext;
        let parts = match (waiting.keyless, waiting.keyed) {
            (true, true) => &[(keyed_first, 2), (!keyed_first, 1), (keyed_first, 1)][..],
            (_, keyed) => &[(keyed, 1)],
        };
        let mut room = Room::new(self.bounds);
        for (keyed, share) in parts {
            let mut part = room.part(*share);
            if part.is_full() {
                continue;
            }
            match keyed {
                true => is_partial |= strands::take(session, &self.membership, &mut part).await?,
                false => self.take_keyless(session, &mut part).await?,
            }
            room.add(part);
        }
        if D::IS_REMOTE && room.size > self.bounds.bytes {
            return Ok(Found::Large(room.size));
        }
        let deliveries = deliveries(session, group, &room.records).await?;
        Ok(Found::Some(Taken {
            is_partial: is_partial || self.bounds.may_have_cut(records(&deliveries)),
            mix: match (waiting.keyed, self.last) {
                (false, _) => Mix::Keyless,
                (true, Mix::KeylessNext) => Mix::KeyedNext,
                (true, _) => Mix::KeylessNext,
            },
            deliveries,
        }))
    }
}

/// Leases records without a key in one statement.
#[derive(Clone, Copy)]
struct TakeKeyless {
    membership: Membership,
    bounds: Bounds,
}

impl<D: Dialect> Work<D> for TakeKeyless {
    type Output = Found;

    fn is_durable(&self) -> bool {
        false
    }

    fn time(&self, deadline: Duration) -> Duration {
        deadline + self.bounds.transfer
    }

    fn is_call(&self) -> bool {
        true
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Found, Error> {
        let Membership {
            topic,
            group,
            member,
            lease,
            ..
        } = self.membership;
        let Bounds { max, bytes, .. } = self.bounds;
        let [max, bytes] = [max, bytes].map(|bound| bound as i64);
        let arguments = [group, member, lease, max, bytes].map(Argument::from);
        let [group_id, member, lease, max, bytes] = arguments;
        let rows = match D::FUNCTIONS {
            true => {
                let [topic, lock_timeout] = [topic.into(), session.lock_timeout.into()];
                let arguments = [group_id, member, lease, max, bytes, topic, lock_timeout];
                session.fetch(TAKE_AND_READ, &arguments).await?
            }
            false => {
                let arguments = [group_id, member, lease, max, bytes, ANY_SIZE.into()];
                session.fetch(TAKE_AND_RETURN, &arguments).await?
            }
        };
        let (mut deliveries, mut lost) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            match (row.some_int(0)?, row.some_int(8)?) {
                (None, None) => return Ok(Found::Others),
                (None, Some(size)) => return Ok(Found::Large(size as usize)),
                (Some(lost_record), None) => lost.push(lost_record),
                _ => deliveries.push(delivery(row)?),
            }
        }
        if !lost.is_empty() {
            remove_lost(session, group, &list::numbers(&lost)).await?;
        }
        Ok(Found::Some(Taken {
            is_partial: self.bounds.may_have_cut(records(&deliveries)),
            mix: Mix::Keyless,
            deliveries,
        }))
    }
}

fn records(deliveries: &[Delivery<SqlReceipt>]) -> impl ExactSizeIterator<Item = &Record> {
    deliveries.iter().map(|delivery| &*delivery.record)
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
        part: &mut Room,
    ) -> Result<(), Error> {
        let Membership {
            group,
            member,
            lease,
            ..
        } = self.membership;
        let [max, bytes, alone] = part.left();
        let arguments = [group, member, lease, max, bytes, alone].map(Argument::from);
        part.extend(&session.fetch(TAKE, &arguments).await?)
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
