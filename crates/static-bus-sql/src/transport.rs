//! The engine: the connections to a database.

use std::{fmt, sync::Arc, time::Duration};

use static_bus_remote::transport::{
    DeadLetterRecord, Inspect, Kind, Record, Scope, Subscription, Topic, TopicState, Transport,
    TransportError,
};
use tokio::task::AbortHandle;

use super::{
    append::append,
    consumer::SqlConsumer,
    dead_letters,
    dialect::Dialect,
    housekeeping,
    inbox::{Attempt, Cancel, Destination},
    inspection,
    receiver::SqlReceiver,
    scheduler, schema,
    settings::{Settings, SqlTransportBuilder},
    store::Store,
    wake::Wakers,
    warnings,
};

/// Connections to a database as the broker; cheap to clone. `SqliteTransport` and `PostgresTransport` are its two forms.
pub struct SqlTransport<D: Dialect> {
    pub(crate) shared: Arc<Shared<D>>,
}

/// What a transport, its consumers and its receivers share.
pub(crate) struct Shared<D: Dialect> {
    pub store: Arc<Store<D>>,
    pub wakers: Arc<Wakers>,
    pub receiver_grace: Duration,
    /// The longest time after which a reader that waits looks for records.
    pub poll: Duration,
    pub namespace: String,
    pub max_record: usize,
    long_transaction: Duration,
    tasks: Vec<AbortHandle>,
}

/// Leases run out without a word, and so a reader that is woken by a watch that polls looks at the database this often.
const LOOK: Duration = Duration::from_millis(500);

impl<D: Dialect> SqlTransport<D> {
    pub(crate) async fn open(settings: Settings) -> Result<Self, TransportError> {
        settings.check_namespace()?;
        let connections = D::open(&settings).await?;
        let readers = connections.readers.clone();
        let store = Arc::new(Store::new(connections, &settings));
        let wakers = Arc::<Wakers>::default();
        let poll = match D::WATCH_POLLS {
            true => settings.poll.max(LOOK),
            false => settings.poll,
        };
        let mut tasks = Vec::new();
        if settings.makes_tables {
            schema::migrate(&store, &settings.namespace).await?;
            let watch = D::watch(readers, settings.clone(), wakers.clone());
            let scheduler = scheduler::run(store.clone(), wakers.clone(), poll);
            tasks.push(tokio::spawn(watch).abort_handle());
            tasks.push(tokio::spawn(scheduler).abort_handle());
            tasks.push(tokio::spawn(housekeeping::run(store.clone())).abort_handle());
        } else {
            schema::check_version(&store, &settings.namespace).await?;
        }
        let shared = Shared {
            store,
            wakers,
            receiver_grace: settings.receiver_grace,
            poll,
            namespace: settings.namespace,
            max_record: settings.max_record,
            long_transaction: settings.long_transaction,
            tasks,
        };
        Ok(SqlTransport {
            shared: Arc::new(shared),
        })
    }
}

#[cfg(feature = "sqlite")]
impl SqlTransport<sqlx::Sqlite> {
    /// The settings of a connection to the database file at `sqlite:path`. The file is made if it is missing, unless the URL ends with
    /// `?mode=rw`.
    pub fn builder(url: impl Into<String>) -> SqlTransportBuilder<sqlx::Sqlite> {
        SqlTransportBuilder::new(url.into(), Duration::from_millis(10))
    }

    /// Connects to the database file at a URL, with default settings.
    ///
    /// # Errors
    /// Those of [`SqlTransportBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, TransportError> {
        Self::builder(url).connect().await
    }
}

#[cfg(feature = "postgres")]
impl SqlTransport<sqlx::Postgres> {
    /// The settings of a connection to the database at `postgres://user:password@host:port/database`. Parameters of the URL set TLS:
    /// `?sslmode=verify-full`, and `&sslrootcert=path` for a certificate authority that this machine does not trust.
    pub fn builder(url: impl Into<String>) -> SqlTransportBuilder<sqlx::Postgres> {
        SqlTransportBuilder::new(url.into(), Duration::from_millis(500))
    }

    /// Connects to the database at a URL, with default settings.
    ///
    /// # Errors
    /// Those of [`SqlTransportBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, TransportError> {
        Self::builder(url).connect().await
    }
}

impl<D: Dialect> Transport for SqlTransport<D> {
    type Consumer = SqlConsumer<D>;
    type Receiver = SqlReceiver<D>;

    fn address(&self) -> &str {
        self.shared.store.address()
    }

    async fn check(&self) -> Result<(), TransportError> {
        self.shared.check().await
    }

    /// On PostgreSQL, the [transactions that have been open for long](SqlTransportBuilder::long_transaction).
    async fn warnings(&self) -> Vec<String> {
        self.shared.warnings().await
    }

    async fn append(&self, records: Vec<(Topic, Record)>) -> Vec<Result<(), TransportError>> {
        let Shared {
            store,
            wakers,
            max_record,
            ..
        } = &*self.shared;
        let (results, topics) = append(store, records, *max_record).await;
        topics.into_iter().for_each(|topic| wakers.wake(topic));
        results
    }

    fn keep(&self, topic: &Topic, record: &Record) -> Option<Result<(), TransportError>> {
        let attempt: &Attempt<D> = record.scope.as_ref()?.get()?;
        attempt.keep(&self.shared, Destination::Queues, topic, record)
    }

    async fn consume(&self, subscription: Subscription) -> Result<SqlConsumer<D>, TransportError> {
        let topic = &subscription.topic;
        match topic.kind {
            Kind::Command | Kind::Event => {
                SqlConsumer::join(self.shared.clone(), subscription).await
            }
            _ => Err(TransportError::not_consumed(self.address(), topic)),
        }
    }

    async fn listen(&self, topic: Topic) -> Result<SqlReceiver<D>, TransportError> {
        match topic.kind {
            Kind::Query | Kind::Reply => SqlReceiver::open(self.shared.clone(), topic).await,
            _ => Err(TransportError::not_received(self.address(), &topic)),
        }
    }

    async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterRecord>, TransportError> {
        dead_letters::list(&self.shared.store, after, limit).await
    }

    async fn remove_dead_letters(&self, positions: &[String]) -> Result<(), TransportError> {
        dead_letters::remove(&self.shared.store, positions).await
    }

    fn check_scheduling(&self) -> Result<(), TransportError> {
        Ok(())
    }

    async fn cancel(&self, topic: &Topic, key: &str) -> Result<bool, TransportError> {
        let cancel = Cancel {
            from: Destination::Queues,
            topic: topic.clone(),
            key: key.into(),
        };
        self.shared.store.transact(cancel).await
    }

    fn keep_cancellation(
        &self,
        scope: &Scope,
        topic: &Topic,
        key: &str,
    ) -> Option<Result<(), TransportError>> {
        let attempt: &Attempt<D> = scope.get()?;
        attempt.keep_cancellation(&self.shared, Destination::Queues, topic, key)
    }
}

/// An inspection counts up to 100,000 records of a topic and of a group.
impl<D: Dialect> Inspect for SqlTransport<D> {
    async fn topics(&self) -> Result<Vec<Topic>, TransportError> {
        inspection::topics(&self.shared.store).await
    }

    async fn inspect(&self, topics: &[Topic]) -> Result<Vec<TopicState>, TransportError> {
        let mut states = Vec::with_capacity(topics.len());
        for topic in topics {
            states.extend(inspection::inspect(&self.shared.store, topic).await?);
        }
        Ok(states)
    }
}

impl<D: Dialect> Clone for SqlTransport<D> {
    fn clone(&self) -> Self {
        SqlTransport {
            shared: self.shared.clone(),
        }
    }
}

impl<D: Dialect> fmt::Debug for SqlTransport<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlTransport")
            .field("address", &self.shared.store.address())
            .field("namespace", &self.shared.namespace)
            .finish_non_exhaustive()
    }
}

impl<D: Dialect> Shared<D> {
    /// Runs a transaction that could write.
    pub async fn check(&self) -> Result<(), TransportError> {
        self.store.transact(schema::Check).await
    }

    /// What an operator should know of the database.
    pub async fn warnings(&self) -> Vec<String> {
        warnings::warnings(&self.store, self.long_transaction).await
    }
}

impl<D: Dialect> Drop for Shared<D> {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}
