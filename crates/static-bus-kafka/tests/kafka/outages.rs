//! Outages of the cluster.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use static_bus_kafka::KafkaTransport;
use static_bus_remote::{
    Transport as _,
    transport::{Claim, Consumer as _, Record, Subscription, Topic},
};

use crate::support::*;
use test_brokers::kafka::{Kafka, KafkaOptions};
use tokio::sync::watch;

/// Records of seven keys.
fn numbered(topic: &str, numbers: Range<u32>) -> Vec<(Topic, Record)> {
    let records = numbers.map(|n| {
        let key = format!("key-{}", n % 7);
        (command(topic), record(n.to_string(), Some(&key)))
    });
    records.collect()
}

/// Checks that all confirmed records are in the topic, and that it has no duplicates and keeps the order of keys.
async fn assert_kept(kafka: &Kafka, topic: &str, confirmed: impl IntoIterator<Item = u32>) {
    let messages = contents(kafka.servers(), &format!("static-bus.command.{topic}")).await;
    let found: Vec<u32> = bodies(&messages)
        .iter()
        .map(|b| b.parse().unwrap())
        .collect();
    let there: HashSet<_> = found.iter().copied().collect();
    assert_eq!(there.len(), found.len(), "duplicates");
    let confirmed = confirmed.into_iter();
    let lost: Vec<_> = confirmed.filter(|n| !there.contains(n)).collect();
    assert!(lost.is_empty(), "confirmed and lost: {lost:?}");
    let mut last = HashMap::new();
    for n in found {
        if let Some(before) = last.insert(n % 7, n) {
            assert!(before < n, "{n} comes after {before}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmed_records_are_there_once_after_two_crashes() {
    let mut kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let transport = impatient(kafka.servers(), 5).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (count, mut counted) = watch::channel(0);
    let appending = tokio::spawn({
        let stop = stop.clone();
        async move {
            let (mut confirmed, mut number) = (Vec::new(), 0_u32);
            let mut refused = 0;
            while !stop.load(Ordering::Relaxed) {
                let records = numbered("crashes", number..number + 50);
                for (n, result) in (number..).zip(transport.append(records).await) {
                    match result {
                        Ok(()) => confirmed.push(n),
                        Err(_) => refused += 1,
                    }
                }
                number += 50;
                count.send_replace(confirmed.len());
            }
            (confirmed, refused, number)
        }
    });
    let mut confirms_more = async || {
        let enough = *counted.borrow() + 200;
        let confirmed = counted.wait_for(|count| *count >= enough);
        tokio::time::timeout(LONG, confirmed)
            .await
            .unwrap()
            .unwrap();
    };
    for _ in 0..2 {
        confirms_more().await;
        kafka = tokio::task::spawn_blocking(move || {
            kafka.restart();
            kafka
        })
        .await
        .unwrap();
    }
    confirms_more().await;
    stop.store(true, Ordering::Relaxed);
    let (confirmed, refused, number) = appending.await.unwrap();
    assert_eq!(confirmed.len() + refused, number as usize);
    assert_kept(&kafka, "crashes", confirmed).await;
}

/// A server, and a transport that connects through a proxy.
async fn start_proxied() -> (Kafka, KafkaTransport) {
    let options = KafkaOptions {
        proxied: true,
        ..KafkaOptions::default()
    };
    let kafka = tokio::task::spawn_blocking(|| Kafka::with(options));
    let kafka = kafka.await.unwrap();
    let transport = kafka_at(kafka.proxy().servers())
        .deadline(Duration::from_secs(90))
        .set("reconnect.backoff.max.ms", "100")
        // Several requests in flight for each partition.
        .set("batch.num.messages", "10")
        .connect()
        .await
        .unwrap();
    (kafka, transport)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_whose_response_was_lost_are_there_once_and_in_order() {
    let (kafka, transport) = start_proxied().await;
    kafka.proxy().lose_every(5);
    for round in 0..5 {
        let records = numbered("answers", round * 210..(round + 1) * 210);
        for result in transport.append(records).await {
            result.unwrap();
        }
    }
    kafka.proxy().lose_nothing();
    let lost = kafka.proxy().lost();
    assert!(lost > 20, "{lost} responses were lost");
    assert_kept(&kafka, "answers", 0..1050).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_whose_response_was_lost_are_there_once() {
    let (kafka, transport) = start_proxied().await;
    let subscription = Subscription::new(command("answers"), "handlers", "one");
    let member = transport.consume(subscription).await.unwrap();
    kafka.proxy().lose_every(3);
    for n in 0..30 {
        let claims = member.claim(&[format!("key {n}").into()]).await.unwrap();
        assert_eq!(claims, [Claim::Granted]);
    }
    // The last entry is written after all others.
    member.close().await.unwrap();
    kafka.proxy().lose_nothing();
    let lost = kafka.proxy().lost();
    assert!(lost > 5, "{lost} responses were lost");
    let log = "static-bus.claims.command.answers-at-handlers";
    let log = contents(kafka.servers(), log).await;
    let entries = bodies(&log);
    let different: HashSet<_> = entries.iter().collect();
    assert!(different.len() > 30, "{entries:?}");
    assert_eq!(different.len(), entries.len(), "{entries:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_a_cluster_that_hangs_ends_by_its_deadline() {
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let transport = impatient(kafka.servers(), 10).await;
    let append = async |name: &str| {
        let record = (command(name), record("", Some("key")));
        transport.append(vec![record]).await.remove(0)
    };
    succeeds(async || append("hangs").await).await;
    kafka.pause();
    // Far more than the deadline: a call that hangs never ends.
    let limit = Duration::from_secs(60);
    for name in ["hangs", "hangs too"] {
        let begin = Instant::now();
        let error = append(name).await.unwrap_err();
        assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
        assert!(
            error
                .to_string()
                .ends_with("cannot be reached, and may have executed the request"),
            "{error}"
        );
    }
    let begin = Instant::now();
    transport.check().await.unwrap_err();
    assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
    kafka.resume();
    succeeds(async || append("hangs").await).await;
    succeeds(async || transport.check().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_fails_during_an_outage_and_succeeds_after_it() {
    let mut kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let transport = impatient(kafka.servers(), 2).await;
    succeeds(async || transport.check().await).await;
    kafka.kill();
    let error = transport.check().await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("kafka://{}: ", kafka.servers())),
        "{error}"
    );
    let _kafka = tokio::task::spawn_blocking(move || {
        kafka.launch();
        kafka
    })
    .await
    .unwrap();
    succeeds(async || transport.check().await).await;
}

/// The records that are on their way are bounded. The others wait in the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_wait_in_vain_are_not_sent() {
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let transport = impatient(kafka.servers(), 3).await;
    let append = async |records: Vec<String>| {
        let records = records.into_iter();
        let records = records.map(|body| (command("waits"), record(body, Some("key"))));
        transport.append(records.collect()).await
    };
    let append_one = async |body: &str| append(vec![body.to_owned()]).await.remove(0);
    succeeds(async || append_one("first").await).await;
    kafka.pause();
    let large = |n| format!("{n} {}", "x".repeat(1_000_000));
    let results = append((0..20).map(large).collect()).await;
    let texts: Vec<_> = results
        .into_iter()
        .map(|result| result.unwrap_err().to_string())
        .collect();
    let not_sent = format!(
        "kafka://{}: appending to static-bus.command.waits: not sent, because the cluster has not confirmed any record \
         for 3s: it is overloaded or cannot be reached",
        kafka.servers()
    );
    let sent = texts.iter().filter(|text| **text != not_sent).count();
    assert!((1..10).contains(&sent), "{texts:?}");
    kafka.resume();
    succeeds(async || append_one("last").await).await;
    let messages = contents(kafka.servers(), "static-bus.command.waits").await;
    let number = |body: &str| body.split_once(' ')?.0.parse::<usize>().ok();
    let there: Vec<_> = bodies(&messages).into_iter().filter_map(number).collect();
    assert!(there.iter().all(|n| *n < sent), "{there:?} of {sent}");
}
