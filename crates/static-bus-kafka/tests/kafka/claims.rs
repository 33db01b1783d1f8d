//! Topics of claims that are deleted.

use std::{sync::Arc, time::Instant};

use static_bus_kafka::KafkaTransportBuilder;
use static_bus_remote::{
    Transport as _,
    transport::{Claim, Consumer as _, Lease, Subscription},
};

use crate::support::*;
use test_brokers::kafka::Kafka;

/// A member that holds a claim when the topic of claims is deleted can acknowledge, and claim again.
async fn outlives_its_claims(namespace: &str, kafka: KafkaTransportBuilder) {
    let kafka = kafka.namespace(namespace).partitions(1);
    let kafka = kafka.connect().await.unwrap();
    let topic = command("cause");
    let causes = ["one", "two"].map(|body| (topic.clone(), record(body, None)));
    for result in kafka.append(causes.into()).await {
        result.unwrap();
    }
    let subscription = Subscription::new(topic, "handlers", "one");
    let member = kafka.consume(subscription.with_lease(LONG)).await.unwrap();
    let end = Instant::now() + LONG;
    for is_first in [true, false] {
        let delivery = member.receive(1, LONG).await.unwrap().remove(0);
        let key: Arc<str> = (&*String::from_utf8_lossy(&delivery.record.body)).into();
        loop {
            match member.claim(std::slice::from_ref(&key)).await {
                Ok(claims) if claims == [Claim::Granted] => break,
                Ok(claims) => assert_eq!(claims, [Claim::Held]),
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
        }
        let mut output = record("", None);
        output.scope = member.begin(&delivery.receipt);
        let sent = kafka.append(vec![(command("effect"), output)]).await;
        sent.into_iter().next().unwrap().unwrap();
        if is_first {
            delete(&format!("{namespace}.claims.command.cause-at-handlers")).await;
        }
        let lease = Lease {
            receipt: delivery.receipt,
            claim: Some(key),
        };
        succeeds(async || member.acknowledge(std::slice::from_ref(&lease)).await).await;
    }
    member.close().await.unwrap();
    let effects = format!("{namespace}.command.effect");
    let effects = contents(Kafka::common().servers(), &effects).await;
    assert_eq!(effects.len(), 2);
}

#[tokio::test]
async fn a_topic_of_claims_that_was_deleted_is_created_again() {
    outlives_its_claims("claims-gone", kafka_at(Kafka::common().servers())).await;
}

#[tokio::test]
async fn a_topic_of_claims_that_was_deleted_is_created_again_exactly_once() {
    let kafka = kafka_at(Kafka::common().servers()).exactly_once();
    outlives_its_claims("claims-gone-once", kafka).await;
}
