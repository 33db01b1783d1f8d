//! TLS with a server, the nodes of a cluster, and a primary and its Sentinels.

use std::time::Duration;

use static_bus_remote::{Transport, TransportErrorKind, transport::Consumer};

use crate::{
    input::{SECRET, refusal},
    support::*,
};
use test_brokers::{
    free_port,
    redis::{Redis, RedisOptions},
    sentinels::Sentinels,
};

/// The settings of a server with a certificate for this machine.
struct Tls {
    settings: Vec<(&'static str, String)>,
    /// The certificate of the authority.
    root: String,
    _files: tempfile::TempDir,
}

impl Tls {
    fn new() -> Self {
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let name = &mut authority.distinguished_name;
        // Another one than that of the server, or OpenSSL takes the certificate of the server for signed by itself.
        name.push(rcgen::DnType::CommonName, "authority");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let root = authority.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let server = rcgen::CertificateParams::new(names).unwrap();
        let server = server.signed_by(&key, &issuer).unwrap();

        let files = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = files.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let settings = vec![
            ("tls-cert-file", file("server.pem", &server.pem())),
            ("tls-key-file", file("key.pem", &key.serialize_pem())),
            ("tls-ca-cert-file", file("root.pem", &root.pem())),
            ("tls-auth-clients", "no".to_owned()),
        ];
        Tls {
            settings,
            root: root.pem(),
            _files: files,
        }
    }

    /// A server with the password `s3cr3t`, and TLS on this port.
    fn server(&self, more: &[&str]) -> (Redis, u16) {
        let port = free_port();
        let tls_port = ("tls-port", port.to_string());
        let settings = self.settings.iter().cloned().chain([tls_port]);
        let arguments = settings.flat_map(|(name, value)| [format!("--{name}"), value]);
        let more = more.iter().map(|argument| (*argument).to_owned());
        let redis = Redis::with(RedisOptions {
            password: Some(SECRET.to_owned()),
            arguments: arguments.chain(more).collect(),
            ..Default::default()
        });
        (redis, port)
    }
}

#[tokio::test]
async fn tls_is_spoken_with_a_server_whose_certificate_is_trusted() {
    let tls = Tls::new();
    let (_redis, port) = tls.server(&[]);
    let url = format!("rediss://:s3cr3t@localhost:{port}");

    let config = redis_at(&url).root_certificate(tls.root);
    let transport = config.clone().connect().await.unwrap();
    let consumer = transport.consume(subscription(command("c"), "member"));
    let consumer = consumer.await.unwrap();
    transport
        .append(vec![(command("c"), record("over TLS"))])
        .await
        .remove(0)
        .unwrap();
    let got = consumer.receive(1, Duration::from_secs(10)).await.unwrap();
    assert_eq!(got[0].record.body, "over TLS");

    // The operating system does not trust the authority.
    let text = refusal(&url).await;
    assert!(
        text.starts_with(&format!("rediss://localhost:{port}: ")),
        "{text}"
    );
    assert!(
        text.contains("certificate") && !text.contains("s3cr3t"),
        "{text}"
    );
    assert!(!format!("{config:?}").contains("s3cr3t"));
}

#[tokio::test]
async fn tls_and_the_password_are_used_for_the_nodes_of_a_cluster() {
    let bus = free_port().to_string();
    let of_cluster = format!("--cluster-enabled yes --tls-cluster yes --cluster-port {bus}");
    let of_cluster: Vec<_> = of_cluster.split(' ').collect();
    let tls = Tls::new();
    let (redis, port) = tls.server(&of_cluster);
    redis.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let builder = |secrets: &str| {
        let url = format!("rediss-cluster://{secrets}localhost:{port}");
        redis_at(url).root_certificate(tls.root.clone())
    };
    let transport = builder(":s3cr3t@").connect().await.unwrap();
    assert_eq!(
        transport.address(),
        format!("rediss-cluster://localhost:{port}")
    );
    eventually("the node serves its slots", async || {
        let records = vec![(command("c"), record("over TLS"))];
        transport.append(records).await.remove(0).is_ok()
    })
    .await;
    let consumer = transport.consume(subscription(command("c"), "member"));
    let got = receive(&consumer.await.unwrap(), 1).await;
    assert_eq!(bodies(&got), ["over TLS"]);
    for secrets in ["", ":wr0ng@", "user:wr0ng@"] {
        let error = builder(secrets).connect().await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Unauthorized, "{error}");
        assert!(!error.to_string().contains("wr0ng"), "{error}");
        assert!(!format!("{:?}", builder(secrets)).contains("wr0ng"));
    }
}

#[tokio::test]
async fn tls_and_the_password_are_used_for_a_primary_and_its_sentinels() {
    let tls = Tls::new();
    let (_redis, port) = tls.server(&[]);
    let settings = tls.settings.iter();
    let mut lines: Vec<_> = settings
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    lines.push("sentinel auth-pass primary s3cr3t".to_owned());
    let sentinels = Sentinels::with_tls(port, &lines.join("\n"));
    let builder = |credentials: &str| redis_at(sentinels.url_with(credentials));
    let trusting = |credentials: &str| builder(credentials).root_certificate(tls.root.clone());

    let transport = trusting(":s3cr3t@").connect().await.unwrap();
    assert_eq!(transport.address(), sentinels.url());
    let consumer = transport.consume(subscription(command("c"), "member"));
    let consumer = consumer.await.unwrap();
    append(&transport, &command("c"), [record("over TLS")]).await;
    assert_eq!(bodies(&receive(&consumer, 1).await), ["over TLS"]);

    let error = trusting(":wr0ng@").connect().await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unauthorized, "{error}");
    // The operating system does not trust the authority.
    let error = builder(":s3cr3t@").connect().await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
}
