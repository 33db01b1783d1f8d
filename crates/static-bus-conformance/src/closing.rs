//! Members come and go, and the group loses nothing.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::support::{
    AT_ONCE, JOINING, SILENCE, Tally, append, connect, drain, ids, join, join_all, list, record,
    topic,
};
use super::{Harness, Outcome, Sharing};
use static_bus_remote::transport::Kind;

/// What a member holds goes back when it closes, and another gets it at once.
///
/// A naive engine deletes the member and what it held with it, or waits for the leases.
pub async fn a_member_that_closes_gives_back_what_it_held<H: Harness>(harness: &H) -> Outcome {
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
        assert_eq!(list(came), "5 to 19", "what the closed member held");
        second.acknowledge(&got).await;
        second.nothing(SILENCE, "all are acknowledged").await;
    }
    Ok(())
}

/// A consumer that is closed and opened again, over and over while records are appended, with part of
/// them unfinished, ends up with all of them, and finishes each once.
///
/// A naive engine loses what it had fetched ahead, or starts again where it had begun.
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
        // Under its old name half of the time: a process that starts again may keep it.
        let name = format!("reader {}", times / 2 * (times % 2));
        let member = join(&transport, &topic, "handlers", &name).await;
        let wait = match member.sharing {
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
    last.nothing(SILENCE, "all are acknowledged").await;
    tally.exactly_once();
    Ok(())
}

/// Ten members close in the same moment, each in the middle of its work and while records are appended;
/// one that stays finishes the rest. Where partitions are shared, some of the ten may have none.
///
/// A naive engine gives back to a member that is closing, too.
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
            let got = match member.sharing {
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
