//! What an error of the client library means to whoever operates the server.

use std::{borrow::Cow, sync::Arc};

use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, RedisError};

use static_bus_remote::transport::TransportError;

/// Why no connection could be opened.
pub(super) fn connect_error(address: &Arc<str>, error: &RedisError) -> TransportError {
    let text = error.to_string();
    let tls = address.starts_with("rediss:");
    let reason: Cow<'static, str> = if error.is_connection_refusal() {
        "nobody listens there: start the server, or correct the host and port of the URL".into()
    } else if error.kind() == ErrorKind::RESP3NotSupported {
        "the server is too old: Redis 7.0 or later, or Valkey, is needed".into()
    } else if denied(error, &text) {
        "the server refuses the credentials: correct user and password in the URL, \
         redis://user:password@host:port, or the server's ACL"
            .into()
    } else if tls && (error.kind() == ErrorKind::Io || error.kind() == ErrorKind::Parse) {
        format!(
            "no TLS connection ({text}): is it a TLS port, and is its certificate valid for this \
             name and known to this machine? Without TLS the URL begins with redis://"
        )
        .into()
    } else if error.is_timeout() {
        format!("{text}: is the host right, and does a firewall let the connection through?").into()
    } else if error.kind() == ErrorKind::Parse || error.is_connection_dropped() {
        format!(
            "the server does not speak as Redis does ({text}): correct the port, \
             or begin the URL with rediss:// if it is a TLS port"
        )
        .into()
    } else {
        format!("no connection: {text}").into()
    };
    with_source(address, reason, error)
}

/// Why a command failed.
pub(super) fn reply_error(address: &Arc<str>, error: &RedisError) -> TransportError {
    // The client puts the code in quotes.
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    let remedy = match error.code() {
        Some("NOAUTH" | "WRONGPASS") => "correct user and password in the URL",
        Some("NOPERM") => "give the user the permission with ACL SETUSER",
        Some("OOM") => "the server is full: raise `maxmemory`",
        Some("READONLY") => "this is a replica: the URL has to name the primary",
        Some("LOADING") => "the server is starting: try again",
        Some("MISCONF") => "the server cannot save: look at its disk and its log",
        Some("WRONGTYPE") => "the key is used by something else: choose another namespace",
        _ if error.is_timeout() => {
            "the server is overloaded or cannot be reached, and may or may not have done it"
        }
        _ if error.is_io_error() => {
            "the connection was lost, and the server may or may not have done it: call again"
        }
        _ => "see the server's log",
    };
    with_source(address, format!("{text}; {remedy}").into(), error)
}

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
    TransportError {
        address: address.clone(),
        reason,
        source: Some(Arc::new(error.clone())),
    }
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

/// What can be shown of a URL that cannot be read. A password could be anywhere in it, so little is.
pub(super) fn address_of_malformed(url: &str) -> Arc<str> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let scheme = match scheme
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'+')
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
