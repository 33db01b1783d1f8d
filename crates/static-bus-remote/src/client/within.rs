//! A bus for one transaction of a database.

use std::fmt;

use serde::Serialize;
use tokio::sync::Mutex;

use super::{RemoteBus, Sending, transport_error};
use crate::{
    Later,
    later::{LaterKey, Request},
    transport::{Kind, Record, Topic, Transactional, Transport},
};
use static_bus::asynchronous::{AsyncExecuteCommand, AsyncPublishEvent, AsyncSendQuery, BusError};
use static_bus::message::{Command, Event, Message, Query};

/// A bus for one transaction, made by [`RemoteBus::within`].
///
/// The commands and events that it sends are rows of the transaction: they exist if and only if it commits, in the order in which
/// they were sent. `Ok` says that the row is written. Queries are not sent within a transaction: their handlers would
/// not see it. Metrics count a message when it is sent.
///
/// A module that is generic over its bus takes it as any other. The bus is the handler of [`Later`] as well: what is sent later, or
/// cancelled, is so if and only if the transaction commits.
pub struct TransactionBus<'t, T: Transport, X> {
    remote: RemoteBus<T>,
    transaction: Mutex<&'t mut X>,
}

impl<T: Transport> RemoteBus<T> {
    /// A bus for a transaction of the database of the engine: see [`TransactionBus`].
    #[must_use = "nothing is sent until the bus is used"]
    pub fn within<'t, X>(&self, transaction: &'t mut X) -> TransactionBus<'t, T, X>
    where
        T: Transactional<X>,
    {
        TransactionBus {
            remote: self.clone(),
            transaction: Mutex::new(transaction),
        }
    }
}

impl<T: Transactional<X>, X: Send> TransactionBus<'_, T, X> {
    async fn append<M: Message>(&self, kind: Kind, record: Record) -> Result<(), BusError> {
        let sending = Sending::begin(self.remote.meter::<M>(kind), kind);
        let mut transaction = self.transaction.lock().await;
        let records = vec![(Topic::of::<M>(kind), record)];
        let transport = self.remote.transport();
        let appended = transport.append_within(&mut transaction, records).await;
        sending.end(&appended);
        appended.map_err(transport_error::<M>)
    }
}

impl<T: Transactional<X>, X: Send, C> AsyncExecuteCommand<C> for TransactionBus<'_, T, X>
where
    C: Command + Serialize + Send,
{
    async fn execute_async(&self, command: C) -> Result<(), BusError> {
        let record = self.remote.record(&command)?;
        drop(command);
        self.append::<C>(Kind::Command, record).await
    }
}

impl<T: Transactional<X>, X: Send, E> AsyncPublishEvent<E> for TransactionBus<'_, T, X>
where
    E: Event + Serialize + Sync,
{
    async fn publish_async(&self, event: &E) -> Result<(), BusError> {
        let record = self.remote.record(event)?;
        self.append::<E>(Kind::Event, record).await
    }
}

impl<T: Transactional<X>, X: Send, M> AsyncExecuteCommand<Later<M>> for TransactionBus<'_, T, X>
where
    M: Message<NameKey: LaterKey> + Serialize + Send,
{
    async fn execute_async(&self, command: Later<M>) -> Result<(), BusError> {
        let (kind, request) = command.into_parts();
        match request {
            Request::Send(message, due) => {
                let record = self.remote.record(&message)?;
                drop(message);
                let due = Some(due);
                self.append::<M>(kind, Record { due, ..record }).await
            }
            Request::Cancel(key) => {
                let mut transaction = self.transaction.lock().await;
                let (transport, topic) = (self.remote.transport(), Topic::of::<M>(kind));
                let cancelled = transport
                    .cancel_within(&mut transaction, &topic, &key)
                    .await;
                cancelled.map(drop).map_err(transport_error::<M>)
            }
        }
    }
}

/// Implemented by nothing: its text is the error of a query that is sent within a transaction.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "query `{Self}` cannot be sent within a transaction",
    label = "this bus sends commands and events",
    note = "send the query with the `RemoteBus`, before the transaction begins: its handler would not see what the transaction has written"
)]
pub trait SentWithinATransaction: Query {}

impl<T: Transactional<X>, X: Send, Q> AsyncSendQuery<Q> for TransactionBus<'_, T, X>
where
    Q: SentWithinATransaction<Response: Send> + Send,
{
    async fn send_async(&self, query: Q) -> Result<Q::Response, BusError> {
        drop(query);
        Err(BusError::NoHandler { message: Q::NAME })
    }
}

impl<T: Transport, X> fmt::Debug for TransactionBus<'_, T, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionBus")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}
