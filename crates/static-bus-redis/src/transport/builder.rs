//! The settings of a connection.

use std::{fmt, sync::Arc, time::Duration};

use redis::{Client, ConnectionAddr, ConnectionInfo, RedisError, RedisResult, TlsCertificates};

use super::{
    super::{
        errors::{address, address_of_malformed, connect_error},
        partitions::PARTITIONS,
        server::{Server, Source},
        servers::Servers,
    },
    RedisTransport,
    inspect::inspect,
    nodes::ClusterUrl,
    sentinel::SentinelUrl,
};
use static_bus_remote::{
    time::LONGEST_DEADLINE,
    transport::{RECEIVER_GRACE, TransportError, TransportErrorKind},
};

/// The settings of a connection: [`RedisTransport::builder`], then [`connect`](RedisTransportBuilder::connect).
#[derive(Clone)]
pub struct RedisTransportBuilder {
    url: String,
    pub(super) namespace: String,
    pub(super) partitions: usize,
    deadline: Duration,
    pub(super) block: Duration,
    pub(super) receiver_grace: Duration,
    pub(super) max_record: usize,
    pub(super) replicas: usize,
    root_certificate: Option<Vec<u8>>,
    sentinel_password: Option<String>,
}

impl RedisTransportBuilder {
    pub(super) fn new(url: String) -> Self {
        RedisTransportBuilder {
            url,
            namespace: "static-bus".to_owned(),
            partitions: 8,
            deadline: Duration::from_secs(5),
            block: Duration::from_secs(2),
            receiver_grace: RECEIVER_GRACE,
            max_record: 512 << 20,
            replicas: 0,
            root_certificate: None,
            sentinel_password: None,
        }
    }

    /// The password of the Sentinels, if they have one: that in the URL is the servers'. Default: none.
    #[must_use]
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(password.into());
        self
    }

    /// The certificate authority, in PEM, that a `rediss://` server's certificate must come from. Default: those
    /// that the operating system trusts.
    #[must_use]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificate = Some(pem.into());
        self
    }

    /// The prefix of all keys on the server. Programs with different namespaces share nothing. In a cluster, a namespace with
    /// braces, `{shop}`, has all its keys in one slot. Default: `static-bus`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The number of partitions of new topics: the number of members of a group that can consume records with keys
    /// at the same time. Default: 8.
    ///
    /// An existing topic keeps its number, because another number would break the order of its keys.
    ///
    /// # Panics
    /// If the number is not between 1 and 1,000.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        assert!(
            PARTITIONS.contains(&partitions),
            "a topic has between 1 and 1,000 partitions"
        );
        self.partitions = partitions;
        self
    }

    /// The longest time that a call waits for the server, an hour at most. Default: 5 s. Large records have more time: a second for each
    /// 250 kB that are sent in one round trip, and up to eight times the deadline for one that is received.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(LONGEST_DEADLINE);
        self
    }

    /// The longest time that one read blocks on the server before it is repeated. Default: 2 s. Reads of commands
    /// and events block for half a second at most.
    #[must_use]
    pub fn block(mut self, block: Duration) -> Self {
        self.block = block;
        self
    }

    /// The time for which queries are accepted after the last receiver of their topic has closed or disappeared. Then they
    /// are refused with [`NoReceiver`](TransportErrorKind::NoReceiver), as are those of a topic that never had one.
    /// Receivers announce themselves every second, or four times in a shorter grace time, and at once on a new connection.
    /// After an outage, queries are accepted for a deadline and two seconds, until receivers have connected again.
    /// Default: 30 s.
    #[must_use]
    pub fn receiver_grace(mut self, grace: Duration) -> Self {
        self.receiver_grace = grace;
        self
    }

    /// The number of replicas that must have a record before it is confirmed, with `WAIT`: a failover to one of them does
    /// not lose it. In a cluster, the number of replicas of each primary. If they are fewer within half of the deadline, the
    /// result is an error, and the server may have the record. Each send then takes the time of a replication, and other
    /// calls of the process wait for it. Default: 0.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// The largest size of a record in bytes, of headers, body and key together. Larger ones are refused with
    /// [`TooLarge`](TransportErrorKind::TooLarge) before they are sent. Dead letters may be larger by
    /// [`DEAD_LETTER_HEADROOM`](static_bus_remote::transport::DEAD_LETTER_HEADROOM). The setting `proto-max-bulk-len` of
    /// the server must be greater by this and a kilobyte. Default: 512 MB, the default of the server.
    #[must_use]
    pub fn max_record(mut self, bytes: usize) -> Self {
        self.max_record = bytes;
        self
    }

    /// Connects, and checks that the server, or each primary of a cluster that can be reached, is suitable.
    ///
    /// # Errors
    /// If the URL is invalid, or no server can be reached, or one refuses the credentials, is older than Redis 7.0, is of
    /// another kind than the URL says (Sentinel, part of a cluster, single server), or may evict messages when memory is
    /// short. Of a cluster also if the namespace contains `{}` before any other `{`.
    pub async fn connect(self) -> Result<RedisTransport, TransportError> {
        let servers = Arc::new(self.servers()?);
        if servers.is_cluster() {
            self.check_namespace(&servers)?;
        }
        inspect(&servers).await?;
        servers.begin();
        Ok(RedisTransport::new(servers, &self))
    }

    /// # Errors
    /// If the namespace has an empty hash tag. Then the whole key decides its slot, and those of a topic differ.
    fn check_namespace(&self, servers: &Servers) -> Result<(), TransportError> {
        let after = self.namespace.split_once('{');
        if after.is_none_or(|(_, rest)| !rest.starts_with('}')) {
            return Ok(());
        }
        let reason = "the namespace begins its braces with {}, and the keys of a topic would be in different slots of the \
                      cluster: choose another one";
        let kind = TransportErrorKind::Refused;
        Err(TransportError::new(kind, servers.address().clone(), reason))
    }

    fn servers(&self) -> Result<Servers, TransportError> {
        let Some(url) = ClusterUrl::parse(&self.url) else {
            let (source, address) = self.source()?;
            return Ok(Servers::one(Server::new(source, address, self.deadline)));
        };
        let url = url.map_err(|e| self.malformed(&e))?;
        let address = Arc::<str>::from(url.address());
        if url.is_tls() {
            install_cryptography();
        }
        let server = url.servers(self.root_certificate.as_deref(), self.deadline);
        let server = server.map_err(|e| connect_error(&address, &e))?;
        Ok(Servers::cluster(
            address,
            self.deadline,
            url.seeds(),
            server,
        ))
    }

    fn malformed(&self, error: &RedisError) -> TransportError {
        let reason = format!(
            "the URL cannot be read ({error}): it is redis://[[user]:password@]host[:port][/database], \
             or redis+sentinel://[[user]:password@]host[:port],…/name[/database], \
             or redis-cluster://[[user]:password@]host[:port],…, or begins with rediss for TLS, \
             with special characters of user and password percent-encoded"
        );
        let kind = TransportErrorKind::Refused;
        TransportError::new(kind, address_of_malformed(&self.url), reason)
    }

    /// Where the primary is, and the address for errors.
    fn source(&self) -> Result<(Source, Arc<str>), TransportError> {
        if let Some(url) = SentinelUrl::parse(&self.url) {
            let url = url.map_err(|e| self.malformed(&e))?;
            let address = url.address().into();
            if url.is_tls() {
                install_cryptography();
            }
            let password = self.sentinel_password.as_deref();
            let client = url.client(password, self.root_certificate.as_deref());
            let client = client.map_err(|e| connect_error(&address, &e))?;
            return Ok((Source::Sentinels(client.into()), address));
        }
        let client = Client::open(&*self.url).map_err(|e| self.malformed(&e))?;
        let info = client.get_connection_info().clone();
        let address = address(&info);
        let client = match info.addr() {
            ConnectionAddr::TcpTls { .. } => {
                install_cryptography();
                self.with_certificate(client, info)
                    .map_err(|e| connect_error(&address, &e))?
            }
            _ => client,
        };
        Ok((Source::address(&client), address))
    }

    fn with_certificate(&self, client: Client, info: ConnectionInfo) -> RedisResult<Client> {
        let Some(pem) = &self.root_certificate else {
            return Ok(client);
        };
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: Some(pem.clone()),
        };
        Client::build_with_tls(info, certificates)
    }
}

/// Installs a provider of cryptography if the program has none: the client library would panic.
fn install_cryptography() {
    use rustls::crypto::{CryptoProvider, ring};
    if CryptoProvider::get_default().is_none() {
        // Fails if another thread has installed one meanwhile.
        let _ = ring::default_provider().install_default();
    }
}

impl fmt::Debug for RedisTransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = match (SentinelUrl::parse(&self.url), ClusterUrl::parse(&self.url)) {
            (Some(Ok(url)), _) => Some(url.address().into()),
            (_, Some(Ok(url))) => Some(url.address().into()),
            _ => None,
        };
        let one = || Client::open(&*self.url).map(|client| address(client.get_connection_info()));
        let url = several.or_else(|| one().ok());
        let url = url.unwrap_or_else(|| address_of_malformed(&self.url));
        f.debug_struct("RedisTransportBuilder")
            .field("url", &url)
            .field("namespace", &self.namespace)
            .field("partitions", &self.partitions)
            .field("deadline", &self.deadline)
            .field("block", &self.block)
            .field("receiver_grace", &self.receiver_grace)
            .field("max_record", &self.max_record)
            .field("replicas", &self.replicas)
            .field("root_certificate", &self.root_certificate.is_some())
            .finish()
    }
}
