//! What users get wrong: the error names the server and the remedy, and never the password.

use std::net::TcpListener;

use static_bus_kafka::{KafkaTransport, Sasl};
use static_bus_remote::Transport as _;

use crate::support::*;
use test_brokers::kafka::Kafka;

const SECRET: &str = "s3cr3t";

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn servers_that_cannot_be_read_are_refused() {
    for servers in ["", "kafka://a:9092", "user:s3cr3t@a:9092", "a b", "a:port"] {
        let text = refusal(KafkaTransport::builder(servers), SECRET).await;
        assert!(
            text.contains("the servers cannot be read: they are host:port"),
            "{servers}: {text}"
        );
    }
}

#[tokio::test]
async fn an_unknown_setting_is_refused() {
    let servers = Kafka::common().servers();
    let builder = KafkaTransport::builder(servers).set("lingr.ms", "2");
    assert_eq!(
        refusal(builder, SECRET).await,
        format!(
            "kafka://{servers}: there is no setting `lingr.ms`: its name has to be one of librdkafka's \
             configuration"
        )
    );
}

#[tokio::test]
async fn a_setting_that_breaks_a_promise_is_refused() {
    let builder = KafkaTransport::builder(nobody()).set("enable.idempotence", "false");
    let text = refusal(builder, SECRET).await;
    assert!(
        text.ends_with("`enable.idempotence` cannot be set: records must not be doubled"),
        "{text}"
    );
}

#[tokio::test]
async fn settings_that_do_not_fit_together_are_refused() {
    let servers = Kafka::common().servers();
    let builder = KafkaTransport::builder(servers).set("max.in.flight", "100");
    let text = refusal(builder, SECRET).await;
    assert!(text.contains("max.in.flight"), "{text}");
}

#[tokio::test]
async fn a_refused_connection_names_the_server() {
    let servers = nobody();
    let sasl = Sasl::Plain {
        user: "alice".to_owned(),
        password: SECRET.to_owned(),
    };
    let text = refusal(KafkaTransport::builder(&servers).sasl(sasl), SECRET).await;
    assert!(
        text.starts_with(&format!("kafka://{servers}: no server can be reached")),
        "{text}"
    );
    assert!(text.contains("Connection refused"), "{text}");
    assert!(
        text.ends_with(
            "check the addresses, that Kafka runs there, and whether the port wants TLS or SASL"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn a_name_that_is_not_known_is_told() {
    let text = refusal(KafkaTransport::builder("kafka.invalid:9092"), SECRET).await;
    assert!(text.starts_with("kafka://kafka.invalid:9092: "), "{text}");
    assert!(text.ends_with("check the servers' names"), "{text}");
}

#[tokio::test]
async fn one_server_that_can_be_reached_is_enough() {
    let servers = format!("{},{}", nobody(), Kafka::common().servers());
    let kafka = KafkaTransport::connect(&servers).await.unwrap();
    assert_eq!(kafka.address(), format!("kafka://{servers}"));
    kafka.check().await.unwrap();
}
