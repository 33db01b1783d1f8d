//! Invalid settings. The error names the server and the remedy, and contains no password.

use std::{net::TcpListener, time::Duration};

use static_bus_kafka::Sasl;
use static_bus_remote::Transport as _;

use crate::support::*;
use test_brokers::kafka::Kafka;

const SECRET: &str = "s3cr3t";

/// An address on which no server listens.
fn unused_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn an_invalid_list_of_servers_is_refused() {
    for servers in ["", "kafka://a:9092", "user:s3cr3t@a:9092", "a b", "a:port"] {
        let text = refusal(kafka_at(servers), SECRET).await;
        assert!(
            text.contains("invalid list of servers: expected host:port"),
            "{servers}: {text}"
        );
    }
}

#[tokio::test]
async fn a_reserved_setting_is_refused() {
    let builder = kafka_at(unused_address()).set("enable.idempotence", "false");
    let text = refusal(builder, SECRET).await;
    assert!(
        text.ends_with("`enable.idempotence` cannot be set: records must not be duplicated"),
        "{text}"
    );
}

#[tokio::test]
async fn conflicting_settings_are_refused() {
    let servers = Kafka::common().servers();
    let builder = kafka_at(servers).set("max.in.flight", "100");
    let text = refusal(builder, SECRET).await;
    assert!(text.contains("max.in.flight"), "{text}");
}

#[tokio::test]
async fn a_refused_connection_names_the_server() {
    let servers = unused_address();
    let sasl = Sasl::Plain {
        user: "alice".to_owned(),
        password: SECRET.to_owned(),
    };
    let text = refusal(kafka_at(&servers).sasl(sasl), SECRET).await;
    assert!(
        text.starts_with(&format!("kafka://{servers}: no server can be reached")),
        "{text}"
    );
    assert!(text.contains("Connection refused"), "{text}");
    assert!(
        text.ends_with(
            "check the addresses, that Kafka is running, and whether the port expects TLS or SASL"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn an_unknown_host_name_is_reported() {
    let text = refusal(kafka_at("kafka.invalid:9092"), SECRET).await;
    assert!(text.starts_with("kafka://kafka.invalid:9092: "), "{text}");
    assert!(text.ends_with("check the names of the servers"), "{text}");
}

#[tokio::test]
async fn one_reachable_server_is_enough() {
    let servers = format!("{},{}", unused_address(), Kafka::common().servers());
    let kafka = kafka_at(&servers).connect().await.unwrap();
    assert_eq!(kafka.address(), format!("kafka://{servers}"));
    kafka.check().await.unwrap();
}

#[tokio::test]
async fn the_longest_deadline_is_accepted() {
    let builder = kafka_at(Kafka::common().servers()).namespace("longest");
    let transport = builder.deadline(Duration::MAX).connect().await.unwrap();
    let sent = vec![(command("orders.place"), record("1", None))];
    transport.append(sent).await.remove(0).unwrap();
}
