//! Connections that are lent by a pool, and their transactions.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use sqlx::{Error, Pool, SqlStr, pool::PoolConnection};
use sqlx_core::transaction::TransactionManager as _;
use tokio::{sync::OwnedMutexGuard, time::timeout};

use super::dialect::Dialect;

/// A connection of a pool. Behind a network it is closed when it is dropped, unless it is [given back](Self::give_back): a call
/// that was not answered may never be, and a pool waits for it as long as TCP does.
pub(crate) struct Lent<D: Dialect> {
    /// `None` when it is given back.
    connection: Option<PoolConnection<D>>,
    /// The longest time until it answers that nothing is left of the last call.
    patience: Duration,
}

/// A transaction on a connection of a pool. It is rolled back when it is dropped.
pub(crate) struct Open<D: Dialect> {
    pub connection: Lent<D>,
    is_open: bool,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl<D: Dialect> Lent<D> {
    pub async fn by(pool: &Pool<D>, patience: Duration) -> Result<Self, Error> {
        Ok(Lent {
            connection: Some(pool.acquire().await?),
            patience,
        })
    }

    /// Gives the connection back, after its last call was answered.
    pub fn give_back(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if D::IS_REMOTE {
            // As the pool does when a connection is dropped, but for the bound. It is then closed.
            tokio::spawn(timeout(self.patience, connection.return_to_pool()));
        }
    }
}

const LENT: &str = "it is not given back";

impl<D: Dialect> Deref for Lent<D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        self.connection.as_ref().expect(LENT)
    }
}

impl<D: Dialect> DerefMut for Lent<D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        self.connection.as_mut().expect(LENT)
    }
}

impl<D: Dialect> Drop for Lent<D> {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection
            && D::IS_REMOTE
        {
            connection.close_on_drop();
        }
    }
}

impl<D: Dialect> Open<D> {
    /// Begins a transaction with a statement.
    pub async fn begin(
        connection: Lent<D>,
        statement: SqlStr,
        turn: Option<OwnedMutexGuard<()>>,
    ) -> Result<Self, Error> {
        let mut open = Open {
            connection,
            is_open: true,
            _turn: turn,
        };
        let begun = D::TransactionManager::begin(&mut open.connection, Some(statement)).await;
        match begun {
            Ok(()) => Ok(open),
            Err(error) => {
                open.end();
                Err(error)
            }
        }
    }

    pub async fn commit(mut self) -> Result<(), Error> {
        let committed = D::TransactionManager::commit(&mut self.connection).await;
        self.is_open = committed.is_err();
        self.end();
        committed
    }

    pub async fn roll_back(mut self) -> Result<(), Error> {
        let rolled_back = D::TransactionManager::rollback(&mut self.connection).await;
        self.is_open = rolled_back.is_err();
        self.end();
        rolled_back
    }

    /// Rolls back, if it has not ended, while the connection is given back.
    pub fn end(mut self) {
        self.start_rollback();
        self.connection.give_back();
    }

    fn start_rollback(&mut self) {
        if std::mem::take(&mut self.is_open) {
            D::TransactionManager::start_rollback(&mut self.connection);
        }
    }
}

impl<D: Dialect> Drop for Open<D> {
    fn drop(&mut self) {
        self.start_rollback();
    }
}
