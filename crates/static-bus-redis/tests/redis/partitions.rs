//! Records with keys: each partition has one owner at a time, and keeps its order.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use static_bus_redis::RedisTransport;
use static_bus_remote::{
    Transport,
    transport::{Consumer, Delivery},
};

use crate::support::*;
use test_brokers::redis::Redis;

/// The number of partitions of each member.
fn shares(redis: &Redis) -> HashMap<String, usize> {
    let mut shares = HashMap::new();
    for n in 0..8 {
        let owner = format!("static-bus:{{command:c}}:owner/{n}:handlers");
        let owner = redis.command(&["GET", &owner]);
        if let Some(name) = owner.lines().nth(1) {
            *shares.entry(name.to_owned()).or_default() += 1;
        }
    }
    shares
}

#[tokio::test]
async fn partitions_are_shared_fairly_as_members_come_and_go() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let join = |name: &'static str| {
        let subscription = subscription(command("c"), name);
        let transport = transport.clone();
        async move {
            let consumer = Arc::new(transport.consume(subscription).await.unwrap());
            let reader = consumer.clone();
            tokio::spawn(async move {
                while reader.receive(1, Duration::from_secs(1)).await.is_ok() {}
            });
            consumer
        }
    };
    let expect = async |expected: &[(&str, usize)]| {
        let expected = expected.iter().map(|(n, s)| ((*n).to_owned(), *s));
        let expected: HashMap<_, _> = expected.collect();
        eventually("shares are fair", || async { shares(&redis) == expected }).await;
    };
    let a = join("a").await;
    expect(&[("a", 8)]).await;
    let b = join("b").await;
    expect(&[("a", 4), ("b", 4)]).await;
    let c = join("c").await;
    expect(&[("a", 3), ("b", 3), ("c", 2)]).await;
    a.close().await.unwrap();
    expect(&[("b", 4), ("c", 4)]).await;
    c.close().await.unwrap();
    expect(&[("b", 8)]).await;
    b.close().await.unwrap();
    expect(&[]).await;
}

#[tokio::test]
async fn pending_records_of_a_dead_member_come_in_order_before_new_ones() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    let dead = transport
        .consume(short(topic.clone(), "dead"))
        .await
        .unwrap();
    append(
        &transport,
        &topic,
        (0..2500).map(|n| keyed("k", n.to_string())),
    )
    .await;
    let held = receive(&dead, 1500).await;
    dead.acknowledge(&leases(&held[..700])).await.unwrap();
    drop(dead);
    let heir = transport
        .consume(subscription(topic, "heir"))
        .await
        .unwrap();
    let mut got = Vec::new();
    while got.len() < 1800 {
        let deliveries = receive(&heir, 1).await;
        got.extend(deliveries.iter().map(|d| (body(d), d.attempt)));
        heir.acknowledge(&leases(&deliveries)).await.unwrap();
    }
    let expected = (700..2500).map(|n| n.to_string());
    assert!(got.iter().map(|(body, _)| body.clone()).eq(expected));
    assert!(got[..800].iter().all(|(_, attempt)| *attempt == 2));
}

#[tokio::test]
async fn a_member_that_does_not_receive_leaves_its_partitions_to_others() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    let idle = transport
        .consume(short(topic.clone(), "idle"))
        .await
        .unwrap();
    let busy = transport
        .consume(short(topic.clone(), "busy"))
        .await
        .unwrap();
    append(
        &transport,
        &topic,
        (0..80).map(|n| keyed(&format!("k{n}"), n.to_string())),
    )
    .await;
    assert_eq!(drain(&busy, 80).await.len(), 80);
    // A member that receives again gets its share.
    let stop = Arc::new(Mutex::new(false));
    let readers = [idle, busy].map(|consumer| {
        let stop = stop.clone();
        tokio::spawn(async move {
            while !*stop.lock().unwrap() {
                consumer
                    .receive(1, Duration::from_millis(100))
                    .await
                    .unwrap();
            }
        })
    });
    eventually("both have a share", || async {
        shares(&redis).values().copied().collect::<Vec<_>>() == [4, 4]
    })
    .await;
    *stop.lock().unwrap() = true;
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn a_topic_keeps_its_number_of_partitions() {
    let redis = Redis::start();
    let connect = |partitions| {
        let config = redis_at(redis.url()).partitions(partitions);
        config.connect()
    };
    let first = connect(3).await.unwrap();
    let second = connect(50).await.unwrap();
    let topic = command("c");
    append(
        &first,
        &topic,
        (0..100).map(|n| keyed(&format!("k{n}"), n.to_string())),
    )
    .await;
    let consumer = second
        .consume(subscription(topic.clone(), "a"))
        .await
        .unwrap();
    append(
        &second,
        &topic,
        (0..100).map(|n| keyed(&format!("k{n}"), n.to_string())),
    )
    .await;
    assert_eq!(receive(&consumer, 200).await.len(), 200);
    let number = redis.command(&["HGET", "static-bus:partitions", "command:c"]);
    assert_eq!(number, "$1\r\n3\r\n");
}

#[tokio::test]
async fn order_holds_while_members_come_and_go() {
    let redis = Redis::start();
    let transport = connect(&redis).await;
    let topic = command("c");
    let seen = Arc::new(Mutex::new(HashMap::<String, Vec<u32>>::new()));
    let mut members = Vec::new();
    let mut appended = 0;
    for generation in 0..10 {
        members.push(work(&transport, format!("m{generation}"), seen.clone()).await);
        for _ in 0..20 {
            let records = (0..16).map(|k| keyed(&format!("k{k}"), appended.to_string()));
            append(&transport, &topic, records).await;
            appended += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if members.len() > 2 {
            members.remove(0).stop().await;
        }
    }
    let count = || seen.lock().unwrap().values().map(Vec::len).sum::<usize>();
    eventually("all are handled", || async { count() >= 16 * 200 }).await;
    for member in members {
        member.stop().await;
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 16);
    for (key, numbers) in &*seen {
        let expected: Vec<_> = (0..200).collect();
        assert_eq!(*numbers, expected, "{key}");
    }
}

struct Worker {
    stop: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Worker {
    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

/// Handles records one after the other. Releases the others when it stops.
async fn work(
    transport: &RedisTransport,
    name: String,
    seen: Arc<Mutex<HashMap<String, Vec<u32>>>>,
) -> Worker {
    let consumer = transport
        .consume(subscription(command("c"), &name))
        .await
        .unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let task = tokio::spawn(async move {
        while !*stopped.borrow() {
            let deliveries = consumer
                .receive(20, Duration::from_millis(100))
                .await
                .unwrap();
            for delivery in deliveries {
                if *stopped.borrow() {
                    break;
                }
                handle(&delivery, &seen);
                let lease = leases(std::slice::from_ref(&delivery));
                consumer.acknowledge(&lease).await.unwrap();
            }
        }
        consumer.close().await.unwrap();
    });
    Worker { stop, task }
}

fn handle(
    delivery: &Delivery<static_bus_redis::RedisReceipt>,
    seen: &Mutex<HashMap<String, Vec<u32>>>,
) {
    let key = delivery.record.key.as_deref().unwrap().to_owned();
    let number = body(delivery).parse().unwrap();
    seen.lock().unwrap().entry(key).or_default().push(number);
}
