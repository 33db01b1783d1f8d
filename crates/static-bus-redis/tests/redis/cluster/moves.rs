//! Slots that move from one node to another while everything runs.

use std::{collections::HashSet, time::Duration};

use static_bus::asynchronous::{AsyncExecuteCommand, AsyncSendQuery};
use static_bus_redis::RedisReceipt;
use static_bus_remote::{
    RemoteBus, Transport,
    transport::{Consumer, Delivery, Kind, Lease, Receiver},
};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_move_under_load_cost_no_error_and_lose_and_double_nothing() {
    // The process does not know the fourth node when it connects.
    let cluster = RedisCluster::with_spare();
    let (worker, mut heard) = serve(join(&cluster).await).await;
    let remote = RemoteBus::connect(join(&cluster).await).await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..4 {
        let (remote, stopped) = (remote.clone(), stopped.clone());
        senders.spawn(async move {
            let mut sent = HashSet::new();
            for invoice in (sender..).step_by(4) {
                if *stopped.borrow() {
                    break;
                }
                remote.execute_async(Pay { invoice }).await.unwrap();
                sent.insert(invoice);
                let total = remote.send_async(GetTotal).await.unwrap();
                assert_eq!(total, 42);
            }
            sent
        });
    }
    let mut handled = Vec::new();
    // Each of the two topics goes once round the cluster.
    let (pay, total) = (cluster.owner(PAY), cluster.owner(TOTAL));
    let cluster = std::sync::Arc::new(cluster);
    for step in 0..4 {
        for _ in 0..50 {
            handled.extend(heard.recv().await);
        }
        for (key, owner) in [(PAY, pay), (TOTAL, total)] {
            let (from, to) = ((owner + step) % 4, (owner + step + 1) % 4);
            let (cluster, slot) = (cluster.clone(), cluster.slot(key));
            let moving = move || cluster.move_slot(slot, from, to);
            tokio::task::spawn_blocking(moving).await.unwrap();
        }
    }
    stop.send(true).unwrap();
    let sent: HashSet<_> = senders.join_all().await.into_iter().flatten().collect();
    while handled.len() < sent.len() {
        let next = tokio::time::timeout(LONG, heard.recv()).await;
        handled.push(next.expect("the rest is handled").unwrap());
    }
    worker.shutdown(LONG).await;
    while let Ok(more) = heard.try_recv() {
        handled.push(more);
    }
    let different: HashSet<_> = handled.iter().copied().collect();
    assert_eq!(different, sent);
    assert_eq!(handled.len(), sent.len(), "each is handled once");
    assert!(refusals(&cluster, "MOVED") > 0);
}

#[tokio::test]
async fn calls_wait_while_a_slot_is_half_moved() {
    let cluster = RedisCluster::start(Persistence::None);
    let transport = join(&cluster).await;
    let (topic, key) = (command("c"), "static-bus:{command:c}");
    let consumer = transport.consume(subscription(topic.clone(), "a"));
    let consumer = consumer.await.unwrap();
    append(&transport, &topic, [record("0"), keyed("k", "1")]).await;
    let held = receive(&consumer, 2).await;
    let (slot, from) = (cluster.slot(key), cluster.owner(key));
    let to = (from + 1) % 3;
    cluster.begin_move(slot, from, to);
    assert_eq!(cluster.move_keys(slot, from, to, 4), 4);
    // Each stream is on one of the two nodes.
    append(
        &transport,
        &topic,
        (0..50).map(|n| keyed(&n.to_string(), n.to_string())),
    )
    .await;
    append(&transport, &topic, [record("2")]).await;
    // The end of the move is noticed by a call that waits for it.
    let held = held_leases(&held);
    let settle = consumer.acknowledge(&held);
    let end = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        while cluster.move_keys(slot, from, to, 100) > 0 {}
        cluster.end_move(slot, from, to);
    };
    let (settled, ()) = tokio::join!(settle, end);
    settled.unwrap();
    assert!(refusals(&cluster, "ASK") > 0 && refusals(&cluster, "TRYAGAIN") > 0);
    assert_eq!(receive_over_errors(&consumer, 51).await.len(), 51);
}

/// Leases with a claim, which are settled in a transaction.
fn held_leases(held: &[Delivery<RedisReceipt>]) -> Vec<Lease<RedisReceipt>> {
    held.iter().flat_map(|d| claimed(d, &body(d))).collect()
}

#[tokio::test]
async fn queries_are_received_while_their_slot_moves() {
    let cluster = RedisCluster::start(Persistence::None);
    let transport = join(&cluster).await;
    let (query, key) = (topic(Kind::Query, "q"), "static-bus:{query:q}");
    let receiver = transport.listen(query.clone()).await.unwrap();
    append(&transport, &query, [record("0")]).await;
    assert_eq!(listen(&receiver, 1).await, ["0"]);
    let (slot, from) = (cluster.slot(key), cluster.owner(key));
    for step in 0..3 {
        let (from, to) = ((from + step) % 3, (from + step + 1) % 3);
        // A read waits on the old node.
        let read = receiver.receive(1, Duration::from_millis(1500));
        let moved = async { cluster.move_slot(slot, from, to) };
        let (read, ()) = tokio::join!(read, moved);
        assert_eq!(read.unwrap_or_default().len(), 0);
        append(&transport, &query, [record("1"), record("2")]).await;
        assert_eq!(listen_over_errors(&receiver, 2).await, ["1", "2"]);
    }
    receiver.close().await.unwrap();
}
