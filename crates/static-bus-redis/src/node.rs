//! A server, and the connection to it that all calls share.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::{RedisResult, cmd};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};

use super::server::{Connection, Server};
use static_bus_remote::{
    lock::lock,
    retry::{self, Backoff},
};

/// A server, and a connection for commands that do not block. It is opened when it is needed, and again after it was lost.
pub(super) struct Node {
    server: Arc<Server>,
    current: Mutex<Current>,
    /// Held by the call that connects.
    connecting: tokio::sync::Mutex<()>,
    /// Notified when a connection was opened.
    opened: Arc<Notify>,
}

struct Current {
    connection: Option<Connection>,
    /// The time at which the connection was opened; `None` for the first one.
    reopened: Option<Instant>,
    /// The time from which a connection may be opened.
    not_before: Instant,
    backoff: Backoff,
}

impl Node {
    pub fn new(server: Server, opened: Arc<Notify>) -> Self {
        Node {
            server: Arc::new(server),
            current: Mutex::new(Current {
                connection: None,
                reopened: None,
                not_before: Instant::now(),
                backoff: retry::reconnect(),
            }),
            connecting: tokio::sync::Mutex::new(()),
            opened,
        }
    }

    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The connection. If there is none, it is opened in one attempt, after a pause if the last one was of no use.
    pub async fn connection(&self) -> RedisResult<Connection> {
        if let Some(connection) = self.usable() {
            return Ok(connection);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(connection) = self.usable() {
            return Ok(connection);
        }
        let not_before = lock(&self.current).not_before;
        sleep_until(not_before).await;
        let connection = self.server.open().await.inspect_err(|_| _ = self.pause())?;
        {
            let mut current = lock(&self.current);
            current.connection = Some(connection.clone());
            current.reopened = Some(Instant::now());
        }
        self.opened.notify_waiters();
        Ok(connection)
    }

    fn usable(&self) -> Option<Connection> {
        let current = &mut lock(&self.current).connection;
        if current.as_ref().is_some_and(Connection::is_lost) {
            *current = None;
        }
        current.clone()
    }

    pub fn forget(&self, connection: &Connection) {
        let current = &mut lock(&self.current).connection;
        if current.as_ref().is_some_and(|c| c.is(connection)) {
            *current = None;
        }
    }

    /// Delays the next connection, as the last one was of no use. Returns the time from which it may be opened.
    pub fn pause(&self) -> Instant {
        let mut current = lock(&self.current);
        let now = Instant::now();
        if current.not_before <= now {
            current.not_before = now + current.backoff.next_delay();
        }
        current.not_before
    }

    pub fn succeeded(&self) {
        lock(&self.current).backoff.reset();
    }

    /// Declares the connection the first one: other clients of the server have not lost theirs.
    pub fn begin(&self) {
        lock(&self.current).reopened = None;
    }

    /// The time since the connection was opened again; `None` for the first one.
    pub fn age(&self) -> Option<Duration> {
        let reopened = lock(&self.current).reopened;
        reopened.map(|reopened| reopened.elapsed())
    }

    /// Ends a read that blocks on the connection with this number, as if its time was over. Ignores failures: the read ends
    /// by itself too.
    pub async fn unblock(&self, number: i64) {
        let mut command = cmd("CLIENT");
        command.arg("UNBLOCK").arg(number);
        let unblock = async { self.connection().await?.send(&command).await };
        let _ = timeout(self.server.deadline(), unblock).await;
    }
}
