//! The URL of a cluster, and the clients of its nodes.

use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo, RedisResult, TlsCertificates};

use super::{
    super::{
        cluster::Address,
        errors,
        server::{Server, Source},
    },
    hosts::{Hosts, HostsUrl, malformed},
};

/// The port of a node without one in the URL.
const PORT: u16 = 6379;

/// The parts of `redis-cluster://[[user]:password@]host[:port],…`.
pub(super) struct ClusterUrl {
    hosts: Hosts,
    /// A URL with user and password.
    server: String,
    is_tls: bool,
}

impl ClusterUrl {
    /// Returns `None` for another scheme.
    pub fn parse(url: &str) -> Option<RedisResult<Self>> {
        Some(
            HostsUrl::parse(url, "-cluster", PORT)?.and_then(|url| match url.path {
                "" | "0" => Ok(ClusterUrl {
                    hosts: url.hosts,
                    server: format!("redis://{}server", url.secrets),
                    is_tls: url.is_tls,
                }),
                _ => Err(malformed("a cluster has no database but 0")),
            }),
        )
    }

    /// The URL without secrets.
    pub fn address(&self) -> String {
        let scheme = if self.is_tls { "rediss" } else { "redis" };
        format!("{scheme}-cluster://{}", self.hosts)
    }

    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The servers of the URL.
    pub fn seeds(&self) -> Vec<Address> {
        self.hosts.0.clone()
    }

    /// Makes the server at an address.
    pub fn servers(
        &self,
        root_certificate: Option<&[u8]>,
        deadline: Duration,
    ) -> RedisResult<impl Fn(&Address) -> Server + Send + Sync + use<>> {
        let settings = self.settings(root_certificate)?;
        Ok(move |(host, port): &Address| {
            let host = host.to_string();
            let address = match settings.addr() {
                ConnectionAddr::TcpTls { tls_params, .. } => ConnectionAddr::TcpTls {
                    host,
                    port: *port,
                    insecure: false,
                    tls_params: tls_params.clone(),
                },
                _ => ConnectionAddr::Tcp(host, *port),
            };
            let info = settings.clone().set_addr(address);
            let address = errors::address(&info);
            let client = Client::open(info).expect("the settings of a client are valid");
            Server::new(Source::address(&client), address, deadline)
        })
    }

    /// The settings of all clients, with the address of none.
    fn settings(&self, root_certificate: Option<&[u8]>) -> RedisResult<ConnectionInfo> {
        let client = Client::open(&*self.server)?;
        let info = client.get_connection_info().clone();
        if !self.is_tls {
            return Ok(info);
        }
        let info = info.set_addr(ConnectionAddr::TcpTls {
            host: "server".to_owned(),
            port: PORT,
            insecure: false,
            tls_params: None,
        });
        let Some(pem) = root_certificate else {
            return Ok(info);
        };
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: Some(pem.to_owned()),
        };
        let client = Client::build_with_tls(info, certificates)?;
        Ok(client.get_connection_info().clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::ClusterUrl;

    #[test]
    fn a_url_has_several_nodes() {
        for (url, address) in [
            ("redis-cluster://a", "redis-cluster://a:6379"),
            (
                "redis-cluster://u:s3cr3t@a:1,b,[::1]:2/0",
                "redis-cluster://a:1,b:6379,[::1]:2",
            ),
            ("rediss-cluster://:s3cr3t@a/", "rediss-cluster://a:6379"),
        ] {
            let parsed = ClusterUrl::parse(url).unwrap().unwrap();
            assert_eq!(parsed.address(), address);
            _ = parsed.servers(None, Duration::from_secs(1)).unwrap();
        }
    }

    #[test]
    fn a_url_with_a_database_or_an_odd_host_is_refused() {
        for url in [
            "redis-cluster://",
            "redis-cluster://a,,b",
            "redis-cluster://a:port",
            "redis-cluster://a/3",
            "redis-cluster://user:12/s3cr3t@a",
        ] {
            assert!(ClusterUrl::parse(url).unwrap().is_err(), "{url}");
        }
        assert!(ClusterUrl::parse("redis://a/0").is_none());
        assert!(ClusterUrl::parse("http-cluster://a").is_none());
    }
}
