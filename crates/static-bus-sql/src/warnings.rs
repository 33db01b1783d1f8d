//! What an operator should know of the database before it fails.

use std::time::Duration;

use sqlx::Error;

use super::{
    dialect::Dialect,
    record::{as_millis, duration},
    store::{Row, Store},
};

/// The transactions that have been open for longer than this, the oldest first, up to three. The check of the transport reports the
/// error if the database does not answer.
pub(crate) async fn warnings<D: Dialect>(store: &Store<D>, open_for: Duration) -> Vec<String> {
    let Some(statement) = D::LONG_TRANSACTIONS else {
        return Vec::new();
    };
    let rows = store.read(statement, &[as_millis(open_for).into()]).await;
    let warning = |row: &Row<D>| {
        let (remedy, description, age) = (row.text(0)?, row.text(1)?, duration(row.int(2)?));
        Ok::<_, Error>(format!(
            "{}: a transaction has been open for {} s ({description}), so vacuums cannot remove rows, and searches of the queues \
             pass them: end it with `{remedy}`",
            store.address(),
            age.as_secs()
        ))
    };
    let rows = rows.unwrap_or_default();
    rows.iter().filter_map(|row| warning(row).ok()).collect()
}
