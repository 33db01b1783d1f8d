//! The settings of a connection.

use std::{fmt, marker::PhantomData, time::Duration};

use static_bus_remote::{
    time::LONGEST_DEADLINE,
    transport::{RECEIVER_GRACE, TransportError, TransportErrorKind},
};

use super::{dialect::Dialect, transport::SqlTransport};

/// The settings of a connection: `SqliteTransport::builder` or `PostgresTransport::builder`, then
/// [`connect`](SqlTransportBuilder::connect).
pub struct SqlTransportBuilder<D> {
    settings: Settings,
    dialect: PhantomData<fn() -> D>,
}

/// The values of the settings.
#[derive(Clone)]
pub struct Settings {
    pub url: String,
    pub namespace: String,
    pub deadline: Duration,
    pub poll: Duration,
    pub receiver_grace: Duration,
    pub max_record: usize,
    pub connections: u32,
    pub notifications: bool,
    /// `false` if the tables must be there: see [`SqlTransportBuilder::attach`].
    pub makes_tables: bool,
    pub prepared_statements: bool,
    pub long_transaction: Duration,
}

impl<D: Dialect> SqlTransportBuilder<D> {
    pub(crate) fn new(url: String, poll: Duration) -> Self {
        SqlTransportBuilder {
            settings: Settings {
                url,
                namespace: "static_bus".to_owned(),
                deadline: Duration::from_secs(5),
                poll,
                receiver_grace: RECEIVER_GRACE,
                max_record: 64 << 20,
                connections: 10,
                notifications: true,
                makes_tables: true,
                prepared_statements: true,
                long_transaction: Duration::from_secs(60),
            },
            dialect: PhantomData,
        }
    }

    /// The name under which the tables are found: in PostgreSQL a schema, in SQLite a prefix of the tables, which an underscore follows.
    /// Programs with different namespaces share nothing. Lower-case letters, digits and underscores, at most 40, and not `_scheduled` at
    /// the end. Default: `static_bus`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.settings.namespace = namespace.into();
        self
    }

    /// The longest time that a call waits for the database, an hour at most. Default: 5 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline.min(LONGEST_DEADLINE);
        self
    }

    /// The interval at which readers that wait look for records of other processes. Default: 10 ms on SQLite, where it costs reading one
    /// number; 500 ms on PostgreSQL, where readers are notified as well.
    #[must_use]
    pub fn poll(mut self, interval: Duration) -> Self {
        self.settings.poll = interval;
        self
    }

    /// The time for which queries are accepted after the last receiver of their topic has closed or disappeared. Then they
    /// are refused with [`NoReceiver`](TransportErrorKind::NoReceiver), as are those of a topic that never had one. Receivers
    /// announce themselves four times in this time. Default: 30 s.
    #[must_use]
    pub fn receiver_grace(mut self, grace: Duration) -> Self {
        self.settings.receiver_grace = grace;
        self
    }

    /// The largest size of a record in bytes, of headers, body and key together. Larger ones are refused with
    /// [`TooLarge`](TransportErrorKind::TooLarge). Dead letters may be larger by
    /// [`DEAD_LETTER_HEADROOM`](static_bus_remote::transport::DEAD_LETTER_HEADROOM). Default: 64 MiB.
    #[must_use]
    pub fn max_record(mut self, bytes: usize) -> Self {
        self.settings.max_record = bytes;
        self
    }

    /// Connects, and makes the tables, or brings those of an older version of this crate up to date.
    ///
    /// # Errors
    /// If the URL or the namespace is invalid, the database cannot be reached or refuses, or a newer version of this crate has made
    /// the tables.
    pub async fn connect(self) -> Result<SqlTransport<D>, TransportError> {
        SqlTransport::open(self.settings).await
    }

    /// Connects to tables that services have made, for a tool that inspects them. Nothing is made and nothing is changed: no file, no
    /// schema, no tables, no version of them, and old records are not removed. Readers find the records of other processes within half a
    /// second. Reading needs no right to write.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect), and if there is no such file, the namespace has no tables, or another version of this crate has
    /// made them.
    pub async fn attach(mut self) -> Result<SqlTransport<D>, TransportError> {
        self.settings.makes_tables = false;
        SqlTransport::open(self.settings).await
    }
}

#[cfg(feature = "postgres")]
impl SqlTransportBuilder<sqlx::Postgres> {
    /// The greatest number of connections. One of them waits for notifications. Default: 10.
    #[must_use]
    pub fn connections(mut self, connections: u32) -> Self {
        self.settings.connections = connections.max(2);
        self
    }

    /// Whether readers that wait are notified of records of other processes, which takes a connection. Behind a pooler that gives each
    /// transaction another connection, no notification arrives: without them, readers find new records at the interval
    /// [`poll`](Self::poll). Default: `true`.
    #[must_use]
    pub fn notifications(mut self, are_used: bool) -> Self {
        self.settings.notifications = are_used;
        self
    }

    /// Whether a statement is prepared once for each connection, and not each time. Behind a pooler that gives each transaction another
    /// connection, and does not prepare statements again there (PgBouncer before 1.21, or with `max_prepared_statements = 0`), set
    /// this to `false`, and run your own statements in a [transaction](super::transaction) with `persistent(false)`. Default: `true`.
    #[must_use]
    pub fn prepared_statements(mut self, are_kept: bool) -> Self {
        self.settings.prepared_statements = are_kept;
        self
    }

    /// The time after which an open transaction of the database, of any program, is named in the warnings of the health. Those
    /// of other users are visible to a user with the role `pg_read_all_stats`. Default: 1 minute.
    #[must_use]
    pub fn long_transaction(mut self, time: Duration) -> Self {
        self.settings.long_transaction = time;
        self
    }
}

impl Settings {
    /// # Errors
    /// If the namespace is no name of a table. It becomes a part of statements.
    pub(crate) fn check_namespace(&self) -> Result<(), TransportError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let name = self.namespace.as_bytes();
        let starts = name.first().is_some_and(|first| !first.is_ascii_digit());
        let is_name = starts && name.len() <= 40 && name.iter().copied().all(fits);
        // The outbox of `shop_scheduled` would be a table of `shop`.
        let is_free = !self.namespace.ends_with("_scheduled");
        if is_name && is_free {
            return Ok(());
        }
        let reason = format!(
            "the namespace {:?} is not the name of tables: use up to 40 lower-case letters, digits and underscores, no digit first, \
             and not `_scheduled` at the end",
            self.namespace
        );
        // The URL may have a password.
        let address = self.url.split(':').next().unwrap_or_default();
        Err(TransportError::new(
            TransportErrorKind::Refused,
            address,
            reason,
        ))
    }
}

impl<D> Clone for SqlTransportBuilder<D> {
    fn clone(&self) -> Self {
        SqlTransportBuilder {
            settings: self.settings.clone(),
            dialect: PhantomData,
        }
    }
}

/// Without the URL, which may have a password.
impl<D> fmt::Debug for SqlTransportBuilder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        f.debug_struct("SqlTransportBuilder")
            .field("namespace", &settings.namespace)
            .field("deadline", &settings.deadline)
            .field("poll", &settings.poll)
            .field("receiver_grace", &settings.receiver_grace)
            .field("max_record", &settings.max_record)
            .finish_non_exhaustive()
    }
}
