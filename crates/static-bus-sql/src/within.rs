//! Appending in a transaction of the caller.

use sqlx::{Connection as _, Transaction};
use static_bus_remote::transport::{Record, Topic, Transactional, TransportError};

use super::{
    append::check,
    bounds::time_of,
    dialect::Dialect,
    inbox::{Destination, Sent},
    transport::{Shared, SqlTransport},
};

/// The transaction is one of the database of the transport: of any connection to it. On SQLite, begin it with `begin immediate`
/// (`pool.begin_with("begin immediate")`): SQLite refuses to write in a transaction that has read before another one wrote.
///
/// A call that fails leaves the transaction as it was, where the database allows to go on.
impl<'c, D: Dialect> Transactional<Transaction<'c, D>> for SqlTransport<D> {
    async fn append_within(
        &self,
        transaction: &mut Transaction<'c, D>,
        records: Vec<(Topic, Record)>,
    ) -> Result<(), TransportError> {
        append_within(&self.shared, Destination::Queues, transaction, records).await
    }

    async fn cancel_within(
        &self,
        transaction: &mut Transaction<'c, D>,
        topic: &Topic,
        key: &str,
    ) -> Result<bool, TransportError> {
        cancel_within(&self.shared, Destination::Queues, transaction, topic, key).await
    }
}

/// Writes records in a transaction: all or none.
pub(crate) async fn append_within<D: Dialect>(
    shared: &Shared<D>,
    destination: Destination,
    transaction: &mut Transaction<'_, D>,
    records: Vec<(Topic, Record)>,
) -> Result<(), TransportError> {
    let store = &shared.store;
    for (topic, record) in &records {
        check(store, topic, record, shared.max_record)?;
    }
    let sent = Sent::from(records);
    let time = time_of(store.deadline(), sent.size());
    let append = async {
        let mut savepoint = transaction.begin().await?;
        destination
            .write(&mut store.session(&mut savepoint), sent)
            .await?;
        savepoint.commit().await
    };
    store.in_time(time, append).await
}

/// Cancels a record in a transaction.
pub(crate) async fn cancel_within<D: Dialect>(
    shared: &Shared<D>,
    destination: Destination,
    transaction: &mut Transaction<'_, D>,
    topic: &Topic,
    key: &str,
) -> Result<bool, TransportError> {
    let store = &shared.store;
    let cancel = async {
        let mut savepoint = transaction.begin().await?;
        let mut session = store.session(&mut savepoint);
        let cancelled = destination.cancel(&mut session, topic, key).await?;
        savepoint.commit().await?;
        Ok(cancelled)
    };
    store.in_time(store.deadline(), cancel).await
}
