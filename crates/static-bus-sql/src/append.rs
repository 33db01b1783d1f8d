//! Appending records.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use sqlx::Error;
use static_bus_remote::transport::{
    DEAD_LETTER_HEADROOM, Kind, Record, Topic, TransportError, TransportErrorKind,
};

use super::{
    dialect::{Argument, Dialect},
    list,
    record::{Columns, as_millis, size, strand},
    scheduled::{check_key, schedule},
    scheduler::SCHEDULER,
    store::{Session, Store, Work},
};

/// The time for which queries and replies without a deadline are kept.
const KEPT: Duration = Duration::from_secs(600);

/// The greatest number of rows in a statement.
const ROWS: usize = 128;

const TOPICS: &str = "select t.id, t.kind, t.name, case when t.accepts_until > {now} then 1 else 0 end, \
     case when exists (select 1 from {p}consumer_group as g where g.topic_id = t.id) then 1 else 0 end \
     from {p}topic as t where (t.kind, t.name) in (select {text 0}, {text 1} from {each $1})";

pub(crate) const ADD_TOPICS: &str = "insert into {p}topic (kind, name) select {text 0}, {text 1} from {each $1} \
     where true on conflict (kind, name) do nothing";

const RECORDS: &str = "insert into {p}record \
     (topic_id, strand, key, headers, body, appended_at, expires_at, drop_at) \
     select column1, column2, column3, column4, column5, {now}, {now} + column6, {now} + column7 \
     from (values {rows 7}) as rows";

/// The number of the last record, on a database with one writer: those before it are of the same transaction.
const LAST: &str = "select last_insert_rowid()";

/// The statement that adds the deliveries of the rows of a table, named `r`, on a condition. A command whose topic has no group
/// yet is a delivery of the group with the negative number of the topic, until a group adopts it.
macro_rules! deliveries {
    ($records:literal, $condition:literal) => {
        concat!(
            "insert into {p}delivery (group_id, record_id, strand, fresh) \
             select coalesce(g.id, -r.topic_id), r.id, r.strand, r.strand is not null from ",
            $records,
            " as r left join {p}consumer_group as g on g.topic_id = r.topic_id where ",
            $condition
        )
    };
}
pub(crate) use deliveries;

const DELIVERIES: &str = deliveries!(
    "{p}record",
    "r.id > $1 - $2 and r.id <= $1 and r.drop_at is null"
);

/// Both in one statement, which wakes readers in other processes as well. Records that are leased are not dropped.
const RECORDS_AND_DELIVERIES: &str = concat!(
    "with appended as (insert into {p}record \
     (topic_id, strand, key, headers, body, appended_at, expires_at, drop_at) \
     select topic, strand, key, headers, body, {now}, {now} + expires, {now} + dropped \
     from unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[], $7::bigint[]) \
     as rows (topic, strand, key, headers, body, expires, dropped) returning id, topic_id, strand, drop_at), delivered as (",
    deliveries!("appended", "r.drop_at is null"),
    ") select pg_notify('{n}', topic_id::text) from appended group by topic_id"
);

const DEAD_LETTERS: &str = "insert into {p}dead_letter \
     (origin, consumer_group, service, error, key, headers, body, appended_at, expires_at) \
     select column1, column2, column3, column4, column5, column6, column7, {now}, {now} + column8 \
     from (values {rows 8}) as rows";

/// The records of one call.
pub(crate) struct Append {
    records: Vec<(Topic, Record)>,
    /// The indices of those that are small enough.
    accepted: Vec<usize>,
}

/// What became of the records of a call.
pub(crate) struct Appended {
    /// The queries without a receiver.
    lonely: Vec<(usize, Topic)>,
    /// The topics that have new records, and [`SCHEDULER`] if there are some that are due later.
    pub topics: BTreeSet<i64>,
}

#[derive(Clone, Copy)]
struct Found {
    id: i64,
    accepts: bool,
    has_group: bool,
}

/// Appends records in one transaction. Returns the result of each, and the topics that have new records.
pub(crate) async fn append<D: Dialect>(
    store: &Arc<Store<D>>,
    records: Vec<(Topic, Record)>,
    max_record: usize,
) -> (Vec<Result<(), TransportError>>, BTreeSet<i64>) {
    let accept = |(topic, record): &_| check(store, topic, record, max_record);
    let mut results: Vec<_> = records.iter().map(accept).collect();
    let accepted = results
        .iter()
        .enumerate()
        .filter(|(_, result)| result.is_ok());
    let accepted: Vec<_> = accepted.map(|(at, _)| at).collect();
    if accepted.is_empty() {
        return (results, BTreeSet::new());
    }
    let work = Append {
        records,
        accepted: accepted.clone(),
    };
    match store.transact(work).await {
        Ok(Appended { lonely, topics }) => {
            for (at, topic) in lonely {
                results[at] = Err(TransportError::no_receiver(store.address().clone(), &topic));
            }
            (results, topics)
        }
        Err(error) => {
            for at in accepted {
                results[at] = Err(error.clone());
            }
            (results, BTreeSet::new())
        }
    }
}

/// # Errors
/// If the record is larger than the limit, or is due later and cannot be.
pub(crate) fn check<D: Dialect>(
    store: &Store<D>,
    topic: &Topic,
    record: &Record,
    max_record: usize,
) -> Result<(), TransportError> {
    if let Some(due) = &record.due {
        if !is_leased(topic.kind) {
            return Err(TransportError::never_due(store.address().clone(), topic));
        }
        check_key(store, topic, due)?;
    }
    let limit = match topic.kind {
        Kind::DeadLetter => max_record.saturating_add(DEAD_LETTER_HEADROOM),
        _ => max_record,
    };
    let size = size(record);
    if size <= limit {
        return Ok(());
    }
    let reason = format!(
        "the record of {topic} has {size} bytes, and the limit is {limit}: send less, or raise `max_record`"
    );
    Err(store.error(TransportErrorKind::TooLarge, reason))
}

impl Append {
    /// All of these records.
    pub fn all(records: Vec<(Topic, Record)>) -> Self {
        Append {
            accepted: (0..records.len()).collect(),
            records,
        }
    }
}

impl<D: Dialect> Work<D> for Append {
    type Output = Appended;

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Appended, Error> {
        let topics = self.topics(session).await?;
        let mut appended = Appended {
            lonely: Vec::new(),
            topics: BTreeSet::new(),
        };
        let (mut rows, mut letters) = (Vec::with_capacity(self.accepted.len()), Vec::new());
        let mut scheduled = Vec::new();
        for at in &self.accepted {
            let (topic, record) = &self.records[*at];
            let found = topics.get(topic).copied();
            match (topic.kind, found) {
                (Kind::DeadLetter, _) => letters.push(record),
                (Kind::Query, found) if !found.is_some_and(|found| found.accepts) => {
                    appended.lonely.push((*at, topic.clone()));
                }
                (_, Some(found)) if record.due.is_some() => scheduled.push((found.id, record)),
                // An event of which no group exists is dropped.
                (Kind::Event, found) if !found.is_some_and(|found| found.has_group) => {}
                (_, Some(found)) => {
                    appended.topics.insert(found.id);
                    rows.push((found.id, topic.kind, record));
                }
                (_, None) => return Err(Error::RowNotFound),
            }
        }
        if D::CHANGES_TABLES {
            insert_at_once(session, &rows).await?;
        } else {
            insert_records(session, &rows).await?;
            announce(session, &appended.topics).await?;
        }
        insert_dead_letters(session, &letters).await?;
        if !scheduled.is_empty() {
            schedule(session, scheduled).await?;
            announce(session, &[SCHEDULER].into()).await?;
            appended.topics.insert(SCHEDULER);
        }
        Ok(appended)
    }
}

impl Append {
    /// The topics of the records. Those of commands, of replies and of what is due later are made where they are missing.
    async fn topics<D: Dialect>(
        &self,
        session: &mut Session<'_, D>,
    ) -> Result<HashMap<Topic, Found>, Error> {
        let topics = self.accepted.iter().map(|at| &self.records[*at].0);
        let mut missing: BTreeSet<_> = topics
            .filter(|topic| topic.kind != Kind::DeadLetter)
            .collect();
        let scheduled = self.accepted.iter().map(|at| &self.records[*at]);
        let scheduled: BTreeSet<_> = scheduled
            .filter(|(_, record)| record.due.is_some())
            .map(|(topic, _)| topic)
            .collect();
        let mut found = HashMap::with_capacity(missing.len());
        let mut made = false;
        while !missing.is_empty() {
            let names = names(missing.iter().copied());
            for row in session.fetch(TOPICS, &[(&names).into()]).await? {
                let (kind, name) = (row.text(1)?, row.text(2)?);
                let is_it = |topic: &&&Topic| topic.kind.as_str() == kind && topic.name == name;
                if let Some(topic) = missing.iter().find(is_it).copied() {
                    missing.remove(topic);
                    let row = Found {
                        id: row.int(0)?,
                        accepts: row.is(3)?,
                        has_group: row.is(4)?,
                    };
                    found.insert(topic.clone(), row);
                }
            }
            missing.retain(|topic| {
                matches!(topic.kind, Kind::Command | Kind::Reply) || scheduled.contains(topic)
            });
            if missing.is_empty() || made {
                break;
            }
            let names = self::names(missing.iter().copied());
            session.fetch(ADD_TOPICS, &[(&names).into()]).await?;
            made = true;
        }
        Ok(found)
    }
}

/// Topics as an argument of a statement.
pub(crate) fn names<'t>(topics: impl IntoIterator<Item = &'t Topic>) -> String {
    list::texts(topics.into_iter().map(|t| [t.kind.as_str(), &*t.name]))
}

async fn insert_records<D: Dialect>(
    session: &mut Session<'_, D>,
    records: &[(i64, Kind, &Record)],
) -> Result<(), Error> {
    for rows in chunks(records) {
        let columns: Vec<_> = rows
            .iter()
            .map(|(_, _, record)| Columns::of(record))
            .collect();
        let arguments = rows
            .iter()
            .zip(&columns)
            .flat_map(|((topic, kind, record), columns)| {
                let strand = strand_of(*kind, record);
                let expires = columns.expires();
                let drop = dropped_after(*kind, expires);
                let (key, headers, body) = (columns.key(), columns.headers(), columns.body());
                [
                    (*topic).into(),
                    strand.into(),
                    key,
                    headers,
                    body,
                    expires.into(),
                    drop.into(),
                ]
            });
        let arguments: Vec<_> = arguments.collect();
        session
            .fetch_of_rows(RECORDS, rows.len(), &arguments)
            .await?;
    }
    if !records.iter().any(|(_, kind, _)| is_leased(*kind)) {
        return Ok(());
    }
    let last = session.fetch(LAST, &[]).await?;
    let last = last.first().ok_or(Error::RowNotFound)?.int(0)?;
    let count = records.len() as i64;
    session
        .fetch(DELIVERIES, &[last.into(), count.into()])
        .await
        .map(drop)
}

/// Inserts records and their deliveries, and wakes readers, with arrays as arguments.
async fn insert_at_once<D: Dialect>(
    session: &mut Session<'_, D>,
    records: &[(i64, Kind, &Record)],
) -> Result<(), Error> {
    for rows in records.chunks(ROWS) {
        let columns: Vec<_> = rows
            .iter()
            .map(|(_, kind, record)| (*kind, Columns::of(record)))
            .collect();
        let ints = |int: fn(&(i64, Kind, &Record)) -> Option<i64>| -> Vec<_> {
            rows.iter().map(int).collect()
        };
        let topics = ints(|(topic, ..)| Some(*topic));
        let strands = ints(|(_, kind, record)| strand_of(*kind, record));
        let expires: Vec<_> = columns.iter().map(|(_, c)| c.expires()).collect();
        let dropped = columns
            .iter()
            .map(|(kind, c)| dropped_after(*kind, c.expires()));
        let dropped: Vec<_> = dropped.collect();
        let keys: Vec<_> = columns.iter().map(|(_, c)| bytes(c.key())).collect();
        let headers: Vec<_> = columns.iter().map(|(_, c)| bytes(c.headers())).collect();
        let bodies: Vec<_> = columns.iter().map(|(_, c)| bytes(c.body())).collect();
        let arguments = [
            Argument::Ints(&topics),
            Argument::Ints(&strands),
            Argument::BytesOfRows(&keys),
            Argument::BytesOfRows(&headers),
            Argument::BytesOfRows(&bodies),
            Argument::Ints(&expires),
            Argument::Ints(&dropped),
        ];
        session.fetch(RECORDS_AND_DELIVERIES, &arguments).await?;
    }
    Ok(())
}

fn bytes(argument: Argument<'_>) -> Option<&[u8]> {
    match argument {
        Argument::Bytes(bytes) => bytes,
        _ => None,
    }
}

/// The strand of a record that is leased.
fn strand_of(kind: Kind, record: &Record) -> Option<i64> {
    let key = record.key.as_deref().filter(|_| is_leased(kind));
    key.map(strand)
}

/// The time after which a record that is not leased is dropped.
fn dropped_after(kind: Kind, expires: Option<i64>) -> Option<i64> {
    (!is_leased(kind)).then(|| expires.unwrap_or(as_millis(KEPT)))
}

async fn insert_dead_letters<D: Dialect>(
    session: &mut Session<'_, D>,
    letters: &[&Record],
) -> Result<(), Error> {
    for letters in chunks(letters) {
        let columns: Vec<_> = letters.iter().map(|letter| Columns::of(letter)).collect();
        let searched: Vec<_> = letters.iter().map(|letter| searched(letter)).collect();
        let arguments = searched
            .iter()
            .zip(&columns)
            .flat_map(|(searched, columns)| {
                let [origin, group, service, error] = searched.each_ref().map(Into::into);
                let (key, headers, body) = (columns.key(), columns.headers(), columns.body());
                [
                    origin,
                    group,
                    service,
                    error,
                    key,
                    headers,
                    body,
                    columns.expires().into(),
                ]
            });
        let arguments: Vec<_> = arguments.collect();
        session
            .fetch_of_rows(DEAD_LETTERS, letters.len(), &arguments)
            .await?;
    }
    Ok(())
}

/// Wakes the readers of topics in other processes, where the database can.
pub(crate) async fn announce<D: Dialect>(
    session: &mut Session<'_, D>,
    topics: &BTreeSet<i64>,
) -> Result<(), Error> {
    match D::ANNOUNCE {
        Some(announce) if !topics.is_empty() => {
            let topics = list::numbers(topics);
            session.fetch(announce, &[(&topics).into()]).await.map(drop)
        }
        _ => Ok(()),
    }
}

/// The attributes of a dead letter that have a column of their own. A column of text has no NUL in PostgreSQL.
fn searched(letter: &Record) -> [String; 4] {
    ["origin", "group", "service", "error"].map(|name| {
        letter
            .headers
            .get(name)
            .unwrap_or_default()
            .replace('\0', "")
    })
}

fn is_leased(kind: Kind) -> bool {
    matches!(kind, Kind::Command | Kind::Event)
}

/// Chunks of few sizes: each size is a statement of its own, which the client library remembers.
pub(crate) fn chunks<T>(mut all: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = (all.len() + 1).next_power_of_two() / 2;
        let (chunk, rest) = all.split_at(size.min(ROWS));
        all = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}
