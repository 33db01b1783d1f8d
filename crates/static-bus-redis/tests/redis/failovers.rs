//! Servers that refuse what they did before: replicas, servers that start, and servers without memory, disk or primary.

use std::{collections::HashSet, time::Duration};

use static_bus::asynchronous::AsyncExecuteCommand;
use static_bus_redis::RedisTransport;
use static_bus_remote::{RemoteBus, Transport, TransportErrorKind};

use crate::{payments::*, support::*};
use test_brokers::{
    redis::{Redis, RedisOptions},
    tunnel::Tunnel,
};

/// Makes a server the replica of another, and waits until it has its data.
async fn follow(replica: &Redis, primary: &Redis) {
    replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    eventually("the replica has the data of its primary", async || {
        let info = replica.command(&["INFO", "replication"]);
        info.contains("master_link_status:up")
    })
    .await;
}

#[tokio::test]
async fn everything_goes_on_when_the_primary_is_demoted_with_its_connections_open() {
    let (first, second) = (Redis::start(), Redis::start());
    let tunnel = Tunnel::to(first.port());
    let url = format!("redis://{}", tunnel.host_and_port());
    let transport = RedisTransport::connect(&url).await.unwrap();
    let (worker, mut heard) = serve(transport).await;
    let sender = RedisTransport::connect(&url).await.unwrap();
    let remote = RemoteBus::connect(sender).await.unwrap();
    let mut expected = HashSet::new();
    let mut send = async |invoice| {
        remote.execute_async(Pay { invoice }).await.unwrap();
        expected.insert(invoice);
    };
    send(0).await;
    assert_eq!(heard.recv().await, Some(0));
    for (round, (old, new)) in (1..).zip([(&first, &second), (&second, &first)]) {
        follow(new, old).await;
        new.command(&["REPLICAOF", "NO", "ONE"]);
        old.command(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
        tunnel.lead_to(new.port());
        for n in 0..20 {
            send(round * 100 + n).await;
        }
    }
    all_handled(&expected, HashSet::from([0]), &mut heard).await;
    recovered(&remote, worker).await;
}

/// The kind and the text of the error of a command that is sent to this server.
async fn refusal(transport: &RedisTransport) -> (TransportErrorKind, String) {
    let records = vec![(command("c"), record("1"))];
    let error = transport.append(records).await.remove(0).unwrap_err();
    (error.kind(), error.to_string())
}

async fn impatient(redis: &Redis) -> RedisTransport {
    let builder = RedisTransport::builder(redis.url()).deadline(Duration::from_secs(3));
    builder.connect().await.unwrap()
}

async fn accepts(transport: &RedisTransport) {
    eventually("it accepts records again", async || {
        let records = vec![(command("c"), record("1"))];
        transport.append(records).await.remove(0).is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_replica_is_an_outage_until_it_is_the_primary() {
    let (redis, other) = (Redis::start(), Redis::start());
    let transport = impatient(&redis).await;
    let consumer = transport.consume(subscription(command("c"), "a"));
    let consumer = consumer.await.unwrap();
    follow(&redis, &other).await;
    let (kind, text) = refusal(&transport).await;
    assert_eq!(kind, TransportErrorKind::Unreachable);
    assert!(text.contains("READONLY"), "{text}");
    assert!(text.ends_with("this is a replica: the URL must name the primary"));
    redis.command(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = transport.dead_letters(None, 1).await.unwrap_err();
    let (kind, text) = (error.kind(), error.to_string());
    assert_eq!(kind, TransportErrorKind::Unreachable);
    assert!(text.contains("MASTERDOWN"), "{text}");
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    accepts(&transport).await;
    assert!(!receive_over_errors(&consumer, 1).await.is_empty());
}

#[tokio::test]
async fn a_replica_is_not_asked_in_a_tight_loop() {
    let (redis, other) = (Redis::start(), Redis::start());
    let transport = impatient(&redis).await;
    let consumer = transport.consume(subscription(command("c"), "a"));
    let consumer = consumer.await.unwrap();
    follow(&redis, &other).await;
    redis.command(&["CONFIG", "RESETSTAT"]);
    let end = tokio::time::Instant::now() + Duration::from_secs(3);
    while tokio::time::Instant::now() < end {
        use static_bus_remote::transport::Consumer as _;
        _ = consumer.receive(10, Duration::from_millis(100)).await;
        _ = refusal(&transport).await;
    }
    let info = redis.command(&["INFO", "stats"]);
    let connections = info
        .lines()
        .find_map(|line| line.strip_prefix("total_connections_received:"));
    let connections: u32 = connections.unwrap().trim().parse().unwrap();
    assert!(connections < 60, "{connections} in three seconds");
}

#[tokio::test]
async fn a_server_without_memory_is_an_outage() {
    let redis = Redis::start();
    let transport = impatient(&redis).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let (kind, text) = refusal(&transport).await;
    assert_eq!(kind, TransportErrorKind::Unreachable);
    assert!(text.contains("OOM"), "{text}");
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    accepts(&transport).await;
}

#[tokio::test]
async fn a_primary_without_the_replicas_that_it_needs_is_an_outage() {
    let redis = Redis::start();
    let transport = impatient(&redis).await;
    let need = |replicas| redis.command(&["CONFIG", "SET", "min-replicas-to-write", replicas]);
    need("1");
    let (kind, text) = refusal(&transport).await;
    assert_eq!(kind, TransportErrorKind::Unreachable);
    let remedy = "too few replicas are connected: check them, and `min-replicas-to-write`";
    assert!(text.ends_with(remedy), "{text}");
    need("0");
    accepts(&transport).await;
}

#[tokio::test]
async fn a_server_that_cannot_save_is_an_outage() {
    let redis = Redis::start();
    let transport = impatient(&redis).await;
    let set = |name: &str, value: &str| redis.command(&["CONFIG", "SET", name, value]);
    redis.lose_disk();
    set("save", "3600 1");
    redis.command(&["BGSAVE"]);
    eventually("the save has failed", async || {
        let info = redis.command(&["INFO", "persistence"]);
        info.contains("rdb_last_bgsave_status:err")
    })
    .await;
    let (kind, text) = refusal(&transport).await;
    assert_eq!(kind, TransportErrorKind::Unreachable);
    assert!(text.contains("MISCONF"), "{text}");
    set("save", "");
    accepts(&transport).await;
}

#[tokio::test]
async fn a_server_that_is_busy_with_a_script_is_an_outage() {
    let redis = Redis::start();
    let transport = impatient(&redis).await;
    redis.command(&["CONFIG", "SET", "busy-reply-threshold", "1"]);
    let script = "while true do end";
    let server = redis.host_and_port();
    let busy =
        std::thread::spawn(move || test_brokers::redis::command(&server, &["EVAL", script, "0"]));
    let (kind, text) = until_refused(&transport, "BUSY").await;
    assert_eq!(kind, TransportErrorKind::Unreachable);
    assert!(text.contains("SCRIPT KILL"), "{text}");
    redis.command(&["SCRIPT", "KILL"]);
    busy.join().unwrap().unwrap();
    accepts(&transport).await;
}

/// Sends until an error has this text.
async fn until_refused(transport: &RedisTransport, part: &str) -> (TransportErrorKind, String) {
    let mut last = None;
    let end = tokio::time::Instant::now() + LONG;
    while tokio::time::Instant::now() < end {
        let records = vec![(command("c"), record("1"))];
        last = transport.append(records).await.remove(0).err();
        if let Some(e) = last.as_ref().filter(|e| e.to_string().contains(part)) {
            return (e.kind(), e.to_string());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no error with {part:?}, but {last:?}");
}

#[tokio::test]
async fn a_server_that_is_starting_is_an_outage() {
    let mut redis = Redis::with(RedisOptions {
        persistence: test_brokers::redis::Persistence::Always,
        ..RedisOptions::default()
    });
    let transport = impatient(&redis).await;
    accepts(&transport).await;
    redis.restart_slowly();
    let (kind, text) = until_refused(&transport, "LOADING").await;
    assert_eq!(kind, TransportErrorKind::Unreachable);
    assert!(text.contains("the server is starting"), "{text}");
    accepts(&transport).await;
}

#[tokio::test]
async fn a_password_that_is_changed_is_a_refusal_until_it_is_changed_back() {
    let mut redis = Redis::with(RedisOptions {
        password: Some("old".to_owned()),
        ..RedisOptions::default()
    });
    let transport = impatient(&redis).await;
    let consumer = transport.consume(subscription(command("c"), "a"));
    let consumer = consumer.await.unwrap();
    redis.set_password("new");
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    let reason = "the server refuses the credentials";
    let (kind, _) = until_refused(&transport, reason).await;
    assert_eq!(kind, TransportErrorKind::Unauthorized);
    redis.set_password("old");
    accepts(&transport).await;
    assert!(!receive_over_errors(&consumer, 1).await.is_empty());
}
