//! The checks of a server before it is used.

use redis::cmd;

use super::super::{
    errors::{connect_error, reply_error},
    server::{Connection, Server},
};
use static_bus_remote::transport::{TransportError, TransportErrorKind};

/// Refuses a server that is too old, not a single primary, or may evict messages.
pub(super) async fn inspect(
    server: &Server,
    connection: &mut Connection,
) -> Result<(), TransportError> {
    let refuse = |reason: String| {
        let address = server.address().clone();
        Err(TransportError::new(
            TransportErrorKind::Refused,
            address,
            reason,
        ))
    };
    let info = information(server, connection, "server").await?;
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
    match value(&info, "redis_mode") {
        "cluster" => {
            return refuse(
                "the server is part of a cluster, which is not supported: use a single primary"
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
    let info = information(server, connection, "memory").await?;
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
