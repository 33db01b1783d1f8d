//! Calls of the server that has a slot.

mod each;

use std::{sync::Arc, time::Duration};

use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::{
    cluster::Address,
    errors::{connect_error, is_no_primary, is_redirect},
    node::Node,
    request::{All, Atomic, One, Request, Script, is_refusal},
    scripts::Lua,
    server::{Connection, Server, late, passes},
    servers::Servers,
};
use static_bus_remote::{
    retry::{self, Backoff},
    transport::TransportError,
};

/// The longest pause before a call is sent again to a slot that is moving.
const PAUSE: Duration = Duration::from_millis(100);

/// Calls whose keys are in one hash slot. They go to the server that has the slot, over its shared connection, and follow
/// the slot to another server. A single server has one slot.
#[derive(Clone)]
pub(super) struct Link {
    servers: Arc<Servers>,
    target: Target,
}

#[derive(Clone)]
enum Target {
    Slot(u16),
    /// Calls without keys.
    Node(Arc<Node>),
}

/// The server that is to get a call next.
struct Route {
    /// The server that the slot is moving to. It serves the call after `ASKING`.
    asked: Option<Arc<Node>>,
    redirects: u32,
    pauses: Backoff,
}

impl Link {
    pub fn to_slot(servers: Arc<Servers>, slot: u16) -> Self {
        let target = Target::Slot(slot);
        Link { servers, target }
    }

    pub fn to_node(servers: Arc<Servers>, node: Arc<Node>) -> Self {
        let target = Target::Node(node);
        Link { servers, target }
    }

    /// The server, as far as known.
    pub fn server(&self) -> Arc<Server> {
        self.node().server().clone()
    }

    fn node(&self) -> Arc<Node> {
        match &self.target {
            Target::Slot(slot) => self.servers.known_owner(*slot),
            Target::Node(node) => node.clone(),
        }
    }

    // Calls.

    /// Sends a command, and waits for the answer, no longer than the deadline.
    pub async fn send(&self, command: &Cmd) -> Result<Value, TransportError> {
        self.attempt(command)
            .await?
            .map_err(|e| self.server().error(&e))
    }

    /// Like `send`; an error that the server reports is the inner one.
    pub async fn attempt(&self, command: &Cmd) -> Result<RedisResult<Value>, TransportError> {
        self.call(One(command), self.servers.deadline()).await
    }

    /// Sends commands in one round trip, and waits for all answers.
    pub async fn send_all(&self, commands: &Pipeline) -> Result<Vec<Value>, TransportError> {
        let keyed = commands.len();
        let request = All { commands, keyed };
        self.call(request, self.servers.deadline()).await
    }

    /// Sends a transaction.
    pub async fn send_atomic(&self, commands: &Pipeline) -> Result<Vec<Value>, TransportError> {
        self.call(Atomic(commands), self.servers.deadline()).await
    }

    /// Runs a script, which is loaded if the server does not have it.
    pub async fn run(&self, script: &Lua, command: &Cmd) -> Result<Value, TransportError> {
        let limit = self.servers.deadline();
        self.attempt_run(script, command, limit)
            .await?
            .map_err(|e| self.server().error(&e))
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

    /// Calls the server. A call that it has refused, because it is not the primary or does not have the slot, is repeated
    /// within the limit: on a new connection, as the name of the primary may lead to another server by now, or on the server
    /// that has the slot.
    async fn call<R: Request>(
        &self,
        request: R,
        limit: Duration,
    ) -> Result<R::Answer, TransportError> {
        let end = Instant::now() + limit;
        let mut route = Route::new();
        let mut refused = None;
        loop {
            let is_asking = route.asked.is_some();
            let node = match timeout_at(end, self.next(&mut route)).await {
                Ok(node) => node,
                Err(_) => return Err(refused.unwrap_or_else(|| self.server().unowned())),
            };
            let server = node.server();
            let mut connection = match timeout_at(end, node.connection()).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(e)) => {
                    self.servers.suspect();
                    match passes(&e) {
                        true => continue,
                        false => return Err(connect_error(server.address(), &e)),
                    }
                }
                Err(_) => {
                    self.servers.suspect();
                    return Err(refused.unwrap_or_else(|| server.unanswered(limit)));
                }
            };
            let sent = timeout_at(end, request.send_on(&mut connection, is_asking)).await;
            let answer = match sent {
                Ok(Ok(answer)) => answer,
                Ok(Err(e)) => {
                    if is_refusal(&e) {
                        node.forget(&connection);
                        self.servers.suspect();
                    }
                    return Err(server.error(&e));
                }
                Err(_) => {
                    node.forget(&connection);
                    self.servers.suspect();
                    return Err(refused.unwrap_or_else(|| server.error(&late(limit))));
                }
            };
            let Some(error) = request.refusal(&answer) else {
                node.succeeded();
                return Ok(answer);
            };
            let next = match is_redirect(&error) {
                true => self.redirect(&mut route, &error),
                false => {
                    node.forget(&connection);
                    self.servers.suspect();
                    is_no_primary(&error).then(|| node.pause())
                }
            };
            let next = next.filter(|at| *at < end && request.is_all_refused(&answer));
            let Some(next) = next else {
                return Ok(answer);
            };
            refused = Some(server.error(&error));
            sleep_until(next).await;
        }
    }

    /// The server for the next attempt.
    async fn next(&self, route: &mut Route) -> Arc<Node> {
        loop {
            let node = match (route.asked.take(), &self.target) {
                (Some(node), _) => Some(node),
                (None, Target::Node(node)) => Some(node.clone()),
                (None, Target::Slot(slot)) => self.servers.owner(*slot).await,
            };
            match node {
                Some(node) => return node,
                None => {
                    self.servers.suspect();
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Follows a redirection. Returns the time of the next attempt.
    fn redirect(&self, route: &mut Route, error: &RedisError) -> Option<Instant> {
        if error.code() == Some("ASK") {
            route.asked = target(error).map(|address| self.servers.at(&address));
        }
        self.heed(error);
        route.redirects += 1;
        // A slot may be refused by each of two servers for a moment.
        let is_clear = route.redirects < 3 && error.code() != Some("TRYAGAIN");
        let pause = match is_clear {
            true => Duration::ZERO,
            false => route.pauses.next_delay().min(PAUSE),
        };
        Some(Instant::now() + pause)
    }

    // Servers and connections.

    /// Opens the shared connection, in one attempt.
    pub async fn connect(&self) -> Result<Connection, TransportError> {
        let node = self.node();
        let connection = node.connection().await;
        connection.map_err(|e| connect_error(node.server().address(), &e))
    }

    /// Notes where the slot has moved, if this error says so.
    pub fn heed(&self, error: &RedisError) {
        let Target::Slot(slot) = self.target else {
            return;
        };
        match (error.code(), target(error)) {
            (Some("MOVED"), Some(to)) => self.servers.moved(slot, to),
            (Some("MOVED"), None) => self.servers.suspect(),
            _ => {}
        }
    }

    /// Opens a connection for reads that block, as soon as the server can be reached. Fails only when the server refuses
    /// it.
    pub async fn open_reader(&self) -> RedisResult<Connection> {
        let mut backoff = retry::reconnect();
        loop {
            let node = self.next(&mut Route::new()).await;
            match node.server().open_reader().await {
                Err(e) if passes(&e) => {
                    self.servers.suspect();
                    sleep(backoff.next_delay()).await;
                }
                opened => return opened,
            }
        }
    }

    /// Opens a connection for reads that block, within the deadline.
    pub async fn open_reader_in_time(&self) -> Result<Connection, TransportError> {
        let limit = self.servers.deadline();
        match timeout(limit, self.open_reader()).await {
            Ok(opened) => opened.map_err(|e| self.server().error(&e)),
            Err(_) => Err(self.server().unanswered(limit)),
        }
    }

    /// Notes that the server has failed on a connection for reads: another one may have the slot.
    pub fn suspect(&self) {
        self.servers.suspect();
    }

    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Returns whether every other client of the server has had the time to connect again after an outage that this one
    /// has seen: each needs one deadline to notice it, and a second at most to connect.
    pub fn is_settled(&self) -> bool {
        let time = self.servers.deadline() + Duration::from_secs(2);
        self.node().age().is_none_or(|age| age > time)
    }
}

impl Route {
    fn new() -> Self {
        Route {
            asked: None,
            redirects: 0,
            pauses: retry::reconnect(),
        }
    }
}

/// The address in a redirection. The server leaves out its own host if it does not know it.
fn target(error: &RedisError) -> Option<Address> {
    let (address, _) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then_some((host.into(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use redis::{RedisError, Value};

    use super::target;

    fn error(line: &str) -> Value {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn a_redirection_has_an_address() {
        let address = |line: &str| {
            let error: RedisError = error(line).extract_error().unwrap_err();
            target(&error).map(|(host, port)| format!("{host} {port}"))
        };
        assert_eq!(
            address("MOVED 12182 10.0.0.1:6381").unwrap(),
            "10.0.0.1 6381"
        );
        assert_eq!(address("ASK 12182 [::1]:6381").unwrap(), "::1 6381");
        assert_eq!(address("ASK 12182 ::1:6381").unwrap(), "::1 6381");
        assert_eq!(address("MOVED 12182 :6381"), None);
        assert_eq!(address("TRYAGAIN Multiple keys request"), None);
    }
}
