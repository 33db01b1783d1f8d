//! Large messages over links that are too slow for all of them at once.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sqlx::Pool;
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::{
    MemoryBroker, RemoteBus, Transport as _, TransportError,
    transport::{
        Consumer as _, Due, Kind, Receiver as _, Record, Subscription, Transactional as _,
    },
};
use static_bus_sql::PostgresTransport;
use test_brokers::{postgres::Postgres, tunnel::Tunnel};
use tokio::{task::JoinSet, time::sleep};

use super::{
    Database, fresh, pool,
    support::{LONG, acknowledge, append, bodies, command, join, keyed, record, topic},
    through_a_tunnel,
};

const MEGABYTE: usize = 1_000_000;
/// In the deadline, a link of 100 Mbit/s carries 62 of them.
const COUNT: usize = 100;
const SLOW: u64 = 100_000_000;
const DEADLINE: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
struct Archive {
    text: String,
}
command!(Archive, name = "archive");

fn archive() -> Archive {
    Archive {
        text: "x".repeat(MEGABYTE),
    }
}

fn large() -> Record {
    record("x".repeat(MEGABYTE))
}

/// A connection to a namespace at the end of a link.
async fn far_away(namespace: &str, bandwidth: u64) -> (PostgresTransport, Tunnel) {
    let (far, tunnel) = through_a_tunnel(namespace);
    let far = far.deadline(DEADLINE).connect().await.unwrap();
    tunnel.set_bandwidth(bandwidth);
    (far, tunnel)
}

async fn stored(transport: &PostgresTransport) -> u64 {
    let member = join(transport, &command("archive"), "member").await;
    member.backlog().await.unwrap().lag
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_sends_of_large_messages_wait_for_each_other_and_none_fails() {
    let (namespace, near) = fresh().await;
    let (far, _tunnel) = far_away(&namespace, SLOW).await;
    let remote = RemoteBus::connect(far).await.unwrap();
    let mut sends = JoinSet::new();
    for _ in 0..COUNT {
        let remote = remote.clone();
        sends.spawn(async move { remote.execute_async(archive()).await });
    }
    let results = sends.join_all().await;
    let failed: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} fail: {}", failed.len(), failed[0]);
    assert_eq!(stored(&near).await, COUNT as u64, "each is there once");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_of_one_transaction_have_the_time_that_their_bytes_need() {
    let (namespace, near) = fresh().await;
    let (far, _tunnel) = far_away(&namespace, SLOW).await;
    let remote = RemoteBus::connect(far.clone()).await.unwrap();
    let sending = far.transact(async {
        for _ in 0..COUNT {
            remote.execute_async(archive()).await?;
        }
        Ok::<_, BusError>(())
    });
    sending.await.unwrap().unwrap();
    assert_eq!(stored(&near).await, COUNT as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_in_a_transaction_of_the_caller_have_the_time_that_their_bytes_need() {
    let (namespace, near) = fresh().await;
    let (far, tunnel) = through_a_tunnel(&namespace);
    let far = far.deadline(DEADLINE).connect().await.unwrap();
    let url = Postgres::common().url_at("127.0.0.1", tunnel.port());
    let pool = Pool::<Database>::connect(&url).await.unwrap();
    tunnel.set_bandwidth(SLOW);
    let mut transaction = pool.begin().await.unwrap();
    let records = (0..COUNT).map(|_| (command("archive"), large()));
    let appended = far.append_within(&mut transaction, records.collect());
    appended.await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(stored(&near).await, COUNT as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_that_are_due_later_are_written_one_after_the_other() {
    let (namespace, _near) = fresh().await;
    let (far, _tunnel) = far_away(&namespace, SLOW).await;
    let outbox = far.outbox(MemoryBroker::new());
    let later = || Record {
        due: Some(Due::after(Duration::from_secs(3600))),
        ..large()
    };
    let later = (0..COUNT).map(|_| later());
    append(&outbox, &command("archive"), later).await.unwrap();
}

/// In the time that a call has, 25 Mbit/s carry 60 of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_large_messages_arrives_over_a_slow_link() {
    let (namespace, near) = fresh().await;
    let topic = command("orders.archive");
    append(&near, &topic, (0..COUNT).map(|_| large()))
        .await
        .unwrap();
    let (far, tunnel) = through_a_tunnel(&namespace);
    let far = far.deadline(Duration::from_secs(20));
    let member = join(&far.connect().await.unwrap(), &topic, "member").await;
    tunnel.set_bandwidth(25_000_000);
    let (begun, mut count) = (Instant::now(), 0);
    while count < COUNT {
        // A call may take longer on a busy machine.
        let got = member.receive(128, LONG).await.unwrap_or_default();
        count += got.len();
        acknowledge(&member, &got).await.unwrap();
        assert!(begun.elapsed() < 4 * LONG, "{count} arrived");
    }
    let (crossed, once) = (tunnel.received(), (MEGABYTE * COUNT) as u64);
    assert!(crossed < 2 * once, "{crossed} bytes for {once}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_replies_arrive_over_a_slow_link() {
    let (namespace, near) = fresh().await;
    let replies = topic(Kind::Reply, "process");
    let (far, tunnel) = far_away(&namespace, 0).await;
    let receiver = far.listen(replies.clone()).await.unwrap();
    append(&near, &replies, (0..COUNT).map(|_| large()))
        .await
        .unwrap();
    tunnel.set_bandwidth(SLOW);
    let (begun, mut count) = (Instant::now(), 0);
    while count < COUNT {
        let got = receiver.receive(128, LONG).await;
        count += got.unwrap_or_default().len();
        assert!(begun.elapsed() < 4 * LONG, "{count} arrived");
    }
    let (crossed, once) = (tunnel.received(), (MEGABYTE * COUNT) as u64);
    assert!(crossed < 2 * once, "{crossed} bytes for {once}");
}

/// A record that needs 8 s on a link of 10 Mbit/s.
fn larger_than_the_deadline() -> Record {
    record("x".repeat(10 * MEGABYTE))
}

const SLOWER: u64 = 10_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_does_not_arrive_within_the_deadline_arrives() {
    let (namespace, near) = fresh().await;
    let topic = command("orders.archive");
    let (far, tunnel) = far_away(&namespace, 0).await;
    let member = join(&far, &topic, "member").await;
    append(&near, &topic, [larger_than_the_deadline()])
        .await
        .unwrap();
    tunnel.set_bandwidth(SLOWER);
    let got = until(|| member.receive(16, LONG)).await;
    assert_eq!(got[0].record.body.len(), 10 * MEGABYTE);
    assert_eq!(got[0].attempt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_a_key_that_does_not_arrive_within_the_deadline_arrives() {
    let (namespace, near) = fresh().await;
    let topic = command("orders.archive");
    let (far, tunnel) = far_away(&namespace, 0).await;
    let member = join(&far, &topic, "member").await;
    let large = Record {
        key: Some("customer".into()),
        ..larger_than_the_deadline()
    };
    append(&near, &topic, [large]).await.unwrap();
    append(&near, &topic, [keyed("customer", "next")])
        .await
        .unwrap();
    tunnel.set_bandwidth(SLOWER);
    let got = member.receive(16, LONG).await.unwrap();
    assert_eq!(got[0].record.body.len(), 10 * MEGABYTE);
    assert_eq!(got[0].attempt, 1);
    acknowledge(&member, &got).await.unwrap();
    if got.len() == 1 {
        let next = member.receive(16, LONG).await.unwrap();
        assert_eq!(bodies(&next), ["next"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_does_not_arrive_within_its_lease_is_not_given_to_others() {
    let (namespace, near) = fresh().await;
    let topic = command("orders.archive");
    let (far, tunnel) = far_away(&namespace, 0).await;
    let mut subscription = Subscription::new(topic.clone(), "handlers", "far");
    subscription.lease = Duration::from_secs(2);
    let member = far.consume(subscription).await.unwrap();
    append(&near, &topic, [larger_than_the_deadline()])
        .await
        .unwrap();
    tunnel.set_bandwidth(SLOWER);
    let receiving = member.receive(16, LONG);
    let others = async {
        let other = join(&near, &topic, "near").await;
        while other.backlog().await.unwrap().pending == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        other.receive(16, Duration::from_secs(6)).await.unwrap()
    };
    let (got, others) = tokio::join!(receiving, others);
    assert!(others.is_empty());
    assert_eq!(got.unwrap()[0].attempt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_does_not_arrive_within_the_deadline_is_listed() {
    let (namespace, near) = fresh().await;
    let large = record("x".repeat(2 * 10 * MEGABYTE));
    append(&near, &topic(Kind::DeadLetter, ""), [large])
        .await
        .unwrap();
    let (far, _tunnel) = far_away(&namespace, SLOWER).await;
    let letters = far.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters[0].record.body.len(), 20 * MEGABYTE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_does_not_arrive_within_the_deadline_arrives() {
    let (namespace, near) = fresh().await;
    let replies = topic(Kind::Reply, "process");
    let (far, tunnel) = far_away(&namespace, 0).await;
    let receiver = far.listen(replies.clone()).await.unwrap();
    append(&near, &replies, [larger_than_the_deadline()])
        .await
        .unwrap();
    tunnel.set_bandwidth(SLOWER);
    let got = until(|| receiver.receive(16, LONG)).await;
    assert_eq!(got[0].body.len(), 10 * MEGABYTE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_outbox_that_does_not_arrive_within_the_deadline_is_relayed() {
    let (namespace, near) = fresh().await;
    let topic = command("orders.archive");
    let broker = MemoryBroker::new();
    let mut transaction = pool().await.begin().await.unwrap();
    let records = vec![(topic.clone(), larger_than_the_deadline())];
    let outbox = near.outbox(broker.clone());
    outbox
        .append_within(&mut transaction, records)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let member = join(&broker, &topic, "member").await;
    let (far, tunnel) = far_away(&namespace, 0).await;
    tunnel.set_bandwidth(SLOWER);
    let relay = far.outbox(broker).relay().start().await.unwrap();
    let got = until(|| member.receive(1, LONG)).await;
    assert_eq!(got[0].record.body.len(), 10 * MEGABYTE);
    relay.shutdown().await.unwrap();
}

/// Receives until something comes.
async fn until<T, F>(mut receive: impl FnMut() -> F) -> Vec<T>
where
    F: Future<Output = Result<Vec<T>, TransportError>>,
{
    let (begun, mut failed) = (Instant::now(), Vec::new());
    loop {
        match receive().await {
            Ok(got) if !got.is_empty() => return got,
            Ok(_) => {}
            Err(error) => failed.push(error.to_string()),
        }
        assert!(begun.elapsed() < 4 * LONG, "{failed:?}");
    }
}
