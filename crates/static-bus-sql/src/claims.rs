//! Deduplication keys.
//!
//! A key is held or remembered until the time `until`. It is forgotten at the time `forget_at`, which is not before: a lease and the time
//! for which it is remembered after the claim or its renewal. So the index of these times does not change when a key is confirmed.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use sqlx::Error;
use static_bus_remote::transport::Claim;

use super::{
    dialect::{Argument, Dialect},
    group::Membership,
    list,
    store::{Session, Work},
};

/// Those of all groups: one that has gone removes none. Keys that another transaction is confirming are left out. It waits for none:
/// handlers do this in their transactions.
const FORGET: &str = "delete from {p}claim where {row (group_id, key)} {found} select {row group_id, key} from {p}claim \
     {by claim_forget} where forget_at <= {now} and until <= {now} order by forget_at {limit $1} {skip} {end}";

const CLAIM: &str = "insert into {p}claim as c (group_id, key, member, until, forget_at, done) \
     select $1, {hex}, $2, {now} + $3, {now} + $3 + $4, false from {each $5} where true on conflict (group_id, key) do update \
     set member = excluded.member, until = excluded.until, forget_at = excluded.forget_at, done = false \
     where c.until <= {now} returning key";

/// All of it, on a database with functions.
const CLAIM_KEYS: &str = "select key, is_done from {p}claim_keys($1, $2, $3, $4, $5, $6)";

const DONE: &str = "select key from {p}claim where group_id = $1 and done and key {in_keys $2}";

const CONFIRM: &str = "insert into {p}claim as c (group_id, key, member, until, forget_at, done) \
     select $1, {hex}, null, {now} + $2, {now} + $2, true from {each $3} where true on conflict (group_id, key) do update \
     set member = null, done = true, until = case when c.done and c.until > excluded.until then c.until else excluded.until end";

/// Returns nothing of a key that is confirmed.
const REMEMBER: &str = "insert into {p}claim as c (group_id, key, member, until, forget_at, done) \
     select $1, {hex}, null, {now} + $2, {now} + $2, true from {each $3} where true on conflict (group_id, key) do update \
     set member = null, done = true, until = excluded.until where not c.done or c.until <= {now} returning key";

const RENEW: &str = "update {p}claim set until = {now} + $3, forget_at = {now} + $3 + $4 where group_id = $1 and member = $2 \
     and key {in_keys $5}";

const GIVE_UP: &str =
    "delete from {p}claim where group_id = $1 and member = $2 and key {in_keys $5}";

/// Claims keys.
pub(crate) struct Claiming {
    pub membership: Membership,
    pub keys: Vec<Arc<str>>,
}

impl<D: Dialect> Work<D> for Claiming {
    type Output = Vec<Claim>;

    fn is_durable(&self) -> bool {
        false
    }

    fn is_call(&self) -> bool {
        D::FUNCTIONS
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Vec<Claim>, Error> {
        let Membership {
            group,
            member,
            lease,
            ..
        } = self.membership;
        let (mut granted, mut done) = (HashSet::new(), HashSet::new());
        let kept = self.membership.deduplication.unwrap_or(0);
        let [group, member, lease, kept] = [group, member, lease, kept].map(Argument::from);
        let each = each(self.keys.iter().map(|key| &**key));
        if D::FUNCTIONS {
            let keys: Vec<_> = each.into_iter().map(Some).collect();
            let keys = Argument::BytesOfRows(&keys);
            let arguments = [
                group,
                member,
                lease,
                kept,
                keys,
                session.lock_timeout.into(),
            ];
            for row in session.fetch(CLAIM_KEYS, &arguments).await? {
                let keys = if row.is(1)? { &mut done } else { &mut granted };
                keys.insert(row.bytes(0)?);
            }
            return Ok(self.claims(granted, &done));
        }
        let keys = list::bytes(each);
        let arguments = [group, member, lease, kept, (&keys).into()];
        for row in session.fetch(CLAIM, &arguments).await? {
            granted.insert(row.bytes(0)?);
        }
        if granted.len() < self.keys.len() {
            for row in session.fetch(DONE, &[group, (&keys).into()]).await? {
                done.insert(row.bytes(0)?);
            }
        }
        Ok(self.claims(granted, &done))
    }
}

impl Claiming {
    fn claims(&self, mut granted: HashSet<Vec<u8>>, done: &HashSet<Vec<u8>>) -> Vec<Claim> {
        // A key that is named twice is granted once.
        let claim = |key: &Arc<str>| match key.as_bytes() {
            key if granted.remove(key) => Claim::Granted,
            key if done.contains(key) => Claim::Done,
            _ => Claim::Held,
        };
        self.keys.iter().map(claim).collect()
    }
}

/// Confirms the keys of records that are acknowledged, whoever holds them.
pub(crate) async fn confirm<D: Dialect>(
    session: &mut Session<'_, D>,
    membership: &Membership,
    confirmed: &[&str],
) -> Result<(), Error> {
    let Some(kept) = membership.deduplication else {
        return give_up(session, membership, confirmed).await;
    };
    if confirmed.is_empty() {
        return Ok(());
    }
    forget(session, confirmed.len()).await?;
    let keys = keys(confirmed.iter().copied());
    let arguments = [membership.group.into(), kept.into(), (&keys).into()];
    session.fetch(CONFIRM, &arguments).await.map(drop)
}

/// Confirms the key of a record, unless another record with the key was acknowledged. Returns whether it did.
pub(crate) async fn remember<D: Dialect>(
    session: &mut Session<'_, D>,
    membership: &Membership,
    key: &str,
) -> Result<bool, Error> {
    let Some(kept) = membership.deduplication else {
        return Ok(true);
    };
    forget(session, 1).await?;
    let keys = keys([key].into_iter());
    let arguments = [membership.group.into(), kept.into(), (&keys).into()];
    let remembered = session.fetch(REMEMBER, &arguments).await?;
    Ok(!remembered.is_empty())
}

/// Renews the claims that the member holds.
pub(crate) async fn renew<D: Dialect>(
    session: &mut Session<'_, D>,
    membership: &Membership,
    held: &[&str],
) -> Result<(), Error> {
    change_held(session, membership, RENEW, held).await
}

/// Gives up the claims that the member holds.
pub(crate) async fn give_up<D: Dialect>(
    session: &mut Session<'_, D>,
    membership: &Membership,
    held: &[&str],
) -> Result<(), Error> {
    change_held(session, membership, GIVE_UP, held).await
}

async fn change_held<D: Dialect>(
    session: &mut Session<'_, D>,
    membership: &Membership,
    template: &'static str,
    held: &[&str],
) -> Result<(), Error> {
    if held.is_empty() {
        return Ok(());
    }
    let keys = keys(held.iter().copied());
    let Membership {
        group,
        member,
        lease,
        deduplication,
        ..
    } = *membership;
    let kept = deduplication.unwrap_or(0);
    let [group, member, lease, kept] = [group, member, lease, kept].map(Argument::from);
    let arguments = [group, member, lease, kept, (&keys).into()];
    session.fetch(template, &arguments).await.map(drop)
}

/// Removes keys whose time is over: more than are added, so that all are removed in the end.
async fn forget<D: Dialect>(session: &mut Session<'_, D>, added: usize) -> Result<(), Error> {
    let limit = 2 * added as i64 + 10;
    session.fetch(FORGET, &[limit.into()]).await.map(drop)
}

/// Keys in the order in which all transactions lock them, each once: a statement changes no row twice.
pub(crate) fn each<'k>(keys: impl Iterator<Item = &'k str>) -> BTreeSet<&'k [u8]> {
    keys.map(str::as_bytes).collect()
}

/// These keys as an argument of a statement.
fn keys<'k>(keys: impl Iterator<Item = &'k str>) -> String {
    list::bytes(each(keys))
}
