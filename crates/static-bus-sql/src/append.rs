//! Appending records.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sqlx::Error;
use static_bus_remote::transport::{
    DEAD_LETTER_HEADROOM, Kind, Record, Topic, TransportError, TransportErrorKind,
};

use super::{
    bounds::time_of,
    dialect::{Argument, Dialect},
    list,
    parts::{self, Part},
    record::{Columns, as_millis, size},
    rows::{ROWS, insert_rows},
    scheduled::{check_key, schedule},
    scheduler::SCHEDULER,
    store::{Session, Store, Work},
    topics::topics,
};

/// The time for which queries and replies without a deadline are kept.
const KEPT: Duration = Duration::from_secs(600);

/// Appends records and wakes readers in other processes, on a database with functions. Returns the numbers of the topics.
const APPEND: &str = "select * from {p}append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// The statement that adds the deliveries of the rows of the table of records, named `r`, on a condition. A command whose topic has
/// no group yet is a delivery of the group with the negative number of the topic, until groups adopt it.
macro_rules! deliveries {
    ($condition:literal) => {
        concat!(
            "insert into {p}delivery (group_id, record_id, strand, fresh) \
             select coalesce(g.id, -r.topic_id), r.id, r.strand, r.strand is not null from {p}record as r \
             left join {p}consumer_group as g on g.topic_id = r.topic_id where ",
            $condition
        )
    };
}
pub(crate) use deliveries;

/// The statement that adds rows of records, on a database with one writer.
macro_rules! records {
    () => {
        "insert into {p}record (topic_id, strand, key, headers, body, appended_at, expires_at, drop_at) \
         select column1, column2, column3, column4, column5, {now}, {now} + column6, {now} + column7 \
         from (values {rows 7}) as rows"
    };
}

const RECORDS: &str = records!();

/// The same, and the deliveries of those that are leased.
const RECORDS_AND_DELIVERIES: &str = concat!(
    records!(),
    "; ",
    deliveries!(
        "r.id > last_insert_rowid() - {count} and r.id <= last_insert_rowid() and r.drop_at is null"
    )
);

const DEAD_LETTERS: &str = "insert into {p}dead_letter \
     (origin, consumer_group, service, error, key, headers, body, appended_at, expires_at) \
     select column1, column2, column3, column4, column5, column6, column7, {now}, {now} + column8 \
     from (values {rows 8}) as rows";

/// Records that are appended.
pub(crate) struct Append(pub Part);

/// What became of the records.
#[derive(Default)]
pub(crate) struct Appended {
    /// The topics of queries that have no receiver.
    lonely: BTreeSet<Topic>,
    /// The topics that have new records, and [`SCHEDULER`] if there are some that are due later.
    pub topics: BTreeSet<i64>,
}

/// Appends records. Returns the result of each, and the topics that have new records.
pub(crate) async fn append<D: Dialect>(
    store: &Arc<Store<D>>,
    records: Vec<(Topic, Record)>,
    max_record: usize,
) -> (Vec<Result<(), TransportError>>, BTreeSet<i64>) {
    let mut topics = BTreeSet::new();
    let written = |part: &Part, appended: Appended, results: &mut [Result<_, _>]| {
        topics.extend(appended.topics);
        for (place, topic, _) in part.placed() {
            if appended.lonely.contains(topic) {
                results[place] = Err(TransportError::no_receiver(store.address().clone(), topic));
            }
        }
    };
    let results = parts::write(store, records, max_record, Append, written).await;
    (results, topics)
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

impl<D: Dialect> Work<D> for Append {
    type Output = Appended;

    /// Queries and replies that are lost with the machine are those of callers that give up.
    fn is_durable(&self) -> bool {
        !self.0.iter().all(|(topic, _)| is_volatile(topic.kind))
    }

    fn time(&self, deadline: Duration) -> Duration {
        time_of(deadline, self.0.size())
    }

    fn is_call(&self) -> bool {
        D::FUNCTIONS && self.0.len() <= ROWS && self.0.iter().all(|record| is_row(&record))
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Appended, Error> {
        let (rows, others): (Vec<_>, Vec<_>) = self.0.iter().partition(is_row);
        let (letters, scheduled): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|(topic, _)| topic.kind == Kind::DeadLetter);
        let mut appended = Appended::default();
        if D::FUNCTIONS {
            let is_durable = Work::<D>::is_durable(self);
            for rows in rows.chunks(ROWS) {
                call(session, rows, is_durable, &mut appended).await?;
            }
        } else if !rows.is_empty() {
            insert(session, &rows, &mut appended).await?;
        }
        insert_dead_letters(session, letters).await?;
        if !scheduled.is_empty() {
            let of = scheduled.iter().map(|(topic, _)| *topic).collect();
            let found = topics(session, of, |_| true).await?;
            let scheduled = scheduled.into_iter().filter_map(|(topic, record)| {
                let found = found.get(topic)?;
                Some((found.id, record))
            });
            schedule(session, scheduled.collect()).await?;
            announce(session, &[SCHEDULER].into()).await?;
            appended.topics.insert(SCHEDULER);
        }
        Ok(appended)
    }
}

impl Appended {
    /// Notes what became of the records of a topic; the number is `None` if they were not appended.
    fn note(&mut self, topic: &Topic, number: Option<i64>) {
        match number {
            Some(number) => _ = self.topics.insert(number),
            None if topic.kind == Kind::Query => _ = self.lonely.insert(topic.clone()),
            // An event of which no group exists is dropped.
            None => {}
        }
    }
}

/// Appends rows with a function.
async fn call<D: Dialect>(
    session: &mut Session<'_, D>,
    rows: &[(&Topic, &Record)],
    is_durable: bool,
    appended: &mut Appended,
) -> Result<(), Error> {
    let mut topics: Vec<&Topic> = Vec::new();
    let mut places = Vec::with_capacity(rows.len());
    for (topic, _) in rows {
        let known = topics.iter().rposition(|known| known == topic);
        let place = known.unwrap_or_else(|| {
            topics.push(topic);
            topics.len() - 1
        });
        places.push(Some(place as i64 + 1));
    }
    let (kinds, names): (Vec<_>, Vec<_>) = topics
        .iter()
        .map(|topic| (topic.kind.as_str(), &*topic.name))
        .unzip();
    let columns = rows
        .iter()
        .map(|(topic, record)| (topic.kind, Columns::of(record)));
    let columns: Vec<_> = columns.collect();
    let ints = |int: fn(Kind, &Columns<'_>) -> Option<i64>| -> Vec<_> {
        columns
            .iter()
            .map(|(kind, columns)| int(*kind, columns))
            .collect()
    };
    let strands = ints(strand_of);
    let expires = ints(|_, columns| columns.expires());
    let dropped = ints(dropped_after);
    let keys: Vec<_> = columns.iter().map(|(_, c)| c.key()).collect();
    let headers: Vec<_> = columns.iter().map(|(_, c)| Some(c.headers())).collect();
    let bodies: Vec<_> = columns.iter().map(|(_, c)| Some(c.body())).collect();
    let arguments = [
        Argument::Texts(&kinds),
        Argument::Texts(&names),
        Argument::Ints(&places),
        Argument::Ints(&strands),
        Argument::BytesOfRows(&keys),
        Argument::BytesOfRows(&headers),
        Argument::BytesOfRows(&bodies),
        Argument::Ints(&expires),
        Argument::Ints(&dropped),
        i64::from(is_durable).into(),
        session.lock_timeout.into(),
    ];
    let numbers = session.fetch(APPEND, &arguments).await?;
    for (topic, number) in topics.into_iter().zip(numbers) {
        appended.note(topic, number.some_int(0)?);
    }
    Ok(())
}

/// Appends rows with statements.
async fn insert<D: Dialect>(
    session: &mut Session<'_, D>,
    rows: &[(&Topic, &Record)],
    appended: &mut Appended,
) -> Result<(), Error> {
    let of = rows.iter().map(|(topic, _)| *topic).collect();
    let makes = |kind| matches!(kind, Kind::Command | Kind::Reply);
    let found = topics(session, of, makes).await?;
    let mut accepted = Vec::with_capacity(rows.len());
    for (topic, record) in rows {
        let number = found.get(topic).filter(|found| match topic.kind {
            Kind::Query => found.accepts,
            Kind::Event => found.has_group,
            _ => true,
        });
        let number = number.map(|found| found.id);
        appended.note(topic, number);
        accepted.extend(number.map(|number| ((number, topic.kind), *record)));
    }
    let statements = match accepted.iter().any(|((_, kind), _)| is_leased(*kind)) {
        true => RECORDS_AND_DELIVERIES,
        false => RECORDS,
    };
    insert_rows(session, statements, &accepted, |(topic, kind), columns| {
        [
            (*topic).into(),
            strand_of(*kind, columns).into(),
            columns.key().into(),
            columns.headers().into(),
            columns.body().into(),
            columns.expires().into(),
            dropped_after(*kind, columns).into(),
        ]
    })
    .await
}

/// Returns `true` if the record is a row of the table of records.
fn is_row((topic, record): &(&Topic, &Record)) -> bool {
    topic.kind != Kind::DeadLetter && record.due.is_none()
}

/// The strand of a record that is leased.
fn strand_of(kind: Kind, columns: &Columns<'_>) -> Option<i64> {
    columns.strand().filter(|_| is_leased(kind))
}

/// The time after which a record that is not leased is dropped.
fn dropped_after(kind: Kind, columns: &Columns<'_>) -> Option<i64> {
    let expires = columns.expires();
    (!is_leased(kind)).then(|| expires.unwrap_or(as_millis(KEPT)))
}

async fn insert_dead_letters<D: Dialect>(
    session: &mut Session<'_, D>,
    letters: Vec<(&Topic, &Record)>,
) -> Result<(), Error> {
    let letters = letters
        .into_iter()
        .map(|(_, letter)| (searched(letter), letter));
    let letters: Vec<_> = letters.collect();
    insert_rows(session, DEAD_LETTERS, &letters, |searched, columns| {
        let [origin, group, service, error] = searched.each_ref().map(Into::into);
        [
            origin,
            group,
            service,
            error,
            columns.key().into(),
            columns.headers().into(),
            columns.body().into(),
            columns.expires().into(),
        ]
    })
    .await
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

/// Returns `true` if a crash of the machine may undo what was appended.
fn is_volatile(kind: Kind) -> bool {
    matches!(kind, Kind::Query | Kind::Reply)
}

fn is_leased(kind: Kind) -> bool {
    matches!(kind, Kind::Command | Kind::Event)
}
