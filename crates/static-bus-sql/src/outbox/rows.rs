//! The rows of the outbox.

use std::time::Duration;

use sqlx::Error;
use static_bus_remote::transport::Record;

use super::scheduled;
use crate::{
    append::announce,
    bounds::time_of,
    dialect::Dialect,
    parts::Part,
    record::strand,
    rows::insert_rows,
    store::{Session, Work},
};

/// The number of parts of the outbox; the messages of one key are in one part.
pub(crate) const PARTITIONS: i64 = 16;

/// The number under which relays wait: topics have greater ones.
pub(crate) const RELAY: i64 = 0;

const INSERT: &str = "insert into {p}outbox (partition_id, kind, name, key, headers, body, appended_at) \
     select column1, column2, column3, column4, column5, column6, {now} from (values {rows 6}) as rows";

/// Inserts records, and those that are due later into their table.
pub(crate) struct Insert(pub Part);

impl<D: Dialect> Work<D> for Insert {
    type Output = ();

    fn time(&self, deadline: Duration) -> Duration {
        time_of(deadline, self.0.size())
    }

    async fn run(&self, session: &mut Session<'_, D>) -> Result<(), Error> {
        let (later, now): (Vec<_>, Vec<_>) =
            self.0.iter().partition(|(_, record)| record.due.is_some());
        insert_rows(session, INSERT, &now, |topic, columns| {
            [
                partition(columns.record()).into(),
                topic.kind.as_str().into(),
                (&*topic.name).into(),
                columns.key().into(),
                columns.headers().into(),
                columns.body().into(),
            ]
        })
        .await?;
        scheduled::insert(session, later).await?;
        announce(session, &[RELAY].into()).await
    }
}

/// The part of the outbox to which a record belongs.
pub(super) fn partition(record: &Record) -> i64 {
    match &record.key {
        Some(key) => strand(key).rem_euclid(PARTITIONS),
        None => fastrand::i64(0..PARTITIONS),
    }
}
