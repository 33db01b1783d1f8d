//! The partitions that a relay holds.

use std::time::Duration;

use sqlx::Error;

use crate::{
    dialect::Dialect,
    list,
    outbox::PARTITIONS,
    record::as_millis,
    store::{Session, Work},
};

// Relays are members of the group 0, which no consumers have.
const ADD_PARTITIONS: &str = "insert into {p}relay (partition_id) select {int} from {each $1} where true on conflict (partition_id) do nothing";
const JOIN: &str =
    "insert into {p}member (group_id, name, until) values (0, 'relay', {now} + $1) returning id";
const REMOVE_SILENT: &str = "delete from {p}member where group_id = 0 and until < {now} - 60000";
const TOUCH: &str = "update {p}member set until = {now} + $2 where id = $1";
const REJOIN: &str = "insert into {p}member (id, group_id, name, until) values ($1, 0, 'relay', {now} + $2) on conflict (id) do nothing";
const RELAYS: &str = "select count(*) from {p}member where group_id = 0 and until > {now}";
const HELD: &str = "select partition_id from {p}relay where member = $1 order by partition_id";
const RELEASE: &str = "update {p}relay set until = 0, member = null where member = $1 and partition_id in (select {int} from {each $2})";
const RENEW: &str =
    "update {p}relay set until = {now} + $2 where member = $1 returning partition_id";
const TAKE: &str = "update {p}relay set member = $1, until = {now} + $2 where partition_id in \
     (select partition_id from {p}relay where until <= {now} order by partition_id {limit $3}) and until <= {now} \
     returning partition_id";
const RELEASE_ALL: &str = "update {p}relay set until = 0, member = null where member = $1";
const LEAVE: &str = "delete from {p}member where id = $1";

/// Adds a relay with this lease. Returns its number.
pub(super) struct Join(pub Duration);

impl<D: Dialect> Work<D> for Join {
    type Output = i64;

    async fn run(&self, session: &mut Session<'_, D>) -> Result<i64, Error> {
        let partitions = list::numbers(0..PARTITIONS);
        session
            .fetch(ADD_PARTITIONS, &[(&partitions).into()])
            .await?;
        session.fetch(REMOVE_SILENT, &[]).await?;
        let joined = session.fetch(JOIN, &[as_millis(self.0).into()]).await?;
        joined.first().ok_or(Error::RowNotFound)?.int(0)
    }
}

/// Renews the partitions of a relay: it takes free ones up to its share, and releases those beyond.
#[derive(Clone, Copy)]
pub(super) struct Hold {
    pub member: i64,
    pub lease: Duration,
}

impl<D: Dialect> Work<D> for Hold {
    /// The partitions that the relay holds.
    type Output = Vec<i64>;

    fn is_durable(&self) -> bool {
        false
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Vec<i64>, Error> {
        let Hold { member, lease } = *self;
        let lease = [member.into(), as_millis(lease).into()];
        session.fetch(TOUCH, &lease).await?;
        session.fetch(REJOIN, &lease).await?;
        let relays = session.fetch(RELAYS, &[]).await?;
        let relays = relays.first().ok_or(Error::RowNotFound)?.int(0)?.max(1);
        let share = (PARTITIONS as usize).div_ceil(usize::try_from(relays).unwrap_or(1));
        let held = session.fetch(HELD, &lease[..1]).await?;
        if held.len() > share {
            let beyond = held[share..].iter().map(|row| row.int(0));
            let beyond = list::numbers(beyond.collect::<Result<Vec<_>, _>>()?);
            session
                .fetch(RELEASE, &[member.into(), (&beyond).into()])
                .await?;
        }
        let mut rows = session.fetch(RENEW, &lease).await?;
        if rows.len() < share {
            let free = (share - rows.len()) as i64;
            rows.extend(
                session
                    .fetch(TAKE, &[lease[0], lease[1], free.into()])
                    .await?,
            );
        }
        rows.iter().map(|row| row.int(0)).collect()
    }
}

/// Removes a relay.
pub(super) struct Leave(pub i64);

impl<D: Dialect> Work<D> for Leave {
    type Output = ();

    async fn run(&self, session: &mut Session<'_, D>) -> Result<(), Error> {
        session.fetch(RELEASE_ALL, &[self.0.into()]).await?;
        session.fetch(LEAVE, &[self.0.into()]).await.map(drop)
    }
}
