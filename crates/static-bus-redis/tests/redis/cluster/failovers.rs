//! Primaries of a cluster that fail, hang, or are replaced.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::*;
use static_bus::asynchronous::AsyncExecuteCommand;
use static_bus_redis::RedisTransport;
use static_bus_remote::{
    RemoteBus, Transport, TransportErrorKind,
    transport::{Consumer, Inspect, Kind, Receiver, Topic},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_under_load_loses_nothing_that_the_replica_has_confirmed() {
    let mut cluster = RedisCluster::with_replicas();
    let (worker, mut heard) = serve(join(&cluster).await).await;
    let sender = RedisTransport::builder(cluster.url()).replicas(1);
    let remote = RemoteBus::connect(sender.connect().await.unwrap())
        .await
        .unwrap();
    let senders = pay_until_failure(&remote);
    let mut handled = HashSet::new();
    while handled.len() < 200 {
        handled.extend(heard.recv().await);
    }
    let owner = cluster.owner(PAY);
    cluster.node_mut(owner).kill();
    let sent = senders.join_all().await;
    let mut confirmed: HashSet<u32> = sent.into_iter().flatten().collect();
    // The new primary has no replica.
    let after = RemoteBus::connect(join(&cluster).await).await.unwrap();
    for invoice in 1_000_000..1_000_100 {
        eventually("it is sent", async || {
            after.execute_async(Pay { invoice }).await.is_ok()
        })
        .await;
        confirmed.insert(invoice);
    }
    all_handled(&confirmed, handled, &mut heard).await;
    recovered(&remote, worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_hangs_is_left_when_it_is_replaced() {
    let cluster = RedisCluster::with_replicas();
    // After it, the primary is suspected.
    let builder = redis_at(cluster.url()).deadline(Duration::from_secs(5));
    let transport = builder.connect().await.unwrap();
    let topic = command("c");
    let consumer = transport.consume(subscription(topic.clone(), "a"));
    let consumer = consumer.await.unwrap();
    append(&transport, &topic, [record("before")]).await;
    assert_eq!(drain(&consumer, 1).await, ["before"]);
    // Its connections stay open.
    let old = &cluster.nodes()[cluster.owner("static-bus:{command:c}")];
    old.pause();
    eventually("a record is accepted", async || {
        let records = vec![(topic.clone(), record("after"))];
        transport.append(records).await.remove(0).is_ok()
    })
    .await;
    old.resume();
    let received = receive_over_errors(&consumer, 1).await;
    assert_eq!(bodies(&received), ["after"]);
}

#[tokio::test]
async fn a_primary_that_is_gone_leaves_the_topics_of_the_others() {
    let mut cluster = RedisCluster::start(Persistence::None);
    for node in cluster.nodes() {
        // Without it, no node serves slots while one of them has none.
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let builder = RedisTransport::builder(cluster.url()).deadline(Duration::from_secs(1));
    let transport = builder.connect().await.unwrap();
    let topics: Vec<_> = names(20).iter().map(|name| command(name)).collect();
    let send = async || {
        let records = topics.iter().map(|topic| (topic.clone(), record("1")));
        transport.append(records.collect()).await
    };
    assert!(send().await.iter().all(Result::is_ok));
    let gone = 1;
    cluster.node_mut(gone).kill();
    let is_there = |topic: &Topic| {
        let key = format!("static-bus:{{command:{}}}", topic.name);
        cluster.owner(&key) != gone
    };
    let expected: Vec<_> = topics.iter().map(is_there).collect();
    assert!(expected.contains(&true) && expected.contains(&false));
    let results = send().await;
    let accepted: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(accepted, expected);
    let port = cluster.nodes()[gone].port();
    for error in results.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), TransportErrorKind::Unreachable);
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("redis://127.0.0.1:{port}: ")),
            "{text}"
        );
    }
    transport.check().await.unwrap();
    // Another process can begin.
    let other = RedisTransport::connect(&cluster.url()).await.unwrap();
    let topic = topics.iter().find(|topic| is_there(topic)).unwrap();
    let records = vec![(topic.clone(), record("2"))];
    other.append(records).await.remove(0).unwrap();
    cluster.node_mut(gone).launch();
    eventually("all are accepted", async || {
        send().await.iter().all(Result::is_ok)
    })
    .await;
}

#[tokio::test]
async fn no_call_waits_longer_than_its_deadline() {
    let mut cluster = RedisCluster::start(Persistence::None);
    let builder = RedisTransport::builder(cluster.url()).deadline(Duration::from_millis(500));
    let transport = builder.connect().await.unwrap();
    let consumer = transport.consume(subscription(command("c"), "a"));
    let consumer = consumer.await.unwrap();
    let queries = transport.listen(topic(Kind::Query, "q")).await.unwrap();
    for hangs in [true, false] {
        for number in 0..3 {
            match hangs {
                true => cluster.nodes()[number].pause(),
                false => cluster.node_mut(number).kill(),
            }
        }
        let start = Instant::now();
        assert!(transport.check().await.is_err());
        // Records of all nodes.
        let records = names(20)
            .into_iter()
            .map(|name| (command(&name), record("1")));
        let results = transport.append(records.collect()).await;
        assert!(results.iter().all(Result::is_err), "{results:?}");
        let other = transport.consume(subscription(command("d"), "a")).await;
        assert!(other.is_err());
        assert!(transport.listen(topic(Kind::Query, "r")).await.is_err());
        let wait = Duration::from_millis(200);
        assert!(consumer.receive(1, wait).await.is_err());
        eventually("its read fails", || async {
            queries.receive(1, wait).await.is_err()
        })
        .await;
        assert!(consumer.backlog().await.is_err());
        assert!(transport.dead_letters(None, 1).await.is_err());
        assert!(transport.topics().await.is_err());
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{:?}",
            start.elapsed()
        );
        if hangs {
            cluster.nodes().iter().for_each(Redis::resume);
            cluster.wait_for("cluster_state:ok");
            eventually("it answers", || async { consumer.backlog().await.is_ok() }).await;
        }
    }
    let error = consumer.backlog().await.unwrap_err().to_string();
    assert!(error.contains("connection refused"), "{error}");
}
