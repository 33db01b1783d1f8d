//! A cluster: topics of several nodes.

mod failovers;
mod moves;

use std::collections::BTreeSet;

use static_bus_redis::RedisTransport;
use static_bus_remote::{DEAD_LETTERS, Transport, TransportErrorKind, transport::Inspect};

use crate::{payments::*, support::*};
use test_brokers::{
    redis::{Persistence, Redis},
    redis_cluster::RedisCluster,
};

async fn join(cluster: &RedisCluster) -> RedisTransport {
    redis_at(cluster.url()).connect().await.unwrap()
}

/// The number of answers with this error, by all nodes.
fn refusals(cluster: &RedisCluster, code: &str) -> u64 {
    let prefix = format!("errorstat_{code}:count=");
    let of = |node: &Redis| {
        let info = node.command(&["INFO", "errorstats"]);
        let count = info.lines().find_map(|line| line.strip_prefix(&prefix));
        count.map_or(0, |count| count.trim().parse::<u64>().unwrap())
    };
    cluster.nodes().iter().map(of).sum()
}

/// The names of this many topics, some of each node.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("topic-{n}")).collect()
}

#[tokio::test]
async fn topics_of_all_nodes_are_used_by_one_connection() {
    let cluster = RedisCluster::start(Persistence::None);
    let transport = join(&cluster).await;
    assert_eq!(transport.address(), cluster.url());
    transport.check().await.unwrap();
    let key = |name: &String| format!("static-bus:{{command:{name}}}");
    let owners: BTreeSet<_> = names(20).iter().map(|n| cluster.owner(&key(n))).collect();
    assert_eq!(owners.len(), 3, "each node has a topic");
    // One call has records of all topics, with and without a key.
    let records = names(20).into_iter().flat_map(|name| {
        let bodies = (0..4).map(|n| match n % 2 {
            0 => record(n.to_string()),
            _ => keyed(&n.to_string(), n.to_string()),
        });
        bodies
            .map(move |record| (command(&name), record))
            .collect::<Vec<_>>()
    });
    for result in transport.append(records.collect()).await {
        result.unwrap();
    }
    for name in names(20) {
        let consumer = transport.consume(subscription(command(&name), "a"));
        let mut got = drain(&consumer.await.unwrap(), 4).await;
        got.sort();
        assert_eq!(got, ["0", "1", "2", "3"], "{name}");
    }
    append(&transport, &DEAD_LETTERS, [record("dead")]).await;
    assert_eq!(transport.dead_letters(None, 10).await.unwrap().len(), 1);

    let mut expected: Vec<_> = names(20).iter().map(|name| command(name)).collect();
    expected.push(DEAD_LETTERS);
    expected.sort();
    assert_eq!(transport.topics().await.unwrap(), expected);
    let states = transport.inspect(&expected).await.unwrap();
    assert_eq!(states.len(), 21);
    assert!(
        states
            .iter()
            .all(|state| state.partitions == 8 || state.topic == DEAD_LETTERS)
    );
}

#[tokio::test]
async fn an_append_costs_a_round_trip_for_each_slot() {
    let cluster = RedisCluster::start(Persistence::None);
    let transport = join(&cluster).await;
    let records = || (0..100).map(|n| keyed(&n.to_string(), n.to_string()));
    append(&transport, &command("c"), records()).await;
    let owner = &cluster.nodes()[cluster.owner("static-bus:{command:c}")];
    owner.command(&["CONFIG", "RESETSTAT"]);
    let read = || {
        let info = owner.command(&["INFO", "stats"]);
        let line = info
            .lines()
            .find_map(|l| l.strip_prefix("total_reads_processed:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = read();
    for _ in 0..20 {
        append(&transport, &command("c"), records()).await;
    }
    // Nodes of the cluster and the tests read too.
    let reads = read() - before;
    assert!(reads < 200, "{reads} reads for 20 calls of 100 records");
}

#[tokio::test]
async fn a_server_of_another_kind_than_the_url_says_is_named_with_the_remedy() {
    let (cluster, redis) = (RedisCluster::start(Persistence::None), Redis::start());
    let error = |url: String| async move {
        let error = RedisTransport::connect(&url).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Refused, "{error}");
        error.to_string()
    };
    let text = error(cluster.nodes()[0].url().to_owned()).await;
    assert!(text.ends_with(
        "the server is part of a cluster: its URL is redis-cluster://host:port,…, with some of its nodes"
    ));
    let text = error(format!("redis-cluster://{}", redis.host_and_port())).await;
    assert!(
        text.ends_with("this is a single server: its URL begins with redis://"),
        "{text}"
    );
    let namespace = redis_at(cluster.url()).namespace("a{}b");
    let text = namespace.connect().await.unwrap_err().to_string();
    assert!(
        text.contains("the namespace begins its braces with {}"),
        "{text}"
    );
    for namespace in ["{one slot}", "odd}{", "{"] {
        let builder = redis_at(cluster.url()).namespace(namespace);
        let transport = builder.connect().await.unwrap();
        let topic = command("c");
        append(&transport, &topic, [record("1"), keyed("k", "2")]).await;
        let consumer = transport.consume(subscription(topic, "a")).await.unwrap();
        assert_eq!(drain(&consumer, 2).await.len(), 2);
    }
}

/// The keys of the topics of payments.
const PAY: &str = "static-bus:{command:billing.pay}";
const TOTAL: &str = "static-bus:{query:billing.total}";
