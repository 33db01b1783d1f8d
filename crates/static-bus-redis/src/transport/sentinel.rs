//! The URL of a primary that Sentinels know.

use redis::{
    Client, ConnectionAddr, ProtocolVersion, RedisResult, TlsCertificates, TlsMode,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};

use super::hosts::{Hosts, HostsUrl, malformed};

/// The port of a Sentinel without one in the URL.
const PORT: u16 = 26379;

/// The parts of `redis+sentinel://[[user]:password@]host[:port],…/name[/database]`. User, password and database are those
/// of the servers.
pub(super) struct SentinelUrl {
    hosts: Hosts,
    /// The name of the primary.
    name: String,
    /// A URL with user, password and database.
    server: String,
    is_tls: bool,
}

impl SentinelUrl {
    /// Returns `None` for another scheme.
    pub fn parse(url: &str) -> Option<RedisResult<Self>> {
        Some(HostsUrl::parse(url, "+sentinel", PORT)?.and_then(|url| {
            let (name, database) = url.path.split_once('/').unwrap_or((url.path, ""));
            if name.is_empty() {
                return Err(malformed("it names no primary"));
            }
            Ok(SentinelUrl {
                hosts: url.hosts,
                name: name.to_owned(),
                server: format!("redis://{}server/{database}", url.secrets),
                is_tls: url.is_tls,
            })
        }))
    }

    /// The URL without secrets.
    pub fn address(&self) -> String {
        let scheme = if self.is_tls { "rediss" } else { "redis" };
        format!("{scheme}+sentinel://{}/{}", self.hosts, self.name)
    }

    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// A client of the Sentinels.
    pub fn client(
        &self,
        sentinel_password: Option<&str>,
        root_certificate: Option<&[u8]>,
    ) -> RedisResult<SentinelClient> {
        let server = Client::open(&*self.server)?;
        let server = server.get_connection_info().redis_settings().clone();
        let hosts = self.hosts.0.iter().map(|(host, port)| match self.is_tls {
            true => ConnectionAddr::TcpTls {
                host: host.to_string(),
                port: *port,
                insecure: false,
                tls_params: None,
            },
            false => ConnectionAddr::Tcp(host.to_string(), *port),
        });
        let role = SentinelServerType::Master;
        let mut builder = SentinelClientBuilder::new(hosts, &self.name, role)?
            .set_client_to_redis_db(server.db())
            // With RESP3 the client library reports the end of an idle connection.
            .set_client_to_redis_protocol(ProtocolVersion::RESP3);
        if let Some(user) = server.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = server.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(password) = sentinel_password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if self.is_tls {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
            if let Some(pem) = root_certificate {
                let certificates = || TlsCertificates {
                    client_tls: None,
                    root_cert: Some(pem.to_owned()),
                };
                builder = builder
                    .set_client_to_redis_certificates(certificates())
                    .set_client_to_sentinel_certificates(certificates());
            }
        }
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::SentinelUrl;

    #[test]
    fn a_url_has_several_sentinels_and_the_name_of_the_primary() {
        for (url, address) in [
            ("redis+sentinel://a/shop", "redis+sentinel://a:26379/shop"),
            (
                "redis+sentinel://u:s3cr3t@a:1,b,[::1]:6379,[::2]/shop/3",
                "redis+sentinel://a:1,b:26379,[::1]:6379,[::2]:26379/shop",
            ),
            (
                "rediss+sentinel://:s3cr3t@a:6379/shop",
                "rediss+sentinel://a:6379/shop",
            ),
        ] {
            let parsed = SentinelUrl::parse(url).unwrap().unwrap();
            assert_eq!(parsed.address(), address);
            parsed.client(Some("other"), None).unwrap();
        }
    }

    #[test]
    fn a_url_without_a_name_or_with_an_odd_host_is_refused() {
        for url in [
            "redis+sentinel://a",
            "redis+sentinel://a/",
            "redis+sentinel:///shop",
            "redis+sentinel://a,,b/shop",
            "redis+sentinel://a:port/shop",
            "redis+sentinel://user:12/s3cr3t@a/shop",
        ] {
            assert!(SentinelUrl::parse(url).unwrap().is_err(), "{url}");
        }
        assert!(SentinelUrl::parse("redis://a/0").is_none());
        assert!(SentinelUrl::parse("http+sentinel://a/0").is_none());
    }
}
