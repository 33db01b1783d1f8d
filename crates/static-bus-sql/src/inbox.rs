//! Handling in a transaction: the effect of a handler, the memory of its message and all that it sends commit together.

mod attempt;
mod destination;
mod handled;

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use static_bus_remote::{
    current_scope,
    transport::{Scope, TransportError, TransportErrorKind},
    with_scope,
};
use tokio::sync::OwnedMutexGuard;

use super::{
    dialect::Dialect,
    lent::Open,
    transport::{Shared, SqlTransport},
};

use attempt::Always;
pub(crate) use attempt::Attempt;
pub(crate) use destination::{Cancel, Destination, Sent};
pub(crate) use handled::Handled;

/// The transaction of the message whose handler runs in this task, or of [`SqlTransport::transact`]. It begins when it is first asked for.
///
/// When the handler has succeeded, the worker remembers the deduplication key of the message, acknowledges its record and writes what the
/// handler has sent since, all in this transaction, and commits it. If the handler fails, or its process ends, nothing of this has
/// happened. So each message has its effect once, however often it is delivered.
///
/// Commands and events that the handler sends with a [`RemoteBus`](static_bus_remote::RemoteBus) on the same database are kept until then,
/// and the bus of the handler needs no change. On SQLite a query is refused while the transaction is open, as its answer
/// could not be written.
///
/// A transaction of SQLite holds the lock of the file: other handlers that ask for one wait for its end.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// # use static_bus::{asynchronous::BusError, prelude::*};
/// # use static_bus_sql::transaction;
/// use sqlx::Sqlite;
///
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// struct Deposit { account: i64, amount: i64 }
/// # command!(Deposit);
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// struct Deposited { account: i64 }
/// # event!(Deposited);
/// # struct Bank;
/// impl<B: AsyncPublishEvent<Deposited>> AsyncCommandHandler<Deposit, B> for Bank {
///     async fn handle(&self, deposit: Deposit, bus: &B) -> Result<(), BusError> {
///         let Deposit { account, amount } = deposit;
///         let mut transaction = transaction::<Sqlite>().await.map_err(BusError::rejected::<Deposit>)?;
///         sqlx::query("update account set balance = balance + ? where id = ?")
///             .bind(amount)
///             .bind(account)
///             .execute(&mut *transaction)
///             .await
///             .map_err(BusError::rejected::<Deposit>)?;
///         bus.publish_async(&Deposited { account }).await
///     }
/// }
/// # }
/// ```
///
/// # Errors
/// In a task that handles no message of a worker on such a database, and runs no future of [`SqlTransport::transact`]. If the handler
/// has sent a command or an event before it asks. If the database does not begin a transaction within the deadline of the transport.
pub async fn transaction<D: Dialect>() -> Result<CurrentTransaction<D>, TransportError> {
    let scope = current_scope();
    match scope.as_ref().and_then(Scope::get::<Attempt<D>>) {
        Some(attempt) => attempt.transaction().await,
        None => {
            let reason = "no transaction belongs to this task: ask for it in the handler of a command or an event that a worker on \
                          this database runs, or in the future of `transact`, and not in a task that it spawns";
            Err(TransportError::new(
                TransportErrorKind::Refused,
                D::NAME,
                reason,
            ))
        }
    }
}

/// The connection of the transaction of [`transaction`]; `&mut *transaction` is the executor of `sqlx`. Other parts of the handler that
/// ask for it wait until this is dropped.
pub struct CurrentTransaction<D: Dialect>(OwnedMutexGuard<Option<Open<D>>>);

const OPEN: &str = "it is open";

impl<D: Dialect> Deref for CurrentTransaction<D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        &self.0.as_ref().expect(OPEN).connection
    }
}

impl<D: Dialect> DerefMut for CurrentTransaction<D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        &mut self.0.as_mut().expect(OPEN).connection
    }
}

impl<D: Dialect> fmt::Debug for CurrentTransaction<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentTransaction").finish_non_exhaustive()
    }
}

impl<D: Dialect> SqlTransport<D> {
    /// Runs a future with a transaction, for callers that handle no message of a worker: web services, tests of handlers. The future
    /// asks for it with [`transaction`]. It commits if the future returns `Ok`, together with the commands and events that the
    /// future has sent.
    ///
    /// # Errors
    /// If the transaction does not commit, or one is open in this task already.
    pub async fn transact<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<Result<T, E>, TransportError> {
        transact(&self.shared, Destination::Queues, future).await
    }
}

pub(crate) async fn transact<D: Dialect, T, E>(
    shared: &Arc<Shared<D>>,
    destination: Destination,
    future: impl Future<Output = Result<T, E>>,
) -> Result<Result<T, E>, TransportError> {
    if let Some(scope) = current_scope()
        && scope
            .get::<Attempt<D>>()
            .is_some_and(|attempt| attempt.is_in_use(shared))
    {
        let reason =
            "a transaction is open in this task already: ask for it with `transaction`".to_owned();
        return Err(shared.store.error(TransportErrorKind::Refused, reason));
    }
    let scope = Scope::new(Attempt::alone(shared.clone(), destination));
    let output = with_scope(scope.clone(), future).await;
    if let Some(attempt) = scope.get::<Attempt<D>>() {
        match output {
            Ok(_) => drop(attempt.commit(&Always).await?),
            Err(_) => attempt.roll_back().await,
        }
    }
    Ok(output)
}
