//! TLS and SASL.

use std::{path::PathBuf, sync::OnceLock};

use static_bus_kafka::{KafkaTransportBuilder, Sasl, Tls};
use static_bus_remote::{Transport as _, transport::Record};

use crate::support::*;
use test_brokers::kafka::{Kafka, KafkaOptions};

const PASSWORD: &str = "alice-secret";
const WRONG: &str = "s3cr3t";

fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| {
        Kafka::with(KafkaOptions {
            secure: true,
            client_certificates: true,
            ..KafkaOptions::default()
        })
    })
}

fn each_mechanism(user: &str, password: &str) -> [Sasl; 3] {
    let (user, password) = (user.to_owned(), password.to_owned());
    [
        Sasl::Plain {
            user: user.clone(),
            password: password.clone(),
        },
        Sasl::ScramSha256 {
            user: user.clone(),
            password: password.clone(),
        },
        Sasl::ScramSha512 { user, password },
    ]
}

fn tls(ca: Option<PathBuf>) -> Tls {
    Tls {
        ca,
        ..Tls::default()
    }
}

async fn assert_works(builder: KafkaTransportBuilder) {
    let shown = format!("{builder:?}");
    assert!(!shown.contains(PASSWORD), "{shown}");
    let kafka = builder.connect().await.expect(&shown);
    assert!(!format!("{kafka:?}").contains(PASSWORD), "{kafka:?}");
    let record = (command("security"), Record::default());
    kafka.append(vec![record]).await.remove(0).expect(&shown);
}

#[tokio::test]
async fn a_user_logs_in_with_each_mechanism() {
    for sasl in each_mechanism("alice", PASSWORD) {
        assert_works(kafka_at(kafka().sasl()).sasl(sasl.clone())).await;
        let builder = kafka_at(kafka().sasl_tls()).sasl(sasl);
        assert_works(builder.tls(tls(Some(kafka().ca())))).await;
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused() {
    for user in ["alice", "nobody"] {
        for sasl in each_mechanism(user, WRONG) {
            let builder = kafka_at(kafka().sasl()).sasl(sasl);
            let text = refusal(builder, WRONG).await;
            let start = format!("kafka://{}: the credentials are refused", kafka().sasl());
            assert!(text.starts_with(&start), "{text}");
            assert!(
                text.ends_with(
                    "check the user, the password and the mechanism, and that the cluster has this user"
                ),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn no_credentials_are_refused() {
    let text = refusal(kafka_at(kafka().sasl()), WRONG).await;
    assert!(
        text.starts_with(&format!("kafka://{}: ", kafka().sasl())),
        "{text}"
    );
    assert!(
        text.ends_with("whether the port expects TLS or SASL"),
        "{text}"
    );
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused() {
    let [_, _, sasl] = each_mechanism("alice", WRONG);
    let builder = kafka_at(kafka().sasl_tls());
    let text = refusal(builder.sasl(sasl).tls(tls(None)), WRONG).await;
    assert!(text.contains("certificate verify failed"), "{text}");
    assert!(
        text.ends_with("check `Tls::ca`, and that the port expects TLS"),
        "{text}"
    );
}

#[tokio::test]
async fn a_port_with_another_protocol_is_reported() {
    let builder = kafka_at(kafka().servers()).tls(tls(Some(kafka().ca())));
    let text = refusal(builder, WRONG).await;
    assert!(
        text.ends_with("check `Tls::ca`, and that the port expects TLS"),
        "{text}"
    );
    let text = refusal(kafka_at(kafka().tls()), WRONG).await;
    assert!(
        text.ends_with("whether the port expects TLS or SASL"),
        "{text}"
    );
}

#[tokio::test]
async fn a_missing_file_is_reported() {
    let builder = kafka_at(kafka().tls());
    let text = refusal(builder.tls(tls(Some("/no/such.pem".into()))), WRONG).await;
    assert!(text.contains("ssl.ca.location"), "{text}");
}

#[tokio::test]
async fn a_client_certificate_is_presented() {
    let builder = || kafka_at(kafka().tls());
    assert_works(builder().tls(Tls {
        ca: Some(kafka().ca()),
        certificate: Some(kafka().ca()),
        key: Some(kafka().key()),
        key_password: None,
    }))
    .await;
    let text = refusal(builder().tls(tls(Some(kafka().ca()))), WRONG).await;
    assert!(
        text.starts_with(&format!("kafka://{}: ", kafka().tls())),
        "{text}"
    );
}
