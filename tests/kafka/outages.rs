//! A cluster that is not well.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use static_bus::remote::{Transport as _, kafka::KafkaTransport};

use crate::{brokers::kafka::Kafka, support::*};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_is_there_once_after_two_crashes() {
    let mut kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let transport = KafkaTransport::builder(kafka.servers())
        .deadline(Duration::from_secs(5))
        .connect()
        .await
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let appending = tokio::spawn({
        let stop = stop.clone();
        async move {
            let (mut confirmed, mut number) = (Vec::new(), 0_u32);
            let mut refused = 0;
            while !stop.load(Ordering::Relaxed) {
                let records: Vec<_> = (number..number + 50)
                    .map(|n| {
                        let key = format!("key-{}", n % 7);
                        (command("crashes"), record(n.to_string(), Some(&key)))
                    })
                    .collect();
                for (n, result) in (number..).zip(transport.append(records).await) {
                    match result {
                        Ok(()) => confirmed.push(n),
                        Err(_) => refused += 1,
                    }
                }
                number += 50;
            }
            (confirmed, refused, number)
        }
    });
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        kafka = tokio::task::spawn_blocking(move || {
            kafka.restart();
            kafka
        })
        .await
        .unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.store(true, Ordering::Relaxed);
    let (confirmed, refused, number) = appending.await.unwrap();
    assert_eq!(confirmed.len() + refused, number as usize);
    assert!(!confirmed.is_empty());
    let messages = contents(kafka.servers(), "static-bus.command.crashes").await;
    let found: Vec<u32> = bodies(&messages)
        .iter()
        .map(|b| b.parse().unwrap())
        .collect();
    let there: HashSet<_> = found.iter().copied().collect();
    assert_eq!(there.len(), found.len(), "none is there twice");
    let lost: Vec<_> = confirmed.iter().filter(|n| !there.contains(n)).collect();
    assert!(lost.is_empty(), "confirmed and lost: {lost:?}");
    let mut last = HashMap::new();
    for n in found {
        if let Some(before) = last.insert(n % 7, n) {
            assert!(before < n, "{n} comes after {before}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_a_cluster_that_hangs_ends_by_its_deadline() {
    let kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let transport = KafkaTransport::builder(kafka.servers())
        .deadline(Duration::from_secs(2))
        .connect()
        .await
        .unwrap();
    let append = async |name: &str| {
        let record = (command(name), record("", Some("key")));
        transport.append(vec![record]).await.remove(0)
    };
    append("hangs").await.unwrap();
    kafka.pause();
    // What hangs, hangs for ever.
    let limit = Duration::from_secs(30);
    for name in ["hangs", "hangs too"] {
        let begin = Instant::now();
        let error = append(name).await.unwrap_err();
        assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
        assert!(
            error
                .to_string()
                .ends_with("cannot be reached, and may or may not have done it"),
            "{error}"
        );
    }
    let begin = Instant::now();
    transport.check().await.unwrap_err();
    assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
    kafka.resume();
    let begin = Instant::now();
    while let Err(e) = append("hangs").await {
        assert!(begin.elapsed() < Duration::from_secs(60), "{e}");
    }
    transport.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_tells_that_the_cluster_is_gone_and_that_it_is_back() {
    let mut kafka = tokio::task::spawn_blocking(Kafka::start).await.unwrap();
    let transport = KafkaTransport::builder(kafka.servers())
        .deadline(Duration::from_secs(2))
        .connect()
        .await
        .unwrap();
    transport.check().await.unwrap();
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
    let begin = Instant::now();
    while let Err(e) = transport.check().await {
        assert!(begin.elapsed() < Duration::from_secs(60), "{e}");
    }
}
