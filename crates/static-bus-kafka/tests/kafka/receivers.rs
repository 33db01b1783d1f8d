//! Queries of groups that a sender may not describe.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use static_bus_kafka::Sasl;
use static_bus_remote::{
    Transport as _,
    transport::{Kind, Topic, TransportErrorKind},
};

use crate::support::*;
use test_brokers::kafka::{Kafka, KafkaOptions};

/// Denies `alice` each operation on a group.
fn deny(servers: &str, group: &str) {
    let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    // `CreateAcls`, version 1, of one rule. The resource is a group with this name.
    let request = [
        &[0, 30, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 1, 3][..],
        &text(group),
        &[3],
        &text("User:alice"),
        &text("*"),
        &[2, 2],
    ]
    .concat();
    let mut stream = TcpStream::connect(servers).unwrap();
    let size = u32::try_from(request.len()).unwrap();
    stream.write_all(&size.to_be_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    // The size, the id, the time of throttling, the number of results, and the error of the first.
    let mut response = [0; 18];
    stream.read_exact(&mut response).unwrap();
    assert_eq!(response[12..], [0, 0, 0, 1, 0, 0], "{response:?}");
}

#[tokio::test]
async fn a_query_is_accepted_if_the_sender_cannot_know_its_receivers() {
    let options = KafkaOptions {
        secure: true,
        properties: vec![
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".into(),
            "super.users=User:ANONYMOUS".into(),
            "allow.everyone.if.no.acl.found=true".into(),
        ],
        ..KafkaOptions::default()
    };
    let server = tokio::task::spawn_blocking(|| Kafka::with(options));
    let server = server.await.unwrap();
    deny(server.servers(), "static-bus.query.hidden@handlers");
    let sasl = Sasl::Plain {
        user: "alice".to_owned(),
        password: "alice-secret".to_owned(),
    };
    let kafka = kafka_at(server.sasl()).sasl(sasl).connect().await.unwrap();
    let send = async |name: &'static str| {
        let topic = Topic {
            kind: Kind::Query,
            name: name.into(),
        };
        kafka
            .append(vec![(topic, record("", None))])
            .await
            .remove(0)
    };
    send("hidden").await.unwrap();
    // A new cluster has no coordinator of groups at first.
    let begin = Instant::now();
    let refused = loop {
        match send("visible").await {
            Ok(()) => assert!(begin.elapsed() < Duration::from_secs(180), "accepted"),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.kind(), TransportErrorKind::NoReceiver, "{refused}");
    // One permission says nothing about another group.
    send("hidden").await.unwrap();
}
