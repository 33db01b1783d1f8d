//! The connections to a database, and transactions.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Error, Pool, SqlSafeStr as _};
use static_bus_remote::transport::{TransportError, TransportErrorKind};
use tokio::{
    sync::OwnedMutexGuard,
    task::JoinError,
    time::{sleep, timeout},
};

use super::{
    dialect::{Argument, Connections, Dialect},
    errors::{failure, is_conflict},
    lent::{Lent, Open},
    record::as_millis,
    settings::Settings,
    template::Templates,
};

/// The number of attempts of a transaction that is rolled back for another one.
const ATTEMPTS: u32 = 6;

/// The connections to a database.
pub(crate) struct Store<D: Dialect> {
    connections: Connections<D>,
    deadline: Duration,
    /// `false` if statements are prepared each time.
    keeps_statements: bool,
    templates: Templates<D>,
}

/// Statements on one connection.
pub(crate) struct Session<'s, D: Dialect> {
    pub connection: &'s mut D::Connection,
    /// The longest time in milliseconds for which a function waits for a lock; `None` in a transaction.
    pub lock_timeout: Option<i64>,
    keeps_statements: bool,
    templates: &'s Templates<D>,
}

/// Statements of one transaction. They may run several times.
pub(crate) trait Work<D: Dialect>: Send + Sync + 'static {
    type Output: Send + 'static;

    /// `false` if a crash of the machine may undo the transaction after it was confirmed.
    fn is_durable(&self) -> bool {
        true
    }

    /// The longest time for it, if that of a call without large records is `deadline`.
    fn time(&self, deadline: Duration) -> Duration {
        deadline
    }

    /// `true` if it is one statement, or the call of one function, which is a transaction of its own.
    fn is_call(&self) -> bool {
        false
    }

    /// `false` if the transaction is to have no effect.
    fn is_kept(_: &Self::Output) -> bool {
        true
    }

    fn run(
        &self,
        session: &mut Session<'_, D>,
    ) -> impl Future<Output = Result<Self::Output, Error>> + Send;
}

/// A row of a result.
pub(crate) struct Row<D: Dialect>(D::Row);

impl<D: Dialect> Store<D> {
    pub fn new(connections: Connections<D>, settings: &Settings) -> Self {
        Store {
            connections,
            deadline: settings.deadline,
            keeps_statements: settings.prepared_statements,
            templates: Templates::new(&settings.namespace),
        }
    }

    pub fn address(&self) -> &Arc<str> {
        &self.connections.address
    }

    /// The longest time for a call without large records.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Runs a statement that changes nothing.
    pub async fn read(
        &self,
        template: &'static str,
        arguments: &[Argument<'_>],
    ) -> Result<Vec<Row<D>>, TransportError> {
        self.read_within(self.deadline, template, arguments).await
    }

    /// [`read`](Self::read) whose answer may take this time.
    pub async fn read_within(
        &self,
        time: Duration,
        template: &'static str,
        arguments: &[Argument<'_>],
    ) -> Result<Vec<Row<D>>, TransportError> {
        let read = async {
            let readers = &self.connections.readers;
            if D::CONCURRENT {
                // For the settings of a transaction. Its end is sent with the next use of the connection.
                let begin = AssertSqlSafe(D::begin(time, false)).into_sql_str();
                let connection = Lent::by(readers, self.deadline).await?;
                let mut open = Open::begin(connection, begin, None).await?;
                let mut session = self.session(&mut open.connection);
                let rows = session.fetch(template, arguments).await;
                open.end();
                return rows;
            }
            let mut connection = Lent::by(readers, self.deadline).await?;
            let mut session = self.session(&mut connection);
            let rows = session.fetch(template, arguments).await;
            connection.give_back();
            rows
        };
        // On the heap: the future that opens a connection has tens of kilobytes, and callers have several of them.
        self.in_time(time, Box::pin(read)).await
    }

    /// Runs a transaction, again if it is rolled back for another one.
    ///
    /// It runs in a task of its own. A caller that is not polled, because it waits for another call, would keep the connection that
    /// the other call needs.
    pub async fn transact<W: Work<D>>(
        self: &Arc<Self>,
        work: W,
    ) -> Result<W::Output, TransportError> {
        let store = self.clone();
        let transaction = tokio::spawn(async move {
            let time = work.time(store.deadline);
            store.in_time(time, store.attempts(&work, time)).await
        });
        self.joined(transaction.await)
    }

    /// The result of a task.
    pub fn joined<T>(
        &self,
        joined: Result<Result<T, TransportError>, JoinError>,
    ) -> Result<T, TransportError> {
        match joined {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => {
                    let reason = "the runtime of this process is shutting down".to_owned();
                    Err(self.error(TransportErrorKind::Closed, reason))
                }
            },
        }
    }

    async fn attempts<W: Work<D>>(&self, work: &W, time: Duration) -> Result<W::Output, Error> {
        let mut attempt = 1;
        loop {
            match self.attempt(work, time).await {
                Err(error) if attempt < ATTEMPTS && is_conflict::<D>(&error) => {
                    let most = 5 << attempt;
                    sleep(Duration::from_millis(fastrand::u64(most / 2..most))).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn attempt<W: Work<D>>(&self, work: &W, time: Duration) -> Result<W::Output, Error> {
        // A statement that is not kept is two calls, which a pooler gives to two connections.
        if self.connections.is_isolated && self.keeps_statements && work.is_call() {
            let (writers, _turn) = self.writers(work.is_durable()).await;
            let mut connection = Lent::by(writers, self.deadline).await?;
            let mut session = self.session(&mut connection);
            // Less than the deadline: the error is then that of the database.
            session.lock_timeout = Some(as_millis(time * 9 / 10).max(1));
            let output = work.run(&mut session).await;
            connection.give_back();
            return output;
        }
        let mut open = self.open(work.is_durable(), time).await?;
        let output = work.run(&mut self.session(&mut open.connection)).await;
        match output.as_ref().is_ok_and(W::is_kept) {
            true => open.commit().await?,
            false => open.end(),
        }
        output
    }

    /// Begins a transaction, of which each statement may take this time.
    pub async fn open(&self, is_durable: bool, time: Duration) -> Result<Open<D>, Error> {
        let (writers, turn) = self.writers(is_durable).await;
        let begin = AssertSqlSafe(D::begin(time, is_durable)).into_sql_str();
        let open = async {
            let connection = Lent::by(writers, self.deadline).await?;
            Open::begin(connection, begin, turn).await
        };
        Box::pin(open).await
    }

    /// The connections of a transaction that writes, when it is its turn.
    async fn writers(&self, is_durable: bool) -> (&Pool<D>, Option<OwnedMutexGuard<()>>) {
        let Connections {
            durable,
            volatile,
            turn,
            ..
        } = &self.connections;
        let turn = match turn {
            Some(turn) => Some(turn.clone().lock_owned().await),
            None => None,
        };
        (if is_durable { durable } else { volatile }, turn)
    }

    pub fn session<'s>(&'s self, connection: &'s mut D::Connection) -> Session<'s, D> {
        Session {
            connection,
            lock_timeout: None,
            keeps_statements: self.keeps_statements,
            templates: &self.templates,
        }
    }

    pub async fn in_time<T>(
        &self,
        time: Duration,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, TransportError> {
        match timeout(time, call).await {
            Ok(result) => self.checked(result),
            Err(_) => {
                self.connections.distrust();
                Err(self.error(
                    TransportErrorKind::Unreachable,
                    format!(
                        "no answer within {time:?}: check that the database runs and is not overloaded, or raise the deadline{}",
                        D::holder(self.address())
                    ),
                ))
            }
        }
    }

    pub fn checked<T>(&self, result: Result<T, Error>) -> Result<T, TransportError> {
        result.map_err(|error| failure::<D>(self.address(), error))
    }

    pub fn error(&self, kind: TransportErrorKind, reason: String) -> TransportError {
        TransportError::new(kind, self.address().clone(), reason)
    }

    /// The error of a call on a closed consumer or receiver.
    pub fn closed(&self, what: &str) -> TransportError {
        let reason = format!("this {what} is closed: open another one to receive more");
        self.error(TransportErrorKind::Closed, reason)
    }
}

impl<D: Dialect> Session<'_, D> {
    pub async fn fetch(
        &mut self,
        template: &'static str,
        arguments: &[Argument<'_>],
    ) -> Result<Vec<Row<D>>, Error> {
        self.fetch_of_rows(template, 0, arguments).await
    }

    /// Runs a statement with this number of `{rows}`.
    pub async fn fetch_of_rows(
        &mut self,
        template: &'static str,
        rows: usize,
        arguments: &[Argument<'_>],
    ) -> Result<Vec<Row<D>>, Error> {
        let statement = self.templates.statement(template, rows);
        let is_kept = self.keeps_statements;
        let rows = D::fetch(self.connection, statement, is_kept, arguments).await?;
        Ok(rows.into_iter().map(Row).collect())
    }

    /// Runs a statement without arguments, or several.
    pub async fn run(&mut self, template: &'static str) -> Result<(), Error> {
        let statements = self.templates.statement(template, 0);
        D::run(self.connection, statements).await
    }

    /// Waits for the other transactions with this lock, and holds it until the end of this one. On SQLite, each transaction that
    /// writes is alone.
    pub async fn lock(&mut self, subject: &str, number: i64) -> Result<(), Error> {
        const LOCK: &str =
            "select pg_advisory_xact_lock(hashtext('{p}' || $1), ($2 % 2147483647)::int)";
        if D::CONCURRENT {
            self.fetch(LOCK, &[subject.into(), number.into()]).await?;
        }
        Ok(())
    }
}

impl<D: Dialect> Row<D> {
    pub fn int(&self, at: usize) -> Result<i64, Error> {
        Ok(self.some_int(at)?.unwrap_or_default())
    }

    pub fn some_int(&self, at: usize) -> Result<Option<i64>, Error> {
        D::int(&self.0, at)
    }

    pub fn is(&self, at: usize) -> Result<bool, Error> {
        Ok(self.int(at)? != 0)
    }

    pub fn bytes(&self, at: usize) -> Result<Vec<u8>, Error> {
        Ok(self.some_bytes(at)?.unwrap_or_default())
    }

    pub fn some_bytes(&self, at: usize) -> Result<Option<Vec<u8>>, Error> {
        D::bytes(&self.0, at)
    }

    pub fn text(&self, at: usize) -> Result<String, Error> {
        D::text(&self.0, at)
    }
}
