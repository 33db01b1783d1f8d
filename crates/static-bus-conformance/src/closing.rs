//! Members that join and leave while a group has work.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::support::{
    AT_ONCE, JOINING, SILENCE, Tally, append, connect, drain, ids, join, join_all, list, record,
    topic,
};
use super::{Harness, Outcome, Sharing};
use static_bus_remote::transport::Kind;

/// A member that closes releases its records, and another member gets them at once.
///
/// Fails for an engine that deletes the records with the member, or waits for the end of their leases.
pub async fn a_member_that_closes_releases_its_records<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    for kind in [Kind::Command, Kind::Event] {
        let topic = topic(kind, "left");
        let first = join(&transport, &topic, "handlers", "first").await;
        let second = join(&transport, &topic, "handlers", "second").await;
        append(&transport, &topic, (0..20).map(record)).await;
        let held = first.take_in_order(20).await;
        first.acknowledge(&held[..5]).await;
        first.close().await;
        let got = second.take_within(15, AT_ONCE).await;
        let mut came = ids(&got);
        came.sort();
        assert_eq!(list(came), "5 to 19", "the records of the closed member");
        second.acknowledge(&got).await;
        second
            .receives_nothing(SILENCE, "all are acknowledged")
            .await;
    }
    Ok(())
}

/// A member that closes and joins again many times while records are appended, each time with unsettled records,
/// receives all records, and acknowledges each once.
///
/// Fails for an engine that loses records that it has read ahead, or that begins again at the first record.
pub async fn a_member_closed_and_reopened_mid_stream_loses_nothing<H: Harness>(
    harness: &H,
) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Event, "reopened");
    let tally = Tally::new(0..1_000);
    join(&transport, &topic, "handlers", "founder")
        .await
        .close()
        .await;
    let producer = tokio::spawn({
        let (transport, topic) = (connect(harness).await, topic.clone());
        async move {
            for n in 0..100 {
                append(&transport, &topic, (n * 10..(n + 1) * 10).map(record)).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let mut times = 0;
    while !tally.complete() {
        // Under one name half of the time: a process that restarts may keep its name.
        let name = format!("reader {}", times / 2 * (times % 2));
        let member = join(&transport, &topic, "handlers", &name).await;
        let wait = match member.sharing() {
            Sharing::Partitions => JOINING,
            _ => Duration::from_millis(100),
        };
        for _ in 0..3 {
            let got = member.receive(30, wait).await;
            let done = &got[..got.len().div_ceil(2)];
            tally.saw(done);
            member.acknowledge(done).await;
        }
        member.close().await;
        times += 1;
    }
    producer.await.expect("the producer appended all");
    let last = join(&transport, &topic, "handlers", "last").await;
    last.receives_nothing(SILENCE, "all are acknowledged").await;
    tally.exactly_once();
    Ok(())
}

/// Ten members with unsettled records close at the same moment, while records are appended, and one member that stays
/// gets the rest. Where partitions are shared, some of the ten may have no records.
///
/// Fails for an engine that gives released records to a member that is closing itself.
pub async fn ten_members_closing_at_once_lose_nothing<H: Harness>(harness: &H) -> Outcome {
    let topic = topic(Kind::Command, "ten");
    let transport = connect(harness).await;
    append(&transport, &topic, (0..1_000).map(record)).await;
    let tally = Arc::new(Tally::new(0..1_200));
    let start = Arc::new(tokio::sync::Barrier::new(11));
    let mut closing = JoinSet::new();
    for n in 0..10 {
        let member = join(&transport, &topic, "handlers", &format!("closing {n}")).await;
        let (tally, start) = (Arc::clone(&tally), Arc::clone(&start));
        closing.spawn(async move {
            let got = match member.sharing() {
                Sharing::Partitions => member.receive(40, JOINING).await,
                _ => member.take(40).await,
            };
            let done = &got[..got.len() / 2];
            tally.saw(done);
            member.acknowledge(done).await;
            start.wait().await;
            member.close().await;
        });
    }
    let stays = join(&transport, &topic, "handlers", "stays").await;
    start.wait().await;
    append(&transport, &topic, (1_000..1_200).map(record)).await;
    join_all(closing).await;
    drain(vec![stays], &tally, 50).await;
    tally.exactly_once();
    Ok(())
}
