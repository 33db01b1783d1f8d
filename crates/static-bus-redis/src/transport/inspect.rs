//! The checks of a server before it is used.

use std::sync::Arc;

use futures_util::future::join_all;
use redis::cmd;

use super::super::{
    errors::{connect_error, reply_error},
    link::Link,
    server::{Connection, Server},
    servers::Servers,
};
use static_bus_remote::transport::{TransportError, TransportErrorKind};

/// Connects to the servers. Refuses one that is too old, is of another kind than the URL says, or may evict messages. Of a
/// cluster, one primary at least must be reachable.
pub(super) async fn inspect(servers: &Arc<Servers>) -> Result<(), TransportError> {
    let links = servers.all().await;
    let links = links.map_err(|e| connect_error(servers.address(), &e))?;
    let (mut inspected, mut unreachable) = (0, None);
    let inspections = links.iter();
    let inspections = inspections.map(|link| inspect_one(link, servers.is_cluster()));
    for inspection in join_all(inspections).await {
        match inspection {
            Ok(()) => inspected += 1,
            Err(e) if e.kind() == TransportErrorKind::Unreachable => unreachable = Some(e),
            Err(e) => return Err(e),
        }
    }
    match unreachable {
        Some(error) if inspected == 0 => Err(error),
        _ => Ok(()),
    }
}

async fn inspect_one(link: &Link, is_cluster: bool) -> Result<(), TransportError> {
    let (server, mut connection) = (link.server(), link.connect().await?);
    let refuse = |reason: String| {
        let address = server.address().clone();
        Err(TransportError::new(
            TransportErrorKind::Refused,
            address,
            reason,
        ))
    };
    let info = information(&server, &mut connection, "server").await?;
    let version = value(&info, "redis_version");
    let major = version
        .split('.')
        .next()
        .and_then(|n| n.parse::<u32>().ok());
    if major.is_none_or(|major| major < 7) {
        return refuse(format!(
            "the server is too old: version {version}, and Redis 7.0 or later, or Valkey, is needed"
        ));
    }
    // The name of the line is that of Redis or that of Valkey.
    let mode = match value(&info, "redis_mode") {
        "" => value(&info, "server_mode"),
        mode => mode,
    };
    match mode {
        "cluster" if !is_cluster => {
            return refuse(
                "the server is part of a cluster: its URL is redis-cluster://host:port,…, with some of its nodes"
                    .into(),
            );
        }
        "sentinel" => {
            return refuse(
                "this is a Sentinel: its URL is redis+sentinel://host:port/name, with the name of the primary"
                    .into(),
            );
        }
        _ => {}
    }
    let info = information(&server, &mut connection, "memory").await?;
    let policy = value(&info, "maxmemory_policy");
    let is_limited = !matches!(value(&info, "maxmemory"), "" | "0");
    if is_limited && !matches!(policy, "" | "noeviction") {
        return refuse(format!(
            "its `maxmemory-policy` is {policy}: messages would be evicted when memory is short; \
             set it to noeviction, in the configuration or with CONFIG SET"
        ));
    }
    Ok(())
}

/// A section of the server's `INFO`.
async fn information(
    server: &Server,
    connection: &mut Connection,
    section: &str,
) -> Result<String, TransportError> {
    let mut command = cmd("INFO");
    command.arg(section);
    let answer = tokio::time::timeout(server.deadline(), connection.send(&command)).await;
    let address = server.address();
    let answer = match answer {
        Ok(answer) => answer.map_err(|e| match e.is_io_error() {
            true => reply_error(address, &e),
            false => connect_error(address, &e),
        })?,
        Err(_) => return Err(server.unanswered(server.deadline())),
    };
    redis::from_redis_value(answer).map_err(|_| server.unexpected("INFO"))
}

/// The value of a line of `INFO`; empty if there is none.
fn value<'i>(info: &'i str, name: &str) -> &'i str {
    let of = |line: &'i str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim());
    info.lines().find_map(of).unwrap_or_default()
}
