//! Confirmed records do not depend on their producer.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::support::{
    Dice, Tally, append, connect, drain, ids, join, join_all, list, record, topic, within,
};
use super::{Harness, Outcome};
use static_bus_remote::transport::{Kind, Transport};

/// Ten producers whose appends are dropped at random moments: every confirmed record is delivered, and none twice.
///
/// Fails for an engine that confirms records in a buffer of its own, or that sends the records of a dropped append
/// again.
pub async fn producers_dropped_mid_flight_lose_nothing_confirmed<H: Harness>(
    harness: &H,
) -> Outcome {
    let topic = topic(Kind::Command, "cut off");
    let mut producers = JoinSet::new();
    for n in 0..10 {
        let (transport, topic) = (connect(harness).await, topic.clone());
        producers.spawn(async move {
            let mut dice = Dice::new(n);
            let mut confirmed = Vec::new();
            for batch in 0..30 {
                let from = n * 300 + batch * 10;
                let some = (from..from + 10)
                    .map(|id| (topic.clone(), record(id)))
                    .collect();
                let results = if batch % 2 == 0 {
                    within("append", transport.append(some)).await
                } else {
                    let soon = Duration::from_micros(dice.below(1_500));
                    let cut = tokio::time::timeout(soon, transport.append(some)).await;
                    cut.unwrap_or_default()
                };
                let kept = (from..).zip(&results).filter(|(_, result)| result.is_ok());
                confirmed.extend(kept.map(|(id, _)| id));
            }
            confirmed
        });
    }
    let confirmed: Vec<usize> = join_all(producers).await.concat();
    println!("confirmed: {} of 3000", confirmed.len());
    let transport = connect(harness).await;
    let member = join(&transport, &topic, "handlers", "reader").await;
    let tally = Arc::new(Tally::new(confirmed));
    drain(vec![member], &tally, 100).await;
    tally.none_lost();
    tally.none_twice();
    Ok(())
}

/// Records are kept when the connection that appended them is dropped.
///
/// Fails for an engine that keeps records in the process of the producer.
pub async fn records_outlive_their_producer<H: Harness>(harness: &H) -> Outcome {
    let producer = connect(harness).await;
    producer.needs_other_processes()?;
    let topic = topic(Kind::Command, "left behind");
    append(&producer, &topic, (0..100).map(record)).await;
    drop(producer);
    let transport = connect(harness).await;
    let member = join(&transport, &topic, "handlers", "reader").await;
    assert_eq!(list(ids(&member.take_in_order(100).await)), "0 to 99");
    Ok(())
}
