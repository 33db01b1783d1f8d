//! Errors of the client library, with their class and remedy.

use std::{borrow::Cow, sync::Arc};

use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind};

use static_bus_remote::transport::{TransportError, TransportErrorKind};

/// The failure to open a connection.
pub(super) fn connect_error(address: &Arc<str>, error: &RedisError) -> TransportError {
    let text = error.to_string();
    let tls = address.starts_with("rediss");
    let reason: Cow<'static, str> = if error.is_connection_refusal() {
        "connection refused: start the server, or correct the host and port of the URL".into()
    } else if error.kind() == ErrorKind::MasterNameNotFoundBySentinel {
        "the Sentinels know no primary of this name: a failover is under way, or the name is wrong, the last part of \
         the URL"
            .into()
    } else if error.kind() == ErrorKind::ClusterConnectionNotFound {
        "no node of the cluster has the slot of the key: see `CLUSTER INFO`".into()
    } else if text.contains("cluster support disabled") {
        "this is a single server: its URL begins with redis://".into()
    } else if error.kind() == ErrorKind::RESP3NotSupported {
        "the server is too old: Redis 7.0 or later, or Valkey, is needed".into()
    } else if denied(error, &text) {
        "the server refuses the credentials: correct user and password in the URL, \
         redis://user:password@host:port, or the server's ACL"
            .into()
    } else if tls && (error.kind() == ErrorKind::Io || error.kind() == ErrorKind::Parse) {
        format!(
            "no TLS connection ({text}): check that the port speaks TLS, and that the certificate is valid for \
             this host and trusted by this machine; without TLS the URL begins with redis://"
        )
        .into()
    } else if error.is_timeout() {
        format!("{text}: check the host, and that no firewall blocks the connection").into()
    } else if error.kind() == ErrorKind::Parse || error.is_connection_dropped() {
        format!(
            "the server does not speak the Redis protocol ({text}): correct the port, \
             or begin the URL with rediss:// if it is a TLS port"
        )
        .into()
    } else {
        format!("no connection: {text}").into()
    };
    with_source(address, reason, error)
}

/// The failure of a command.
pub(super) fn reply_error(address: &Arc<str>, error: &RedisError) -> TransportError {
    // The text of the client library has the code in quotes.
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    let remedy = match error.code() {
        Some("NOAUTH" | "WRONGPASS") => "correct user and password in the URL",
        Some("NOPERM") => "give the user the permission with ACL SETUSER",
        Some("OOM") => "the server is full: raise `maxmemory`",
        Some("READONLY") => "this is a replica: the URL must name the primary",
        Some("MASTERDOWN") => {
            "this is a replica without its primary: the URL must name the primary"
        }
        Some("CLUSTERDOWN") => "a part of the cluster has no primary: see `CLUSTER INFO`",
        Some("MOVED" | "ASK" | "TRYAGAIN") => {
            "the slot of the key is moving to another node, or its primary is being replaced: call again"
        }
        Some("UNBLOCKED") => "the server has become a replica: the URL must name the primary",
        Some("LOADING") => "the server is starting: try again",
        Some("NOREPLICAS") => {
            "too few replicas are connected: check them, and `min-replicas-to-write`"
        }
        Some("BUSY") => "a script of another program does not end: end it with SCRIPT KILL",
        Some("MISCONF") => "the server cannot save: check its disk and its log",
        Some("WRONGTYPE") => "another program uses the key: choose another namespace",
        _ if text.contains("access a non local key") => {
            "the slot of the key is moving to another node: call again"
        }
        _ if error.is_timeout() => {
            "the server is overloaded or cannot be reached, and may have run the command"
        }
        _ if error.is_io_error() => {
            "the connection was lost, and the server may have run the command: call again"
        }
        _ => "see the server's log",
    };
    with_source(address, format!("{text}; {remedy}").into(), error)
}

/// Returns whether a new connection is to be opened after this error: the connection is lost, its server is not the
/// primary (any more), or it does not know the user (any more).
pub(super) fn ends_connection(error: &RedisError) -> bool {
    let is_lost = error.is_unrecoverable_error() || error.kind() == ErrorKind::Io;
    is_lost || is_no_primary(error) || matches!(error.code(), Some("NOAUTH"))
}

/// Returns whether the server has refused a command because another one has the slot of its keys, or will have it.
pub(super) fn is_redirect(error: &RedisError) -> bool {
    matches!(error.code(), Some("MOVED" | "ASK" | "TRYAGAIN"))
}

/// Returns whether the server has refused a command because it is not the primary (any more), or not ready.
pub(super) fn is_no_primary(error: &RedisError) -> bool {
    matches!(
        error.code(),
        Some("READONLY" | "MASTERDOWN" | "LOADING" | "CLUSTERDOWN" | "NOREPLICAS")
    ) || error.code() == Some("UNBLOCKED") && !is_missing(error)
}

/// Returns whether the stream or the group is missing: the server was restarted without its data, or emptied.
pub(super) fn is_missing(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default();
    match error.code() {
        Some("NOGROUP") => true,
        Some("UNBLOCKED") => detail.contains("no longer exists"),
        _ => detail.contains("NOGROUP"),
    }
}

/// The class of an error.
///
/// A server that is starting, full, a replica, or without its disk or its primary may recover.
fn kind(error: &RedisError, text: &str) -> TransportErrorKind {
    if denied(error, text) {
        return TransportErrorKind::Unauthorized;
    }
    match error.kind() {
        ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported => {
            return TransportErrorKind::Refused;
        }
        ErrorKind::Server(_) | ErrorKind::Extension => {}
        _ => return TransportErrorKind::Unreachable,
    }
    let recovers = matches!(
        error.code(),
        Some(
            "LOADING"
                | "BUSY"
                | "READONLY"
                | "CLUSTERDOWN"
                | "MASTERDOWN"
                | "OOM"
                | "MISCONF"
                | "NOREPLICAS"
                | "TRYAGAIN"
                | "MOVED"
                | "ASK"
                | "UNBLOCKED"
                // Streams, groups and scripts are created again.
                | "NOGROUP"
                | "NOSCRIPT"
                // The error of one command, usually one of the above, has discarded the transaction.
                | "EXECABORT"
        )
    );
    // These have only the general code `ERR`.
    let has = |part: &str| text.contains(part);
    let is_general = error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError);
    if recovers || is_general && UNREACHABLE.iter().any(|part| has(part)) {
        TransportErrorKind::Unreachable
    } else if is_general && has("unauthenticated") {
        TransportErrorKind::Unauthorized
    } else if is_general && TOO_LARGE.iter().any(|part| has(part)) {
        TransportErrorKind::TooLarge
    } else {
        TransportErrorKind::Refused
    }
}

/// Parts of the answers of a server without room for a client, and of one of a cluster that a script's keys are moving from.
const UNREACHABLE: [&str; 2] = ["max number of clients", "access a non local key"];

/// Parts of the answers to a value above `proto-max-bulk-len`, or to too many values.
const TOO_LARGE: [&str; 3] = [
    "exceeds maximum allowed size",
    "invalid bulk length",
    "invalid multibulk length",
];

fn denied(error: &RedisError, text: &str) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || ["NOAUTH", "WRONGPASS", "NOPERM"]
            .iter()
            .any(|code| error.code() == Some(code) || text.contains(code))
}

fn with_source(
    address: &Arc<str>,
    reason: Cow<'static, str>,
    error: &RedisError,
) -> TransportError {
    let kind = kind(error, &error.to_string());
    TransportError::new(kind, address.clone(), reason).with_source(error.clone())
}

/// The address of a server, without secrets.
pub(super) fn address(info: &ConnectionInfo) -> Arc<str> {
    let host = |host: &str| match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    match info.addr() {
        ConnectionAddr::Tcp(name, port) => format!("redis://{}:{port}", host(name)).into(),
        ConnectionAddr::TcpTls {
            host: name, port, ..
        } => format!("rediss://{}:{port}", host(name)).into(),
        other => format!("redis+unix:{other}").into(),
    }
}

/// The part of an invalid URL that can be shown. Little is: the password may be anywhere.
pub(super) fn address_of_malformed(url: &str) -> Arc<str> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let scheme = match scheme
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"+-".contains(&b))
    {
        true => scheme,
        false => "redis",
    };
    let after_secrets = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let authority = after_secrets.split(['/', '?', '#']).next().unwrap_or("");
    let shown = match authority.rsplit_once(':') {
        Some((_, port)) if rest.contains('@') || port.parse::<u16>().is_ok() => authority,
        Some(_) => "",
        None if rest.contains('@') => authority,
        None => authority,
    };
    format!("{scheme}://{shown}").into()
}

#[cfg(test)]
mod tests {
    use std::io;

    use redis::Value;
    use static_bus_remote::transport::TransportErrorKind::{
        self, Refused, TooLarge, Unauthorized, Unreachable,
    };

    use super::{ErrorKind, RedisError, connect_error, ends_connection, is_missing, reply_error};

    /// The error that the client library makes of this line.
    fn answer(line: &str) -> RedisError {
        match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()) {
            Ok(Value::ServerError(error)) => error.into(),
            Err(error) => error,
            Ok(other) => panic!("{line}: {other:?}"),
        }
    }

    fn kinds(error: &RedisError) -> [TransportErrorKind; 2] {
        let address = "redis://a:1".into();
        [
            connect_error(&address, error).kind(),
            reply_error(&address, error).kind(),
        ]
    }

    #[test]
    fn an_answer_of_the_server_has_the_kind_that_its_code_says() {
        for (line, kind) in [
            (
                "LOADING Redis is loading the dataset in memory",
                Unreachable,
            ),
            ("BUSY Redis is busy running a script.", Unreachable),
            (
                "READONLY You can't write against a read only replica.",
                Unreachable,
            ),
            ("CLUSTERDOWN The cluster is down", Unreachable),
            ("MASTERDOWN Link with MASTER is down", Unreachable),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Unreachable,
            ),
            (
                "MISCONF Errors writing to the AOF file: No space left",
                Unreachable,
            ),
            ("NOREPLICAS Not enough good replicas to write.", Unreachable),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                Unreachable,
            ),
            (BECAME_A_REPLICA, Unreachable),
            ("ERR max number of clients reached", Unreachable),
            ("NOAUTH Authentication required.", Unauthorized),
            ("WRONGPASS invalid username-password pair", Unauthorized),
            (
                "NOPERM User a has no permissions to run the 'xadd' command",
                Unauthorized,
            ),
            (
                "ERR Protocol error: unauthenticated bulk length",
                Unauthorized,
            ),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                Refused,
            ),
            ("ERR unknown command 'XADD'", Refused),
            (
                "CROSSSLOT Keys in request don't hash to the same slot",
                Refused,
            ),
            ("ODD An unknown code", Refused),
            (
                "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
                TooLarge,
            ),
            ("ERR Protocol error: invalid bulk length", TooLarge),
        ] {
            assert_eq!(kinds(&answer(line)), [kind; 2], "{line}");
        }
    }

    const BECAME_A_REPLICA: &str = "UNBLOCKED force unblock from blocking operation, instance \
         state changed (master -> replica?)";

    #[test]
    fn a_connection_is_opened_again_if_its_server_is_not_the_primary_or_forgot_the_user() {
        for (line, ends) in [
            (
                "READONLY You can't write against a read only replica.",
                true,
            ),
            ("LOADING Redis is loading the dataset in memory", true),
            ("MASTERDOWN Link with MASTER is down", true),
            ("CLUSTERDOWN The cluster is down", true),
            ("NOREPLICAS Not enough good replicas to write.", true),
            ("NOAUTH Authentication required.", true),
            (BECAME_A_REPLICA, true),
            ("UNBLOCKED the stream key no longer exists", false),
            ("NOGROUP No such key 's' or consumer group 'g'", false),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                false,
            ),
            (
                "MISCONF Errors writing to the AOF file: No space left",
                false,
            ),
            ("BUSY Redis is busy running a script.", false),
            (
                "NOPERM User a has no permissions to run the 'xadd' command",
                false,
            ),
        ] {
            assert_eq!(ends_connection(&answer(line)), ends, "{line}");
        }
    }

    #[test]
    fn a_stream_that_is_deleted_under_a_read_is_missing() {
        for line in [
            "UNBLOCKED the stream key no longer exists",
            "NOGROUP the consumer group this client was blocked on no longer exists",
            "NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
        ] {
            assert!(is_missing(&answer(line)), "{line}");
        }
        assert!(!is_missing(&answer(BECAME_A_REPLICA)));
    }

    #[test]
    fn a_connection_that_fails_is_unreachable() {
        for kind in [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::TimedOut,
            io::ErrorKind::UnexpectedEof,
        ] {
            assert_eq!(
                kinds(&io::Error::from(kind).into()),
                [Unreachable; 2],
                "{kind:?}"
            );
        }
        let parse = RedisError::from((ErrorKind::Parse, "not RESP"));
        assert_eq!(kinds(&parse), [Unreachable; 2]);
    }

    #[test]
    fn credentials_and_settings_that_the_client_reports_are_no_outage() {
        let denied = RedisError::from((ErrorKind::AuthenticationFailed, "AUTH failed"));
        assert_eq!(kinds(&denied), [Unauthorized; 2]);
        let wrong = RedisError::from((ErrorKind::InvalidClientConfig, "no such database"));
        assert_eq!(kinds(&wrong), [Refused; 2]);
    }
}
