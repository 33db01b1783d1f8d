//! The differences between the databases.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use sqlx::{Database, Error, Pool, SqlStr};
use static_bus_remote::{
    lock::lock,
    transport::{TransportError, TransportErrorKind},
};

use super::{settings::Settings, wake::Wakers};

/// A database of which this crate makes a broker: [`Sqlite`](sqlx::Sqlite) or [`Postgres`](sqlx::Postgres). Sealed.
pub trait Dialect: Database + Statements + Sized {}

/// The statements of a database, and its errors.
pub trait Statements: Database + Sized {
    /// `true` if transactions of several connections write at the same time.
    const CONCURRENT: bool;

    /// `true` if the database is behind a network, in which answers can be lost.
    const IS_REMOTE: bool;

    /// `true` if the interval is that of the watch, which wakes readers, and not that of readers.
    const WATCH_POLLS: bool;

    /// `true` if the schema has functions, which are several statements in one round trip, with arrays as arguments.
    const FUNCTIONS: bool;

    /// The statement that wakes the readers of topics in other processes, with a list of topics.
    const ANNOUNCE: Option<&'static str>;

    /// The text of a part of a template: see [`Templates`](crate::template::Templates).
    fn part(name: &str, argument: &str) -> Option<String>;

    /// An argument of rows, by its place from 1 on.
    fn placeholder(place: usize) -> String {
        format!("${place}")
    }

    /// The prefix of the names of tables, and of those of indices.
    fn prefixes(namespace: &str) -> [String; 2];

    /// The statement that begins a transaction.
    fn begin(deadline: Duration, is_durable: bool) -> String;

    /// The statement that finds the transactions which have been open for longer than a number of milliseconds, where they can be
    /// known: the remedy, the description and the age in milliseconds.
    const LONG_TRANSACTIONS: Option<&'static str>;

    /// The address of the database for errors, and connections to it.
    fn open(
        settings: &Settings,
    ) -> impl Future<Output = Result<Connections<Self>, TransportError>> + Send;

    /// Wakes readers when another process may have appended records.
    fn watch(
        readers: Pool<Self>,
        settings: Settings,
        wakers: Arc<Wakers>,
    ) -> impl Future<Output = ()> + Send;

    /// Runs one statement. The connection keeps it for the next time, or prepares it each time.
    fn fetch(
        connection: &mut Self::Connection,
        statement: SqlStr,
        is_kept: bool,
        arguments: &[Argument<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, Error>> + Send;

    /// Runs several statements without arguments.
    fn run(
        connection: &mut Self::Connection,
        statements: SqlStr,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The values of a column.
    fn int(row: &Self::Row, at: usize) -> Result<Option<i64>, Error>;
    fn bytes(row: &Self::Row, at: usize) -> Result<Option<Vec<u8>>, Error>;
    fn text(row: &Self::Row, at: usize) -> Result<String, Error>;

    /// The class of an error of the database, and the remedy.
    fn failure(code: &str) -> Failure;

    /// Who holds what a call has waited for, as the end of an error text. Empty if it cannot be known.
    fn holder(address: &str) -> String;
}

/// Connections to a database.
pub struct Connections<D: Database> {
    pub address: Arc<str>,
    /// For transactions that a crash of the machine must not undo.
    pub durable: Pool<D>,
    /// For the others.
    pub volatile: Pool<D>,
    pub readers: Pool<D>,
    /// `true` if a statement outside of a transaction has the isolation level that this crate needs.
    pub is_isolated: bool,
    /// The time of the last call that was not answered. Behind a network, a connection that was not used since is opened again.
    pub unanswered: Arc<Mutex<Option<Instant>>>,
    /// Held by a transaction that writes, where only one does at a time: those of this process wait in order.
    pub turn: Option<Arc<tokio::sync::Mutex<()>>>,
}

impl<D: Database> Connections<D> {
    /// Notes that a call was not answered.
    pub(crate) fn distrust(&self) {
        *lock(&self.unanswered) = Some(Instant::now());
    }
}

/// An argument of a statement.
#[derive(Debug, Clone, Copy)]
pub enum Argument<'a> {
    Int(Option<i64>),
    Bytes(Option<&'a [u8]>),
    Text(&'a str),
    /// A column of rows, on a database that has arrays.
    Ints(&'a [Option<i64>]),
    /// A column of rows, on a database that has arrays.
    BytesOfRows(&'a [Option<&'a [u8]>]),
    /// A column of rows, on a database that has arrays.
    Texts(&'a [&'a str]),
}

/// The class of an error of a database, and its remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub kind: TransportErrorKind,
    pub remedy: &'static str,
    /// `true` if the transaction was rolled back for another one, and may succeed at once.
    pub is_conflict: bool,
    /// `true` if it only says that a statement of the transaction has failed before.
    pub is_aftermath: bool,
}

impl Failure {
    pub(crate) const fn new(kind: TransportErrorKind, remedy: &'static str) -> Self {
        Failure {
            kind,
            remedy,
            is_conflict: false,
            is_aftermath: false,
        }
    }

    pub(crate) const fn conflict(remedy: &'static str) -> Self {
        Failure {
            is_conflict: true,
            ..Self::new(TransportErrorKind::Unreachable, remedy)
        }
    }
}

impl From<i64> for Argument<'_> {
    fn from(int: i64) -> Self {
        Argument::Int(Some(int))
    }
}

impl From<Option<i64>> for Argument<'_> {
    fn from(int: Option<i64>) -> Self {
        Argument::Int(int)
    }
}

impl<'a> From<&'a [u8]> for Argument<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Argument::Bytes(Some(bytes))
    }
}

impl<'a> From<Option<&'a [u8]>> for Argument<'a> {
    fn from(bytes: Option<&'a [u8]>) -> Self {
        Argument::Bytes(bytes)
    }
}

impl<'a> From<&'a str> for Argument<'a> {
    fn from(text: &'a str) -> Self {
        Argument::Text(text)
    }
}

impl<'a> From<&'a String> for Argument<'a> {
    fn from(text: &'a String) -> Self {
        Argument::Text(text)
    }
}

/// The methods of [`Statements`] whose text is the same for each client library: its traits have a bound for each type of a
/// column, which a trait of ours would have to repeat everywhere. The argument binds an array to a query.
macro_rules! statements_of_sqlx {
    ($query:ident, $array:ident => $bind:expr) => {
        async fn fetch(
            connection: &mut Self::Connection,
            statement: SqlStr,
            is_kept: bool,
            arguments: &[Argument<'_>],
        ) -> Result<Vec<Self::Row>, Error> {
            let mut $query = sqlx::query::<Self>(statement).persistent(is_kept);
            for argument in arguments {
                $query = match *argument {
                    Argument::Int(int) => $query.bind(int),
                    Argument::Bytes(bytes) => $query.bind(bytes),
                    Argument::Text(text) => $query.bind(text),
                    Argument::Ints($array) => $bind,
                    Argument::BytesOfRows($array) => $bind,
                    Argument::Texts($array) => $bind,
                };
            }
            $query.fetch_all(connection).await
        }

        async fn run(connection: &mut Self::Connection, statements: SqlStr) -> Result<(), Error> {
            let statements = sqlx::raw_sql(statements);
            statements.execute(connection).await.map(drop)
        }

        fn int(row: &Self::Row, at: usize) -> Result<Option<i64>, Error> {
            row.try_get_unchecked(at)
        }

        fn bytes(row: &Self::Row, at: usize) -> Result<Option<Vec<u8>>, Error> {
            row.try_get_unchecked(at)
        }

        fn text(row: &Self::Row, at: usize) -> Result<String, Error> {
            row.try_get_unchecked(at)
        }
    };
}
use statements_of_sqlx;
