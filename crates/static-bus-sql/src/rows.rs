//! Rows as arguments of statements.

use sqlx::Error;
use static_bus_remote::transport::Record;

use super::{
    dialect::{Argument, Dialect},
    record::Columns,
    store::Session,
};

/// The greatest number of rows in a statement.
pub(crate) const ROWS: usize = 128;

/// Runs a statement with `{rows N}` for the rows of records. The function makes the arguments of a row.
pub(crate) async fn insert_rows<'r, D: Dialect, T: Sync, const N: usize>(
    session: &mut Session<'_, D>,
    template: &'static str,
    rows: &'r [(T, &'r Record)],
    arguments: impl for<'a> Fn(&'a T, &'a Columns<'a>) -> [Argument<'a>; N] + Send,
) -> Result<(), Error> {
    for rows in chunks(rows) {
        let columns: Vec<_> = rows.iter().map(|(_, record)| Columns::of(record)).collect();
        let each = rows.iter().zip(&columns);
        let arguments: Vec<_> = each
            .flat_map(|((of, _), columns)| arguments(of, columns))
            .collect();
        session
            .fetch_of_rows(template, rows.len(), &arguments)
            .await?;
    }
    Ok(())
}

/// Chunks of few sizes: each size is a statement of its own, which the client library remembers.
fn chunks<T>(mut all: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = match all.len() {
            0..16 => (all.len() + 1).next_power_of_two() / 2,
            many => many / 16 * 16,
        };
        let (chunk, rest) = all.split_at(size.min(ROWS));
        all = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}
