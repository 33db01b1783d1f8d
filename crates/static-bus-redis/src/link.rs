//! The shared connection, which is opened again when it is lost or its server is no primary.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value, cmd};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    errors::{connect_error, ends_connection, is_no_primary},
    scripts::Lua,
    server::{Connection, Server, late},
};
use static_bus_remote::{
    lock::lock,
    retry::{self, Backoff},
    transport::TransportError,
};

/// A shared connection for commands that do not block. It is opened when it is needed, and again after it
/// was lost.
pub(super) struct Link {
    server: Arc<Server>,
    current: Mutex<Current>,
    /// Held by the call that connects.
    connecting: tokio::sync::Mutex<()>,
}

struct Current {
    connection: Option<Connection>,
    /// The time from which a connection may be opened.
    not_before: Instant,
    backoff: Backoff,
}

impl Link {
    pub fn new(server: Arc<Server>, connection: Connection) -> Self {
        Link {
            server,
            current: Mutex::new(Current {
                connection: Some(connection),
                not_before: Instant::now(),
                backoff: retry::reconnect(),
            }),
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
        self.call(One(command), self.server.deadline()).await
    }

    /// Sends commands in one round trip, and waits for all answers.
    pub async fn send_all(&self, commands: &Pipeline) -> Result<Vec<Value>, TransportError> {
        self.send_all_within(commands, self.server.deadline()).await
    }

    /// Like `send_all`, with another limit than the deadline.
    pub async fn send_all_within(
        &self,
        commands: &Pipeline,
        limit: Duration,
    ) -> Result<Vec<Value>, TransportError> {
        self.call(All(commands), limit).await
    }

    /// Runs a script, which is loaded if the server does not have it.
    pub async fn run(&self, script: &Lua, command: &Cmd) -> Result<Value, TransportError> {
        let limit = self.server.deadline();
        self.attempt_run(script, command, limit)
            .await?
            .map_err(|e| self.server.error(&e))
    }

    /// Like `run`, with another limit than the deadline; an error that the server reports is the inner one.
    pub async fn attempt_run(
        &self,
        script: &Lua,
        command: &Cmd,
        limit: Duration,
    ) -> Result<RedisResult<Value>, TransportError> {
        self.call(Script(script, command), limit).await
    }

    /// Ends a read that blocks, as if its time was over. Ignores failures: the read ends by itself too.
    pub async fn unblock(&self, number: i64) {
        let mut command = cmd("CLIENT");
        command.arg("UNBLOCK").arg(number);
        let _ = self.attempt(&command).await;
    }

    /// Calls the server. A call that a server without the role of a primary has refused is repeated on a new connection
    /// within the limit: the name of the primary may lead to another server by now.
    async fn call<R: Request>(
        &self,
        request: R,
        limit: Duration,
    ) -> Result<R::Answer, TransportError> {
        let end = Instant::now() + limit;
        let mut refused = None;
        loop {
            let mut connection = match self.usable() {
                Some(connection) => connection,
                None => match timeout_at(end, self.connection()).await {
                    Ok(opened) => opened.map_err(|e| connect_error(self.server.address(), &e))?,
                    Err(_) => return Err(refused.unwrap_or_else(|| self.server.unanswered(limit))),
                },
            };
            let done = match timeout_at(end, request.send_on(&mut connection)).await {
                Ok(Ok(done)) => done,
                Ok(Err(e)) => {
                    if ends_connection(&e) {
                        self.forget(&connection);
                    }
                    return Err(self.server.error(&e));
                }
                Err(_) => {
                    self.forget(&connection);
                    return Err(refused.unwrap_or_else(|| self.server.error(&late(limit))));
                }
            };
            let Some(error) = done.failure() else {
                self.succeeded();
                return Ok(done);
            };
            self.forget(&connection);
            let may_repeat = is_no_primary(&error) && done.is_all_refused();
            if !may_repeat || self.pause() >= end {
                return Ok(done);
            }
            refused = Some(self.server.error(&error));
        }
    }

    async fn connection(&self) -> RedisResult<Connection> {
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(connection) = self.usable() {
            return Ok(connection);
        }
        let not_before = lock(&self.current).not_before;
        sleep_until(not_before).await;
        let connection = self.server.reopen().await?;
        lock(&self.current).connection = Some(connection.clone());
        Ok(connection)
    }

    fn usable(&self) -> Option<Connection> {
        let current = &mut lock(&self.current).connection;
        if current.as_ref().is_some_and(Connection::is_lost) {
            *current = None;
        }
        current.clone()
    }

    fn forget(&self, connection: &Connection) {
        let current = &mut lock(&self.current).connection;
        if current.as_ref().is_some_and(|c| c.is(connection)) {
            *current = None;
        }
    }

    /// Delays the next connection, as the last one was of no use. Returns the time from which it may be opened.
    fn pause(&self) -> Instant {
        let mut current = lock(&self.current);
        let now = Instant::now();
        if current.not_before <= now {
            current.not_before = now + current.backoff.next_delay();
        }
        current.not_before
    }

    fn succeeded(&self) {
        lock(&self.current).backoff.reset();
    }
}

/// What is sent on a connection, once or again.
trait Request {
    type Answer: Answer;

    fn send_on(
        &self,
        connection: &mut Connection,
    ) -> impl Future<Output = RedisResult<Self::Answer>> + Send;
}

struct One<'a>(&'a Cmd);
struct All<'a>(&'a Pipeline);
struct Script<'a>(&'a Lua, &'a Cmd);

impl Request for One<'_> {
    type Answer = RedisResult<Value>;

    async fn send_on(&self, connection: &mut Connection) -> RedisResult<Self::Answer> {
        Ok(connection.send(self.0).await)
    }
}

impl Request for All<'_> {
    type Answer = Vec<Value>;

    async fn send_on(&self, connection: &mut Connection) -> RedisResult<Self::Answer> {
        connection.send_all(self.0).await
    }
}

impl Request for Script<'_> {
    type Answer = RedisResult<Value>;

    async fn send_on(&self, connection: &mut Connection) -> RedisResult<Self::Answer> {
        let Script(script, command) = self;
        match connection.send(command).await {
            Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                connection.send(&script.load()).await?;
                Ok(connection.send(command).await)
            }
            answer => Ok(answer),
        }
    }
}

/// An answer, which may show that the connection is of no use.
trait Answer {
    /// The error after which a new connection is opened.
    fn failure(&self) -> Option<RedisError>;

    /// Returns whether the server has refused every command.
    fn is_all_refused(&self) -> bool;
}

impl Answer for RedisResult<Value> {
    fn failure(&self) -> Option<RedisError> {
        let error = self.as_ref().err();
        error.filter(|e| ends_connection(e)).cloned()
    }

    fn is_all_refused(&self) -> bool {
        self.is_err()
    }
}

impl Answer for Vec<Value> {
    fn failure(&self) -> Option<RedisError> {
        let mut errors = self.iter().filter_map(|value| match value {
            Value::ServerError(e) => Some(RedisError::from(e.clone())),
            _ => None,
        });
        errors.find(ends_connection)
    }

    fn is_all_refused(&self) -> bool {
        // Of a transaction that is aborted, `MULTI` has succeeded.
        let is_aborted = match self.last() {
            Some(Value::ServerError(e)) => e.code() == "EXECABORT",
            _ => false,
        };
        let is_error = |value: &Value| matches!(value, Value::ServerError(_));
        is_aborted || self.iter().all(is_error)
    }
}
