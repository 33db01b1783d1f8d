//! Groups and their members.

use std::{collections::BTreeSet, sync::Arc};

use sqlx::Error;
use static_bus_remote::transport::Subscription;

use super::{
    append::announce,
    claims,
    dialect::Dialect,
    joining::add_group,
    record::as_millis,
    store::{Session, Work},
    strands,
    topics::topic,
};

/// The shortest time after which a member that is not heard of is no member any more.
const SILENT: i64 = 60_000;

const GROUP: &str = "select id from {p}consumer_group where topic_id = $1 and name = $2";
const ADD_MEMBER: &str =
    "insert into {p}member (group_id, name, until) values ($1, $2, {now} + $3) returning id";
const REMOVE_SILENT: &str = "delete from {p}member where group_id = $1 and until < {now}";
/// A member that was silent for too long, while the database or its process was away, may have been removed.
const TOUCH: &str = "insert into {p}member (id, group_id, name, until) values ($1, $2, $3, {now} + $4) \
     on conflict (id) do update set until = excluded.until";

const LEAVE: &str = "update {p}delivery {by delivery_leased} set until = 0, member = null, attempts = attempts - 1 \
     where group_id = $1 and until > 0 and member = $2";
const LEAVE_STRANDS: &str =
    "update {p}strand set member = null where group_id = $1 and member = $2 returning strand";
const REMOVE_MEMBER: &str = "delete from {p}member where id = $1";

/// A member of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Membership {
    pub topic: i64,
    pub group: i64,
    pub member: i64,
    /// The length of a lease in milliseconds.
    pub lease: i64,
    /// The time for which the keys of acknowledged records are remembered, in milliseconds.
    pub deduplication: Option<i64>,
}

impl Membership {
    /// The time after which a member that is not heard of is no member any more, in milliseconds.
    pub fn silence(&self) -> i64 {
        silence(self.lease)
    }
}

fn silence(lease: i64) -> i64 {
    (3 * lease).max(SILENT)
}

/// Joins a group, and makes topic and group where they are missing.
pub(crate) struct Join(pub Subscription);

impl<D: Dialect> Work<D> for Join {
    type Output = Membership;

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Membership, Error> {
        let subscription = &self.0;
        let topic = topic(session, &subscription.topic).await?;
        let group = group(session, subscription, topic).await?;
        let lease = as_millis(subscription.lease);
        session.fetch(REMOVE_SILENT, &[group.into()]).await?;
        let name = &*subscription.member;
        let member = [group.into(), name.into(), silence(lease).into()];
        let member = session.fetch(ADD_MEMBER, &member).await?[0].int(0)?;
        Ok(Membership {
            topic,
            group,
            member,
            lease,
            deduplication: subscription.deduplication.map(as_millis),
        })
    }
}

async fn group<D: Dialect>(
    session: &mut Session<'_, D>,
    subscription: &Subscription,
    topic: i64,
) -> Result<i64, Error> {
    let named = [topic.into(), (&*subscription.group).into()];
    if let Some(row) = session.fetch(GROUP, &named).await?.first() {
        return row.int(0);
    }
    let kind = subscription.topic.kind;
    if let Some(group) = add_group(session, topic, kind, &subscription.group).await? {
        return Ok(group);
    }
    // Another process has made it meanwhile.
    let rows = session.fetch(GROUP, &named).await?;
    rows.first().ok_or(Error::RowNotFound)?.int(0)
}

/// Says that the member is there.
pub(crate) struct Touch {
    pub membership: Membership,
    pub name: Arc<str>,
}

impl<D: Dialect> Work<D> for Touch {
    type Output = ();

    fn is_durable(&self) -> bool {
        false
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<(), Error> {
        let arguments = [
            self.membership.member.into(),
            self.membership.group.into(),
            (&*self.name).into(),
            self.membership.silence().into(),
        ];
        session.fetch(TOUCH, &arguments).await.map(drop)
    }
}

/// Leaves a group, and releases all that the member holds.
pub(crate) struct Leave {
    pub membership: Membership,
    /// The deduplication keys that the member may hold.
    pub claims: Vec<Arc<str>>,
}

impl<D: Dialect> Work<D> for Leave {
    type Output = ();

    async fn run(&self, session: &mut Session<'_, D>) -> Result<(), Error> {
        let Membership {
            topic,
            group,
            member,
            ..
        } = self.membership;
        let arguments = [group.into(), member.into()];
        session.lock("group", group).await?;
        let claims: Vec<_> = self.claims.iter().map(|key| &**key).collect();
        claims::give_up(session, &self.membership, &claims).await?;
        session.fetch(LEAVE, &arguments).await?;
        let held = session.fetch(LEAVE_STRANDS, &arguments).await?;
        let held: Result<BTreeSet<_>, _> = held.iter().map(|row| row.int(0)).collect();
        strands::settle(session, group, member, held?).await?;
        session.fetch(REMOVE_MEMBER, &[member.into()]).await?;
        announce(session, &[topic].into()).await
    }
}
