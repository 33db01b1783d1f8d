//! The rows of records that are due later.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::Hash,
    time::{Duration, UNIX_EPOCH},
};

use sqlx::Error;
use static_bus_remote::transport::{
    Due, DueTime, Record, Topic, TransportError, TransportErrorKind,
};

use super::{
    dialect::{Argument, Dialect},
    list,
    rows::insert_rows,
    store::{Session, Store},
};

/// The largest number of bytes of a cancellation key: an index of PostgreSQL has no larger ones.
const LONGEST_KEY: usize = 2000;

/// Two transactions that change the same keys in another order would wait for each other.
const LOCK: &str = "select pg_advisory_xact_lock(hashtextextended('{p}cancellation' || value::text, 0)) from {each $1}";

/// A record that is due keeps its place, and its key is free.
const FREE: &str = "update {p}scheduled set cancellation_key = null \
     where topic_id = $1 and cancellation_key {in_keys $2} and due_at <= {now}";

const SCHEDULE: &str = "insert into {p}scheduled \
     (topic_id, due_at, cancellation_key, strand, key, headers, body, expires_after) \
     select column1, coalesce(column2, {now} + column3), column4, column5, column6, column7, column8, column9 \
     from (values {rows 9}) as rows where true \
     on conflict (topic_id, cancellation_key) where cancellation_key is not null do update set \
     id = excluded.id, due_at = excluded.due_at, strand = excluded.strand, key = excluded.key, \
     headers = excluded.headers, body = excluded.body, expires_after = excluded.expires_after";

const CANCEL: &str = "delete from {p}scheduled where topic_id = (select id from {p}topic where kind = $1 and name = $2) \
     and cancellation_key = $3 and due_at > {now} returning id";

/// # Errors
/// If the cancellation key is longer than the limit.
pub(crate) fn check_key<D: Dialect>(
    store: &Store<D>,
    topic: &Topic,
    due: &Due,
) -> Result<(), TransportError> {
    let length = due.key.as_deref().map_or(0, str::len);
    if length <= LONGEST_KEY {
        return Ok(());
    }
    let reason = format!(
        "the cancellation key of a record of {topic} has {length} bytes, and the limit is {LONGEST_KEY}: shorten it"
    );
    Err(store.error(TransportErrorKind::TooLarge, reason))
}

/// Locks cancellation keys in one order, before the first of them is changed. One key needs no lock.
pub(crate) async fn lock<D: Dialect>(
    session: &mut Session<'_, D>,
    keys: BTreeSet<&str>,
) -> Result<(), Error> {
    if D::CONCURRENT && keys.len() > 1 {
        let keys = list::texts(keys);
        session.fetch(LOCK, &[(&keys).into()]).await?;
    }
    Ok(())
}

/// Adds records to topics with these numbers. Those with a cancellation key replace those that have it and are not due.
pub(crate) async fn schedule<D: Dialect>(
    session: &mut Session<'_, D>,
    records: Vec<(i64, &Record)>,
) -> Result<(), Error> {
    let records = last_of_each_key(records);
    let keys = records
        .iter()
        .filter_map(|(_, record)| cancellation_key(record));
    lock(session, keys.collect()).await?;
    for (topic, keys) in cancellation_keys(&records) {
        session.fetch(FREE, &[topic.into(), (&keys).into()]).await?;
    }
    insert_rows(session, SCHEDULE, &records, |topic, columns| {
        let [at, after] = due(columns.record());
        let cancellation_key = cancellation_key(columns.record());
        [
            (*topic).into(),
            at,
            after,
            cancellation_key.map(str::as_bytes).into(),
            columns.strand().into(),
            columns.key().into(),
            columns.headers().into(),
            columns.body().into(),
            columns.expires().into(),
        ]
    })
    .await
}

/// Removes the record with a cancellation key that is not due. Returns whether there was one.
pub(crate) async fn cancel<D: Dialect>(
    session: &mut Session<'_, D>,
    topic: &Topic,
    key: &str,
) -> Result<bool, Error> {
    cancel_by(session, CANCEL, topic, key).await
}

/// [`cancel`] with another statement.
pub(crate) async fn cancel_by<D: Dialect>(
    session: &mut Session<'_, D>,
    template: &'static str,
    topic: &Topic,
    key: &str,
) -> Result<bool, Error> {
    let (kind, name) = (topic.kind.as_str().into(), (&*topic.name).into());
    let arguments = [kind, name, key.as_bytes().into()];
    let cancelled = session.fetch(template, &arguments).await?;
    Ok(!cancelled.is_empty())
}

/// The records without those that a later one replaces: of the same topic, with the same cancellation key.
pub(crate) fn last_of_each_key<T: Copy + Eq + Hash>(
    records: Vec<(T, &Record)>,
) -> Vec<(T, &Record)> {
    let mut keys = HashSet::new();
    let mut is_last =
        |topic, record| cancellation_key(record).is_none_or(|key| keys.insert((topic, key)));
    let last = records.into_iter().rev();
    let mut last: Vec<_> = last
        .filter(|(topic, record)| is_last(*topic, record))
        .collect();
    last.reverse();
    last
}

pub(crate) fn cancellation_key(record: &Record) -> Option<&str> {
    record.due.as_ref()?.key.as_deref()
}

/// The cancellation keys of the records of each topic, as an argument of a statement.
pub(crate) fn cancellation_keys<T: Copy + Ord>(
    records: &[(T, &Record)],
) -> impl Iterator<Item = (T, String)> {
    let mut keys = BTreeMap::<_, Vec<_>>::new();
    for (topic, record) in records {
        if let Some(key) = cancellation_key(record) {
            keys.entry(*topic).or_default().push(key.as_bytes());
        }
    }
    keys.into_iter()
        .map(|(topic, keys)| (topic, list::bytes(keys)))
}

/// The time at which a record is due, or the delay: one of them, in milliseconds.
pub(crate) fn due(record: &Record) -> [Argument<'static>; 2] {
    let [at, after] = match record.due.as_ref().map(|due| due.time) {
        Some(DueTime::At(time)) => {
            let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            [Some(due_millis(time)), None]
        }
        Some(DueTime::After(delay)) => [None, Some(due_millis(delay))],
        None => [None, Some(0)],
    };
    [at.into(), after.into()]
}

/// Milliseconds, rounded up, and one more: the database rounds its clock, and a record is never early.
fn due_millis(time: Duration) -> i64 {
    const LATEST: u64 = 1 << 53;
    let millis = u64::try_from(time.as_nanos().div_ceil(1_000_000) + 1);
    millis.unwrap_or(LATEST).min(LATEST).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rounded_up_and_does_not_overflow() {
        assert_eq!(due_millis(Duration::ZERO), 1);
        assert_eq!(due_millis(Duration::from_nanos(1_000_001)), 3);
        assert_eq!(due_millis(Duration::from_millis(7)), 8);
        assert_eq!(due_millis(Duration::MAX), 1 << 53);
    }

    #[test]
    fn of_records_with_one_key_the_last_one_is_left_in_its_place() {
        let due = |key: Option<&str>| {
            let due = Due::after(Duration::ZERO);
            let due = match key {
                Some(key) => due.with_key(key),
                None => due,
            };
            Record {
                due: Some(due),
                ..Record::default()
            }
        };
        let (a, b, none) = (due(Some("a")), due(Some("b")), due(None));
        let records = vec![(1, &a), (1, &none), (1, &b), (2, &a), (1, &none), (1, &a)];
        let left = last_of_each_key(records);
        assert_eq!(left, [(1, &none), (1, &b), (2, &a), (1, &none), (1, &a)]);
    }
}
