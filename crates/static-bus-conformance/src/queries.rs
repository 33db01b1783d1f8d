//! Queries and replies: delivered at most once, and not after they have expired.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::support::{
    LONG, SILENCE, Tally, append, connect, ids, join_all, list, listen, record, topic,
};
use super::{Harness, Outcome};
use static_bus_remote::transport::{Kind, Record};

/// A query goes to one receiver, once: it is not delivered again later, or when its receiver closes.
///
/// Fails for an engine that leases queries like commands, so that a slow query is answered twice.
pub async fn a_query_is_delivered_once<H: Harness>(harness: &H) -> Outcome {
    const LATER: Duration = Duration::from_millis(500);
    let topic = topic(Kind::Query, "asked");
    let tally = Arc::new(Tally::new(0..1_000));
    let mut receivers = JoinSet::new();
    let transport = connect(harness).await;
    for n in 0..10 {
        let receiver = listen(&transport, &topic, &format!("receiver {n}")).await;
        let tally = Arc::clone(&tally);
        receivers.spawn(async move {
            while !tally.complete() {
                tally.saw(&receiver.receive(5, Duration::from_millis(250)).await);
            }
            receiver
        });
    }
    let asked = (0..1_000).map(|n| Record {
        expires: Some(LONG),
        ..record(n)
    });
    append(&transport, &topic, asked).await;
    let mut receivers = join_all(receivers).await;
    for receiver in receivers.drain(..5) {
        receiver.close().await;
    }
    for receiver in receivers {
        tally.saw(&receiver.receive(5, LATER).await);
    }
    let late = listen(&transport, &topic, "late").await;
    late.receives_nothing(SILENCE, "every query was delivered")
        .await;
    tally.exactly_once();
    Ok(())
}

/// Each of five processes gets its own replies, and each reply once.
///
/// Fails for an engine with one queue for the replies of all processes.
pub async fn a_reply_reaches_its_own_process_once<H: Harness>(harness: &H) -> Outcome {
    let sender = connect(harness).await;
    let mut processes = JoinSet::new();
    let mut topics = Vec::new();
    for n in 0..5 {
        let topic = topic(Kind::Reply, format!("process-{n}"));
        let transport = connect(harness).await;
        let receiver = listen(&transport, &topic, &format!("process {n}")).await;
        topics.push(topic);
        processes.spawn(async move {
            let tally = Tally::new((n..500).step_by(5));
            while !tally.complete() {
                tally.saw(&receiver.receive(50, Duration::from_millis(250)).await);
                tally.none_foreign();
            }
            tally.saw(&receiver.receive(50, SILENCE).await);
            tally.exactly_once();
        });
    }
    for n in 0..500 {
        append(&sender, &topics[n % 5], [record(n)]).await;
    }
    join_all(processes).await;
    Ok(())
}

/// Queries and replies that have expired are not delivered, and do not block those that have not.
///
/// Fails for an engine that delivers a query after the deadline of its caller.
pub async fn an_expired_query_or_reply_is_not_delivered<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    for kind in [Kind::Query, Kind::Reply] {
        let topic = topic(kind, "expired");
        let receiver = listen(&transport, &topic, "receiver").await;
        let records = (0..100).map(|n| Record {
            expires: match n % 10 {
                0 => Some(LONG),
                5 => None,
                _ => Some(Duration::from_millis(300)),
            },
            ..record(n)
        });
        append(&transport, &topic, records).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let got = ids(&receiver.take_in_order(20).await);
        let unexpired: Vec<usize> = (0..100).step_by(5).collect();
        assert!(
            got == unexpired,
            "every fifth {} has not expired, and {} came",
            kind.as_str(),
            list(got)
        );
        receiver
            .receives_nothing(SILENCE, "the others have expired")
            .await;
    }
    Ok(())
}
