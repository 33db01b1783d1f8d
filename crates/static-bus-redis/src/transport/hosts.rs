//! URLs with several hosts.

use std::fmt;

use redis::{Client, ConnectionAddr, ErrorKind, RedisError, RedisResult};

use super::super::cluster::Address;

/// The parts of a URL `scheme://[[user]:password@]host[:port],…[/path]`.
#[derive(Debug)]
pub(super) struct HostsUrl<'u> {
    /// `[user]:password@`, or empty.
    pub secrets: &'u str,
    pub hosts: Hosts,
    pub path: &'u str,
    pub is_tls: bool,
}

/// The hosts of a URL. They are written as in a URL.
#[derive(Debug)]
pub(super) struct Hosts(pub Vec<Address>);

impl<'u> HostsUrl<'u> {
    /// Parses a URL whose scheme is `redis` or `rediss` with this ending. A host without a port gets this one. Returns
    /// `None` for another scheme.
    pub fn parse(url: &'u str, ending: &str, port: u16) -> Option<RedisResult<Self>> {
        let (scheme, rest) = url.split_once("://")?;
        let is_tls = match scheme.strip_suffix(ending)? {
            "redis" => false,
            "rediss" => true,
            _ => return None,
        };
        Some(Self::parse_rest(rest, port, is_tls))
    }

    fn parse_rest(rest: &'u str, port: u16, is_tls: bool) -> RedisResult<Self> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if path.contains('@') {
            // The rest of a password that is not encoded.
            return Err(malformed("there is an @ after the first /"));
        }
        let (secrets, hosts) = match authority.rfind('@') {
            Some(end) => authority.split_at(end + 1),
            None => ("", authority),
        };
        let host = |host: &str| {
            let client = Client::open(format!("redis://{host}"))?;
            match client.get_connection_info().addr() {
                // The client library has added the port of a server.
                ConnectionAddr::Tcp(name, _) if !has_port(host) => Ok((name.as_str().into(), port)),
                ConnectionAddr::Tcp(name, port) => Ok((name.as_str().into(), *port)),
                _ => Err(malformed("each server has a host and a port")),
            }
        };
        let hosts = hosts.split(',').map(host).collect::<RedisResult<_>>()?;
        Ok(HostsUrl {
            secrets,
            hosts: Hosts(hosts),
            path,
            is_tls,
        })
    }
}

/// The error of a URL.
pub(super) fn malformed(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, what))
}

/// Returns whether a host of a URL has a port. A colon in brackets belongs to an address of IPv6.
fn has_port(host: &str) -> bool {
    let after_brackets = host.rsplit(']').next().unwrap_or(host);
    after_brackets.contains(':')
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (host, port)) in self.0.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            match host.contains(':') {
                true => write!(f, "{comma}[{host}]:{port}")?,
                false => write!(f, "{comma}{host}:{port}")?,
            }
        }
        Ok(())
    }
}
