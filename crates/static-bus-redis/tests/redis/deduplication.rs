//! Deduplication keys: what they cost on the server, and when they are removed.

use std::{sync::Arc, time::Duration};

use static_bus_remote::{
    Transport,
    transport::{Claim, Consumer},
};

use crate::support::*;
use test_brokers::redis::Redis;

fn keys(keys: &[&str]) -> Vec<Arc<str>> {
    keys.iter().map(|key| Arc::from(*key)).collect()
}

#[tokio::test]
async fn closing_gives_claims_up() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    let a = transport
        .consume(subscription(topic.clone(), "a"))
        .await
        .unwrap();
    let b = transport
        .consume(subscription(topic.clone(), "b"))
        .await
        .unwrap();
    a.claim(&keys(&["x"])).await.unwrap();
    a.close().await.unwrap();
    assert_eq!(b.claim(&keys(&["x"])).await.unwrap(), [Claim::Granted]);
}

/// The new holders' claims end in each of the next milliseconds, and so in that in which a late renewal would let the
/// lost claims end.
#[tokio::test]
async fn a_lost_claim_is_never_taken_for_that_of_its_new_holder() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    let consumer = transport.consume(subscription(topic.clone(), "a").with_lease(LONG));
    let consumer = consumer.await.unwrap();
    append(&transport, &topic, [record("1")]).await;
    let delivery = receive(&consumer, 1).await.remove(0);
    let all: Vec<Arc<str>> = (1..=2000).map(|n| n.to_string().into()).collect();
    consumer.claim(&all).await.unwrap();
    let claims = "static-bus:{command:c}:claims:handlers";
    let later = "for n = 1, 2000 do redis.call('ZINCRBY', KEYS[1], n, n) end";
    redis.command(&["EVAL", later, "1", claims]);
    let ends = || redis.command(&["ZRANGE", claims, "0", "-1", "WITHSCORES"]);
    let of_new_holders = ends();
    let lost = all.iter().flat_map(|key| claimed(&delivery, key));
    let lost: Vec<_> = lost.collect();
    consumer.renew(&lost).await.unwrap();
    assert!(ends() == of_new_holders);
    consumer.release(&lost).await.unwrap();
    assert!(ends() == of_new_holders);
}

#[tokio::test]
async fn handled_keys_are_forgotten_in_time_and_leave_no_memory() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    let mut subscription = short(topic.clone(), "a");
    subscription.deduplication = Some(Duration::from_secs(6));
    let consumer = transport.consume(subscription).await.unwrap();
    append(&transport, &topic, (0..2000).map(|n| record(n.to_string()))).await;
    let held = receive(&consumer, 2000).await;
    let all: Vec<Arc<str>> = (0..2000).map(|n| format!("key {n}").into()).collect();
    let claims = consumer.claim(&all).await.unwrap();
    assert!(claims.iter().all(|c| *c == Claim::Granted));
    let mut done = leases(&held);
    for (lease, key) in done.iter_mut().zip(&all) {
        lease.claim = Some(key.clone());
    }
    consumer.acknowledge(&done).await.unwrap();
    let claims = consumer.claim(&all).await.unwrap();
    assert!(claims.iter().all(|c| *c == Claim::Done));
    let left = || async { redis.command(&["KEYS", "static-bus:*:done/*"]) == "*0\r\n" };
    eventually("the keys are gone", left).await;
    let left = || async { redis.command(&["KEYS", "static-bus:*:claims:*"]) == "*0\r\n" };
    eventually("no claim is left", left).await;
    let claims = consumer.claim(&all).await.unwrap();
    assert!(claims.iter().all(|c| *c == Claim::Granted));
}

#[tokio::test]
async fn claiming_and_acknowledging_cost_a_command_for_a_batch_not_for_a_record() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    let consumer = transport
        .consume(subscription(topic.clone(), "a"))
        .await
        .unwrap();
    append(&transport, &topic, (0..500).map(|n| record(n.to_string()))).await;
    let held = receive(&consumer, 500).await;
    let all: Vec<Arc<str>> = (0..500).map(|n| format!("key {n}").into()).collect();
    redis.command(&["CONFIG", "RESETSTAT"]);
    consumer.claim(&all).await.unwrap();
    let mut done = leases(&held);
    for (lease, key) in done.iter_mut().zip(&all) {
        lease.claim = Some(key.clone());
    }
    consumer.acknowledge(&done).await.unwrap();
    let calls = calls(&redis);
    let of = |names: &[&str]| -> u64 {
        let calls = calls.iter().filter(|(name, _)| names.contains(&&**name));
        calls.map(|(_, calls)| calls).sum()
    };
    let data = of(&["zmscore", "smismember", "zadd", "sadd", "zrem", "xack"]);
    assert!((7..=11).contains(&data), "{calls:?}");
    assert!(of(&["zscore", "sismember"]) == 0, "{calls:?}");
}
