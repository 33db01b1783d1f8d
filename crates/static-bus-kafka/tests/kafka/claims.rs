//! Topics of claims that are deleted.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use static_bus_remote::{
    Transport as _,
    transport::{Claim, Consumer as _, Lease, Subscription},
};

use crate::support::*;
use test_brokers::kafka::Kafka;

/// A member that holds a claim when the topic of claims is deleted can acknowledge, and claim again.
#[tokio::test]
async fn a_topic_of_claims_that_was_deleted_is_created_again() {
    for (namespace, exactly_once) in [("claims-gone", false), ("claims-gone-once", true)] {
        let kafka = kafka_at(Kafka::common().servers()).namespace(namespace);
        let kafka = kafka.partitions(1).deadline(Duration::from_secs(3));
        let kafka = match exactly_once {
            true => kafka.exactly_once(),
            false => kafka,
        };
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
                    Ok(claims) => assert_eq!(claims, [Claim::Held], "{namespace}"),
                    Err(error) => assert!(Instant::now() < end, "{namespace}: {error}"),
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
            while let Err(error) = member.acknowledge(std::slice::from_ref(&lease)).await {
                assert!(Instant::now() < end, "{namespace}: {error}");
            }
        }
        member.close().await.unwrap();
        let effects = format!("{namespace}.command.effect");
        let effects = contents(Kafka::common().servers(), &effects).await;
        assert_eq!(effects.len(), 2, "{namespace}");
    }
}
