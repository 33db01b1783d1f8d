//! The client of a member that stands still, on a server.

use super::*;
use crate::{KafkaTransport, offsets::list};
use rdkafka::consumer::Consumer as _;
use static_bus_remote::transport::{Record, Topic, Transport as _};
use test_brokers::kafka::Kafka;

/// A time that no healthy run comes near.
const LONG: Duration = Duration::from_secs(180);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection, a topic of one partition, and a member of its group.
async fn member(namespace: &str) -> (KafkaTransport, Topic, KafkaConsumer) {
    let builder = KafkaTransport::builder(Kafka::common().servers());
    let builder = builder.namespace(format!("still-{namespace}"));
    let builder = builder.partitions(1).deadline(Duration::from_secs(60));
    let timeout = REQUEST_TIMEOUT.as_millis().to_string();
    let transport = builder.set("socket.timeout.ms", timeout).connect().await;
    let transport = transport.unwrap();
    let topic = Topic {
        kind: Kind::Command,
        name: "orders.place".into(),
    };
    let subscription = Subscription::new(topic.clone(), "handlers", "one").with_lease(LONG);
    let member = transport.consume(subscription).await.unwrap();
    (transport, topic, member)
}

async fn append(transport: &KafkaTransport, topic: &Topic, bodies: &[&'static str]) {
    let record = |body: &&'static str| Record {
        body: (*body).into(),
        ..Record::default()
    };
    let records = bodies.iter().map(|body| (topic.clone(), record(body)));
    for result in transport.append(records.collect()).await {
        result.unwrap();
    }
}

/// Receives and acknowledges a record.
async fn handle(member: &KafkaConsumer, body: &str) {
    let received = member.receive(1, LONG).await.unwrap().remove(0);
    assert_eq!(received.record.body, body);
    let lease = Lease {
        receipt: received.receipt,
        claim: None,
    };
    member.acknowledge(&[lease]).await.unwrap();
}

#[tokio::test]
async fn a_client_that_fetches_no_more_is_replaced() {
    let (transport, topic, member) = member("replaced").await;
    append(&transport, &topic, &["first"]).await;
    handle(&member, "first").await;
    let client = member.member.assignment().client().unwrap();
    client.pause(&list(&member.topic, [0])).unwrap();
    drop(client);
    append(&transport, &topic, &["second"]).await;
    let looking = async {
        loop {
            member.backlog().await.unwrap();
            tokio::time::sleep(REQUEST_TIMEOUT / 4).await;
        }
    };
    tokio::select! {
        () = looking => {}
        () = handle(&member, "second") => {}
    }
    member.close().await.unwrap();
}

#[tokio::test]
async fn the_client_of_a_member_that_does_not_receive_is_kept() {
    let (transport, topic, member) = member("kept").await;
    append(&transport, &topic, &["first", "second", "third"]).await;
    handle(&member, "first").await;
    let client = |member: &KafkaConsumer| {
        let client = member.member.assignment().client().unwrap();
        Arc::as_ptr(&client)
    };
    let before = client(&member);
    let end = Instant::now() + 4 * REQUEST_TIMEOUT;
    while Instant::now() < end {
        assert_eq!(member.backlog().await.unwrap().lag, 2);
        tokio::time::sleep(REQUEST_TIMEOUT / 4).await;
    }
    handle(&member, "second").await;
    assert_eq!(client(&member), before);
    member.close().await.unwrap();
}
