//! Dead letters.

use std::sync::Arc;

use sqlx::Error;
use static_bus_remote::transport::{DeadLetterRecord, TransportError, TransportErrorKind};

use super::{
    bounds::{BYTES, first, places, time_of},
    dialect::{Argument, Dialect},
    list,
    record::decode,
    store::{Row, Session, Store, Work},
};

/// The largest number of dead letters in one answer.
const LETTERS: usize = 1000;

const FIRST: &str = concat!(
    "select place, size ",
    first!(
        "select id as place, id as number, {size l} as size from {p}dead_letter as l where id > $1 order by id {limit $2}";
        "$3"
    )
);
const READ: &str = "select id, key, headers, body, expires_at - {now} from {p}dead_letter where id {in $1} order by id";
const REMOVE: &str = "delete from {p}dead_letter where id {in $1}";

pub(crate) async fn list<D: Dialect>(
    store: &Store<D>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<DeadLetterRecord>, TransportError> {
    let after = after.map_or(Ok(0), |position| number(store, position))?;
    let limit = limit.min(LETTERS) as i64;
    let bounds = [after, limit, BYTES as i64].map(Argument::from);
    let first = store.read(FIRST, &bounds).await?;
    let (first, size) = store.checked(places(&first))?;
    let time = time_of(store.deadline(), size);
    let rows = store.read_within(time, READ, &[(&first).into()]).await?;
    let letter = |row: &Row<D>| {
        Ok(DeadLetterRecord {
            // All have one width, so that they sort as strings.
            position: format!("{:020}", row.int(0)?),
            record: decode(row, 1)?,
        })
    };
    let letters: Result<_, Error> = rows.iter().map(letter).collect();
    store.checked(letters)
}

pub(crate) async fn remove<D: Dialect>(
    store: &Arc<Store<D>>,
    positions: &[String],
) -> Result<(), TransportError> {
    if positions.is_empty() {
        return Ok(());
    }
    let numbers: Result<Vec<_>, _> = positions.iter().map(|p| number(store, p)).collect();
    store.transact(Remove(list::numbers(numbers?))).await
}

fn number<D: Dialect>(store: &Store<D>, position: &str) -> Result<i64, TransportError> {
    position.parse().map_err(|_| {
        let reason = format!("{position:?} is not the position of a dead letter");
        store.error(TransportErrorKind::Refused, reason)
    })
}

struct Remove(String);

impl<D: Dialect> Work<D> for Remove {
    type Output = ();

    async fn run(&self, session: &mut Session<'_, D>) -> Result<(), Error> {
        session.fetch(REMOVE, &[(&self.0).into()]).await.map(drop)
    }
}
