//! A primary that Sentinels watch, and replace when it fails.

use std::{collections::HashSet, time::Duration};

use static_bus::asynchronous::AsyncExecuteCommand;
use static_bus_redis::RedisTransport;
use static_bus_remote::{RemoteBus, Transport, TransportErrorKind};

use crate::{payments::*, support::*};
use test_brokers::{
    redis::{Redis, RedisOptions},
    sentinels::Sentinels,
};

fn with(arguments: &[&str]) -> Redis {
    Redis::with(RedisOptions {
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        ..RedisOptions::default()
    })
}

/// Waits until the replica has all that the primary has.
async fn replicated(primary: &Redis, replica: &Redis) {
    let offset = |redis: &Redis, name: &str| {
        let info = redis.command(&["INFO", "replication"]);
        let of = info.lines().find_map(|line| line.strip_prefix(name));
        of.map(|offset| offset.trim().to_owned())
    };
    eventually("the replica has all", async || {
        let replicated = offset(replica, "slave_repl_offset:");
        replicated.is_some() && replicated == offset(primary, "master_repl_offset:")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_under_load_loses_nothing_that_the_replica_has_confirmed() {
    let mut primary = with(&[]);
    let _replica = with(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    let mut sentinels = Sentinels::watch(&primary, 1);
    let transport = RedisTransport::connect(&sentinels.url()).await.unwrap();
    assert_eq!(transport.address(), sentinels.url());
    let (worker, mut heard) = serve(transport).await;
    let sender = RedisTransport::builder(sentinels.url()).replicas(1);
    let sender = sender.connect().await.unwrap();
    let remote = RemoteBus::connect(sender).await.unwrap();
    let senders = pay_until_failure(&remote);
    let mut handled = HashSet::new();
    while handled.len() < 200 {
        handled.extend(heard.recv().await);
    }
    sentinels.kill_one();
    primary.kill();
    let sent = senders.join_all().await;
    let mut confirmed: HashSet<u32> = sent.into_iter().flatten().collect();
    eventually("there is a new primary", async || {
        RedisTransport::connect(&sentinels.url()).await.is_ok()
    })
    .await;
    // It has no replica.
    let sender = RedisTransport::connect(&sentinels.url()).await.unwrap();
    let after = RemoteBus::connect(sender).await.unwrap();
    for invoice in 1_000_000..1_000_100 {
        after.execute_async(Pay { invoice }).await.unwrap();
        confirmed.insert(invoice);
    }
    all_handled(&confirmed, handled, &mut heard).await;
    recovered(&remote, worker).await;
}

#[tokio::test]
async fn a_record_that_too_few_replicas_have_is_not_confirmed() {
    let primary = with(&[]);
    let builder = RedisTransport::builder(primary.url()).replicas(1);
    let transport = builder.deadline(Duration::from_secs(2)).connect().await;
    let records = vec![(command("c"), record("1"))];
    let error = transport
        .unwrap()
        .append(records)
        .await
        .remove(0)
        .unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unreachable);
    let text = error.to_string();
    assert!(
        text.contains("fewer than 1 replicas have confirmed"),
        "{text}"
    );
}

#[tokio::test]
async fn a_primary_that_is_replaced_while_it_runs_is_left() {
    let primary = with(&[]);
    let replica = with(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    let sentinels = Sentinels::watch(&primary, 1);
    let transport = RedisTransport::connect(&sentinels.url()).await.unwrap();
    let consumer = transport.consume(subscription(command("c"), "a"));
    let consumer = consumer.await.unwrap();
    append(&transport, &command("c"), [record("before")]).await;
    assert_eq!(drain(&consumer, 1).await, ["before"]);
    replicated(&primary, &replica).await;
    // It does not answer the Sentinels, and its connections stay open.
    primary.pause();
    eventually("the replica is the primary", async || {
        sentinels.primary() == replica.port()
    })
    .await;
    primary.resume();
    eventually("a record is accepted", async || {
        let records = vec![(command("c"), record("after"))];
        transport.append(records).await.remove(0).is_ok()
    })
    .await;
    let received = receive_over_errors(&consumer, 1).await;
    assert_eq!(bodies(&received), ["after"]);
}

#[tokio::test]
async fn a_name_that_no_sentinel_knows_is_named_with_the_remedy() {
    let primary = with(&[]);
    let sentinels = Sentinels::watch(&primary, 0);
    let url = sentinels.url().replace("/primary", "/other");
    let error = RedisTransport::connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unreachable);
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("{url}: the Sentinels know no primary")),
        "{text}"
    );
    let of_sentinel = sentinels.url().replace("+sentinel", "");
    let (first, _) = of_sentinel.split_once(',').unwrap();
    let error = RedisTransport::connect(first)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("redis+sentinel://host:port/name"), "{error}");
}
