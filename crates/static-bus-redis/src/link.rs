//! Connections, which are opened again when they are lost.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, ProtocolVersion, PushInfo, PushKind,
    RedisError, RedisResult, ServerErrorKind, Value, aio::MultiplexedConnection, cmd,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    errors::{connect_error, reply_error},
    scripts::Lua,
};
use static_bus_remote::{
    lock::lock,
    retry,
    transport::{TransportError, TransportErrorKind},
};

/// A server, and the deadline of its answers.
pub(super) struct Server {
    client: Client,
    address: Arc<str>,
    deadline: Duration,
    /// The failure of the last attempt to connect.
    trouble: Mutex<Option<RedisError>>,
}

/// One connection.
#[derive(Clone)]
pub(super) struct Connection {
    inner: MultiplexedConnection,
    lost: Arc<AtomicBool>,
    /// The server's number for the connection, if it tells.
    number: Option<i64>,
}

/// A shared connection for commands that do not block. It is opened when it is needed, and again after it
/// was lost.
pub(super) struct Link {
    server: Arc<Server>,
    current: Mutex<Option<Connection>>,
    /// Held by the call that connects.
    connecting: tokio::sync::Mutex<()>,
}

impl Server {
    pub fn new(client: Client, address: Arc<str>, deadline: Duration) -> Self {
        // With RESP3 the client library reports the end of an idle connection.
        let info = client.get_connection_info().clone();
        let settings = info.redis_settings().clone();
        let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
        Server {
            client: Client::open(info).expect("the settings of a client are valid"),
            address,
            deadline,
            trouble: Mutex::new(None),
        }
    }

    pub fn address(&self) -> &Arc<str> {
        &self.address
    }

    pub fn deadline(&self) -> Duration {
        self.deadline
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
        let open = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let opened = timeout(self.deadline, open)
            .await
            .unwrap_or_else(|_| Err(late(self.deadline)));
        let trouble = opened.as_ref().err().cloned();
        *lock(&self.trouble) = trouble;
        opened.map(|inner| Connection {
            inner,
            lost,
            number: None,
        })
    }

    /// Opens a connection for reads that block, as soon as the server can be reached.
    pub async fn open_reader(&self) -> RedisResult<Connection> {
        let mut connection = self.reopen().await?;
        let mut command = cmd("CLIENT");
        command.arg("ID");
        if let Ok(Value::Int(number)) = connection.send(&command).await {
            connection.number = Some(number);
        }
        Ok(connection)
    }

    /// Opens a connection for reads that block, within the deadline.
    pub async fn open_reader_in_time(&self) -> Result<Connection, TransportError> {
        match timeout(self.deadline, self.open_reader()).await {
            Ok(opened) => opened.map_err(|e| self.error(&e)),
            Err(_) => Err(self.unanswered(self.deadline)),
        }
    }

    /// Opens a connection as soon as the server can be reached. Fails only when the server refuses it.
    pub async fn reopen(&self) -> RedisResult<Connection> {
        let mut backoff = retry::reconnect();
        loop {
            match self.open().await {
                Err(e) if passes(&e) => {
                    sleep(backoff.next_delay()).await;
                }
                opened => return opened,
            }
        }
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

    /// The server's number for the connection, if it tells.
    pub fn number(&self) -> Option<i64> {
        self.number
    }

    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

impl Link {
    pub fn new(server: Arc<Server>, connection: Connection) -> Self {
        Link {
            server,
            current: Mutex::new(Some(connection)),
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Sends a command, and waits for the answer, no longer than the deadline.
    pub async fn send(&self, command: &Cmd) -> Result<Value, TransportError> {
        self.attempt(command)
            .await?
            .map_err(|e| self.server.error(&e))
    }

    /// Like `send`; an error that the server reports is the inner one.
    pub async fn attempt(&self, command: &Cmd) -> Result<RedisResult<Value>, TransportError> {
        self.call(async |connection| Ok(connection.send(command).await))
            .await
    }

    /// Sends commands in one round trip, and waits for all answers.
    pub async fn send_all(&self, commands: &Pipeline) -> Result<Vec<Value>, TransportError> {
        self.call(async |connection| connection.send_all(commands).await)
            .await
    }

    /// Runs a script, which is loaded if the server does not have it.
    pub async fn run(&self, script: &Lua, command: &Cmd) -> Result<Value, TransportError> {
        self.attempt_run(script, command)
            .await?
            .map_err(|e| self.server.error(&e))
    }

    /// Like `run`; an error that the server reports is the inner one.
    pub async fn attempt_run(
        &self,
        script: &Lua,
        command: &Cmd,
    ) -> Result<RedisResult<Value>, TransportError> {
        self.call(async |connection| match connection.send(command).await {
            Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                connection.send(&script.load()).await?;
                Ok(connection.send(command).await)
            }
            answer => Ok(answer),
        })
        .await
    }

    /// Ends a read that blocks, as if its time was over. Ignores failures: the read ends by itself too.
    pub async fn unblock(&self, number: i64) {
        let mut command = cmd("CLIENT");
        command.arg("UNBLOCK").arg(number);
        let _ = self.attempt(&command).await;
    }

    async fn call<T>(
        &self,
        work: impl AsyncFnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, TransportError>
    where
        T: Broken,
    {
        let deadline = self.server.deadline();
        let end = Instant::now() + deadline;
        let mut connection = match self.usable() {
            Some(connection) => connection,
            None => match timeout_at(end, self.connection()).await {
                Ok(opened) => opened.map_err(|e| connect_error(self.server.address(), &e))?,
                Err(_) => return Err(self.server.unanswered(deadline)),
            },
        };
        match timeout_at(end, work(&mut connection)).await {
            Ok(Ok(done)) => match done.broken() {
                Some(e) => {
                    self.forget(&connection);
                    Err(self.server.error(e))
                }
                None => Ok(done),
            },
            Ok(Err(e)) => {
                if ends_connection(&e) {
                    self.forget(&connection);
                }
                Err(self.server.error(&e))
            }
            Err(_) => {
                self.forget(&connection);
                Err(self.server.error(&late(deadline)))
            }
        }
    }

    async fn connection(&self) -> RedisResult<Connection> {
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(connection) = self.usable() {
            return Ok(connection);
        }
        let connection = self.server.reopen().await?;
        *lock(&self.current) = Some(connection.clone());
        Ok(connection)
    }

    fn usable(&self) -> Option<Connection> {
        let mut current = lock(&self.current);
        if current.as_ref().is_some_and(Connection::is_lost) {
            *current = None;
        }
        current.clone()
    }

    fn forget(&self, connection: &Connection) {
        let mut current = lock(&self.current);
        if matches!(&*current, Some(c) if Arc::ptr_eq(&c.lost, &connection.lost)) {
            *current = None;
        }
    }
}

/// An answer that may show that the connection is lost.
trait Broken {
    fn broken(&self) -> Option<&RedisError>;
}

impl Broken for RedisResult<Value> {
    fn broken(&self) -> Option<&RedisError> {
        self.as_ref().err().filter(|e| ends_connection(e))
    }
}

impl Broken for Vec<Value> {
    fn broken(&self) -> Option<&RedisError> {
        None
    }
}

/// Returns whether the connection is lost after this error.
pub(super) fn ends_connection(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || error.kind() == ErrorKind::Io
}

/// Returns whether another attempt to connect may succeed.
fn passes(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Io | ErrorKind::Server(ServerErrorKind::BusyLoading)
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
