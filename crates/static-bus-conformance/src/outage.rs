//! A broker that is killed and started again.

use std::{
    collections::BTreeSet,
    panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use super::support::{
    DEADLINE, SILENCE, append, connect, id, ids, join, join_all, leases, list, record,
    subscription, topic, within,
};
use super::{Harness, Outcome};
use static_bus_remote::{
    lock::lock,
    transport::{Consumer as _, Kind, Transport, TransportError},
};

const PAUSE: Duration = Duration::from_millis(20);

/// The cases that restart the broker.
pub(crate) const RESTARTING: [&str; 2] = [
    "a_broker_restarted_twice_loses_nothing_confirmed",
    "settled_records_stay_settled_after_a_restart",
];

/// Three producers and three members go on during two restarts of the broker, on the same connections. Calls may fail
/// meanwhile, but none hangs, and every confirmed record is delivered.
///
/// Fails for an engine that confirms records that were written to a broken connection, that does not connect again, or
/// that waits forever on the old connection.
pub async fn a_broker_restarted_twice_loses_nothing_confirmed<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    transport.needs_restart(harness)?;
    let topic = topic(Kind::Command, "outage");
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let arrived = Arc::new(Mutex::new(BTreeSet::new()));

    let mut members = JoinSet::new();
    for n in 0..3 {
        let subscription = subscription(&topic, "handlers", &format!("member {n}"))
            .with_lease(Duration::from_secs(5));
        let transport = connect(harness).await;
        let consumer = within("join", transport.consume(subscription))
            .await
            .expect("the broker runs");
        let (done, arrived) = (Arc::clone(&done), Arc::clone(&arrived));
        members.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let received = consumer.receive(50, Duration::from_millis(250));
                let Ok(got) = within("receive", received).await else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                lock(&arrived).extend(ids(&got));
                // If it fails, the records are delivered again, as promised.
                let _ = within("acknowledge", consumer.acknowledge(&leases(&got))).await;
            }
        });
    }
    let mut producers = JoinSet::new();
    for n in 0..3 {
        let (transport, topic) = (connect(harness).await, topic.clone());
        let stop = Arc::clone(&stop);
        producers.spawn(async move {
            let (mut confirmed, mut next) = (Vec::new(), n * 1_000_000);
            while !stop.load(Ordering::Relaxed) {
                let some = (next..next + 10).map(|id| (topic.clone(), record(id)));
                let results = within("append", transport.append(some.collect())).await;
                let kept = (next..).zip(&results).filter(|(_, result)| result.is_ok());
                confirmed.extend(kept.map(|(id, _)| id));
                next += 10;
                tokio::time::sleep(PAUSE / 2).await;
            }
            confirmed
        });
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        harness.restart().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let confirmed: BTreeSet<usize> = join_all(producers).await.concat().into_iter().collect();

    let mut missing = confirmed.clone();
    let mut last = Instant::now();
    while !missing.is_empty() {
        assert!(
            last.elapsed() < DEADLINE,
            "lost {} of {} confirmed records: {}",
            missing.len(),
            confirmed.len(),
            list(missing)
        );
        tokio::time::sleep(PAUSE).await;
        let before = missing.len();
        let all = lock(&arrived);
        missing.retain(|id| !all.contains(id));
        if missing.len() < before {
            last = Instant::now();
        }
    }
    done.store(true, Ordering::Relaxed);
    join_all(members).await;
    println!("confirmed and delivered: {}", confirmed.len());
    Ok(())
}

/// After a restart, acknowledged records are not delivered again, released records are, and dead letters are listed.
///
/// Fails for an engine that keeps records and loses groups.
pub async fn settled_records_stay_settled_after_a_restart<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    transport.needs_restart(harness)?;
    let topic = topic(Kind::Event, "settled");
    let first = join(&transport, &topic, "handlers", "first").await;
    append(&transport, &topic, (0..100).map(record)).await;
    let got = first.take(60).await;
    let left: BTreeSet<usize> = (0..100).filter(|n| !ids(&got[..50]).contains(n)).collect();
    first.acknowledge(&got[..50]).await;
    first.close().await;
    let dead = super::support::topic(Kind::DeadLetter, "");
    append(&transport, &dead, [record(7)]).await;
    harness.restart().await;

    let fresh = connect(harness).await;
    until_it_works("check", || fresh.check()).await;
    let second = join(&fresh, &topic, "handlers", "second").await;
    let got = second.take(50).await;
    let mut came = ids(&got);
    came.sort();
    assert_eq!(list(came), list(left), "fifty are acknowledged");
    second.acknowledge(&got).await;
    second
        .receives_nothing(SILENCE, "all are acknowledged")
        .await;
    let letters = until_it_works("dead letters", || fresh.dead_letters(None, 10)).await;
    let letters: Vec<_> = letters.iter().map(|letter| id(&letter.record)).collect();
    assert_eq!(letters, [7], "dead letters");
    Ok(())
}

async fn until_it_works<T, F>(what: &str, call: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, TransportError>>,
{
    let start = Instant::now();
    loop {
        match within(what, call()).await {
            Ok(value) => return value,
            Err(error) if start.elapsed() > DEADLINE => panic!("{what}: {error}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
