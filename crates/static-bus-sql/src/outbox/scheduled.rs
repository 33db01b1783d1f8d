//! The messages of the outbox that are due later.

use std::time::Duration;

use sqlx::Error;
use static_bus_remote::transport::{Kind, Record, Topic, TopicState, TransportError};

use super::rows::{Insert, RELAY, partition};
use crate::{
    append::announce,
    bounds::BYTES,
    dialect::{Argument, Dialect},
    inspection::COUNTED,
    list,
    parts::{self, Part},
    record::duration,
    rows::insert_rows,
    scheduled::{cancel_by, cancellation_key, cancellation_keys, due, last_of_each_key, lock},
    scheduler::BATCH,
    store::{Row, Session, Store, Work},
    transport::Shared,
};

const FREE: &str = "update {p}scheduled_outbox set cancellation_key = null \
     where kind = $1 and name = $2 and cancellation_key {in_keys $3} and due_at <= {now}";

const INSERT: &str = "insert into {p}scheduled_outbox \
     (due_at, cancellation_key, partition_id, kind, name, key, headers, body) \
     select coalesce(column1, {now} + column2), column3, column4, column5, column6, column7, column8, column9 \
     from (values {rows 9}) as rows where true \
     on conflict (kind, name, cancellation_key) where cancellation_key is not null do update set \
     id = excluded.id, due_at = excluded.due_at, partition_id = excluded.partition_id, key = excluded.key, \
     headers = excluded.headers, body = excluded.body";

const CANCEL: &str = "delete from {p}scheduled_outbox where kind = $1 and name = $2 and cancellation_key = $3 \
     and due_at > {now} returning id";

const NEXT: &str = "select min(due_at) - {now} from {p}scheduled_outbox";

/// The records that are due, in order. Those that another transaction cancels or replaces are left out.
const DUE: &str = "select id from (select id, sum(size) over (order by due_at, id) - size as before from \
     (select id, due_at, length(body) as size from {p}scheduled_outbox where due_at <= {now} \
     order by due_at, id {limit $1} {skip}) as due) as sized where before < $2";

const MOVE: &str = "insert into {p}outbox (partition_id, kind, name, key, headers, body, appended_at) \
     select partition_id, kind, name, key, headers, body, {now} from {p}scheduled_outbox \
     where id {in $1} order by due_at, id";

const REMOVE: &str = "delete from {p}scheduled_outbox where id {in $1}";

const TOPICS: &str = "select distinct kind, name from \
     (select kind, name from {p}scheduled_outbox order by id {limit $1}) as looked_at";

const OF_TOPIC: &str = "select count(*), coalesce(min(due_at) - {now}, 0) from (select due_at from {p}scheduled_outbox \
     where kind = $1 and name = $2 order by due_at {limit $3}) as counted";

/// The number of messages that are due later.
pub(crate) const SCHEDULED_LAG: &str =
    "select count(*) from (select 1 from {p}scheduled_outbox limit 100000) as counted";

/// Inserts records, in transactions of their own. Returns the result of each.
pub(super) async fn append<D: Dialect>(
    shared: &Shared<D>,
    records: Vec<(Topic, Record)>,
) -> Vec<Result<(), TransportError>> {
    let Shared {
        store, max_record, ..
    } = shared;
    let wake = |_: &Part, (), _: &mut [_]| shared.wakers.wake(RELAY);
    parts::write(store, records, *max_record, Insert, wake).await
}

/// Inserts records. Those with a cancellation key replace those that have it and are not due.
pub(super) async fn insert<D: Dialect>(
    session: &mut Session<'_, D>,
    records: Vec<(&Topic, &Record)>,
) -> Result<(), Error> {
    let records = last_of_each_key(records);
    let keys = records
        .iter()
        .filter_map(|(_, record)| cancellation_key(record));
    lock(session, keys.collect()).await?;
    for (topic, keys) in cancellation_keys(&records) {
        let (kind, name) = (topic.kind.as_str().into(), (&*topic.name).into());
        session.fetch(FREE, &[kind, name, (&keys).into()]).await?;
    }
    insert_rows(session, INSERT, &records, |topic, columns| {
        let [at, after] = due(columns.record());
        let cancellation_key = cancellation_key(columns.record());
        [
            at,
            after,
            cancellation_key.map(str::as_bytes).into(),
            partition(columns.record()).into(),
            topic.kind.as_str().into(),
            (&*topic.name).into(),
            columns.key().into(),
            columns.headers().into(),
            columns.body().into(),
        ]
    })
    .await
}

/// Removes the record with a cancellation key that is not due. Returns whether there was one.
pub(crate) async fn cancel_in_outbox<D: Dialect>(
    session: &mut Session<'_, D>,
    topic: &Topic,
    key: &str,
) -> Result<bool, Error> {
    cancel_by(session, CANCEL, topic, key).await
}

/// The time until the next message is due; `None` if there is none.
pub(crate) async fn next_due<D: Dialect>(
    store: &Store<D>,
) -> Result<Option<Duration>, TransportError> {
    let rows = store.read(NEXT, &[]).await?;
    let left = rows.first().map_or(Ok(None), |row| row.some_int(0));
    Ok(store.checked(left)?.map(duration))
}

/// Moves messages that are due to the other rows. Returns whether there were any.
pub(crate) struct MoveDue;

impl<D: Dialect> Work<D> for MoveDue {
    type Output = bool;

    /// Messages of which a crash undoes the move are moved again.
    fn is_durable(&self) -> bool {
        false
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<bool, Error> {
        // Messages of one key keep their order: one relay at a time moves them.
        session.lock("scheduled_outbox", 0).await?;
        let due = session
            .fetch(DUE, &[BATCH, BYTES as i64].map(Argument::from))
            .await?;
        if due.is_empty() {
            return Ok(false);
        }
        let due: Result<Vec<_>, _> = due.iter().map(|row| row.int(0)).collect();
        let due = list::numbers(due?);
        session.fetch(MOVE, &[(&due).into()]).await?;
        session.fetch(REMOVE, &[(&due).into()]).await?;
        announce(session, &[RELAY].into()).await?;
        Ok(true)
    }
}

/// The topics of messages that are due later.
pub(super) async fn topics<D: Dialect>(store: &Store<D>) -> Result<Vec<Topic>, TransportError> {
    let rows = store.read(TOPICS, &[COUNTED.into()]).await?;
    let topics: Result<_, _> = rows.iter().map(|row| topic(row, 0)).collect();
    store.checked(topics)
}

/// The topic in two columns, from column `at` on.
pub(crate) fn topic<D: Dialect>(row: &Row<D>, at: usize) -> Result<Topic, Error> {
    let kind = match row.text(at)?.as_str() {
        "event" => Kind::Event,
        _ => Kind::Command,
    };
    let name = row.text(at + 1)?.into();
    Ok(Topic { kind, name })
}

/// The state of a topic at the broker, with the messages that are due later; `None` if there is neither.
pub(super) async fn with_scheduled<D: Dialect>(
    store: &Store<D>,
    topic: &Topic,
    state: Option<TopicState>,
) -> Result<Option<TopicState>, TransportError> {
    let arguments = [
        topic.kind.as_str().into(),
        (&*topic.name).into(),
        COUNTED.into(),
    ];
    let rows = store.read(OF_TOPIC, &arguments).await?;
    let (scheduled, next) = (rows[0].int(0), rows[0].int(1));
    let (scheduled, next) = (store.checked(scheduled)?, store.checked(next)?);
    if scheduled == 0 {
        return Ok(state);
    }
    let mut state = state.unwrap_or_else(|| TopicState::new(topic.clone()));
    state.scheduled += scheduled.cast_unsigned();
    let next = state.next_due.into_iter().chain([duration(next)]).min();
    state.next_due = next;
    Ok(Some(state))
}
