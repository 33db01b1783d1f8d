//! The server, and single connections to it.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, ProtocolVersion, PushInfo, PushKind,
    RedisError, RedisResult, ServerErrorKind, Value, aio::MultiplexedConnection, cmd,
    sentinel::SentinelClient,
};
use tokio::time::timeout;

use super::{
    cluster::no_node,
    errors::{connect_error, reply_error},
};
use static_bus_remote::{
    lock::lock,
    transport::{TransportError, TransportErrorKind},
};

/// A server, and the deadline of its answers.
pub(super) struct Server {
    source: Source,
    address: Arc<str>,
    deadline: Duration,
    /// The failure of the last attempt to connect.
    trouble: Mutex<Option<RedisError>>,
}

/// Where the primary is.
pub(super) enum Source {
    /// At an address.
    Address(Client),
    /// Where Sentinels say.
    Sentinels(tokio::sync::Mutex<SentinelClient>),
}

/// One connection.
#[derive(Clone)]
pub(super) struct Connection {
    inner: MultiplexedConnection,
    lost: Arc<AtomicBool>,
    reader: Option<ReaderId>,
}

/// The name of a connection for reads that block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReaderId {
    /// The address of its server.
    pub server: Arc<str>,
    /// The server's number for it.
    pub number: i64,
}

impl Source {
    pub fn address(client: &Client) -> Self {
        // With RESP3 the client library reports the end of an idle connection.
        let info = client.get_connection_info().clone();
        let settings = info.redis_settings().clone();
        let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
        Source::Address(Client::open(info).expect("the settings of a client are valid"))
    }

    /// A client of the server that is the primary now.
    async fn client(&self) -> RedisResult<Client> {
        match self {
            Source::Address(client) => Ok(client.clone()),
            Source::Sentinels(sentinels) => sentinels.lock().await.async_get_client().await,
        }
    }
}

impl Server {
    pub fn new(source: Source, address: Arc<str>, deadline: Duration) -> Self {
        Server {
            source,
            address,
            deadline,
            trouble: Mutex::new(None),
        }
    }

    pub fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// The longest time that a call waits for an answer without large records.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The longest time that the end of a consumer or receiver waits for an answer.
    pub fn farewell(&self) -> Duration {
        self.deadline.min(Duration::from_secs(2))
    }

    /// The longest time that a call waits that sends this number of bytes: a second more for each 250 kB.
    pub fn deadline_of(&self, bytes: usize) -> Duration {
        self.deadline + Duration::from_micros(4 * bytes as u64)
    }

    /// Opens a connection, in one attempt.
    pub async fn open(&self) -> RedisResult<Connection> {
        let lost = Arc::new(AtomicBool::new(false));
        let told = lost.clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.deadline))
            // Each call sets its own limit.
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    told.store(true, Ordering::Release);
                }
                Ok::<(), fmt::Error>(())
            });
        // The type of the client library's future is deep: every future that may open a connection would contain it.
        let open: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async {
            let client = self.source.client().await?;
            client
                .get_multiplexed_async_connection_with_config(&config)
                .await
        });
        let opened = timeout(self.deadline, open)
            .await
            .unwrap_or_else(|_| Err(late(self.deadline)));
        let trouble = opened.as_ref().err().cloned();
        *lock(&self.trouble) = trouble;
        opened.map(|inner| Connection {
            inner,
            lost,
            reader: None,
        })
    }

    /// Opens a connection for reads that block, in one attempt.
    pub async fn open_reader(&self) -> RedisResult<Connection> {
        let mut connection = self.open().await?;
        let mut command = cmd("CLIENT");
        command.arg("ID");
        let asked = timeout(self.deadline, connection.send(&command)).await;
        if let Ok(Ok(Value::Int(number))) = asked {
            let server = self.address.clone();
            connection.reader = Some(ReaderId { server, number });
        }
        Ok(connection)
    }

    /// The failure of the last attempt to connect, if it failed.
    pub fn trouble(&self) -> Option<TransportError> {
        let trouble = lock(&self.trouble).clone();
        trouble.map(|e| connect_error(&self.address, &e))
    }

    /// The error of a call that got no answer.
    pub fn unanswered(&self, waited: Duration) -> TransportError {
        self.trouble()
            .unwrap_or_else(|| reply_error(&self.address, &late(waited)))
    }

    /// The error of a call for which no server was found in time.
    pub fn unowned(&self) -> TransportError {
        self.trouble()
            .unwrap_or_else(|| connect_error(&self.address, &no_node()))
    }

    pub fn error(&self, error: &RedisError) -> TransportError {
        reply_error(&self.address, error)
    }

    /// A call on a consumer or receiver that is closed.
    pub fn closed(&self, what: &str) -> TransportError {
        let reason = format!("this {what} is closed");
        TransportError::new(TransportErrorKind::Closed, self.address.clone(), reason)
    }

    /// The error of an answer that has not the type that the command returns.
    pub fn unexpected(&self, command: &'static str) -> TransportError {
        TransportError::new(
            TransportErrorKind::Refused,
            self.address.clone(),
            format!(
                "the answer to {command} cannot be read: check that this is a Redis or Valkey server"
            ),
        )
    }
}

impl Connection {
    /// Sends a command. An error that the server reports is an `Err`.
    pub async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self.inner.send_packed_command(command).await {
            Ok(Value::ServerError(e)) => Err(e.into()),
            answer => answer,
        }
    }

    /// Sends commands in one round trip. Errors that the server reports are among the values.
    pub async fn send_all(&mut self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        self.inner
            .send_packed_commands(commands, 0, commands.len())
            .await
    }

    /// The name of a connection for reads, if the server has told its number.
    pub fn reader(&self) -> Option<&ReaderId> {
        self.reader.as_ref()
    }

    /// Returns whether both are the same connection.
    pub fn is(&self, other: &Connection) -> bool {
        Arc::ptr_eq(&self.lost, &other.lost)
    }

    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

/// Returns whether another attempt to connect may succeed.
pub(super) fn passes(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Io
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::Server(ServerErrorKind::BusyLoading)
    )
}

/// The error of an answer that did not come in time.
pub(super) fn late(waited: Duration) -> RedisError {
    std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("no answer within {waited:?}"),
    )
    .into()
}
