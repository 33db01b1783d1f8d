//! Queries and replies: delivered at most once, and not after they have expired.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::support::{
    DEADLINE, LONG, SILENCE, Tally, append, connect, ids, join_all, list, listen, record, topic,
    within,
};
use super::{Harness, Outcome};
use static_bus_remote::{
    TransportError, TransportErrorKind,
    transport::{Kind, Record, Topic, Transport},
};

/// A query goes to one receiver, once: it is not delivered again later, or when its receiver closes.
///
/// Fails for an engine that leases queries like commands, so that a slow query is answered twice.
pub async fn a_query_is_delivered_once<H: Harness>(harness: &H) -> Outcome {
    const LATER: Duration = Duration::from_millis(500);
    let topic = topic(Kind::Query, "asked");
    let transport = connect(harness).await;
    let mut open = Vec::new();
    for n in 0..10 {
        open.push(listen(&transport, &topic, &format!("receiver {n}")).await);
    }
    let tally = Arc::new(Tally::new(0..1_000));
    let mut receivers = JoinSet::new();
    for receiver in open {
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
    let (mut topics, mut open) = (Vec::new(), Vec::new());
    for n in 0..5 {
        let topic = topic(Kind::Reply, format!("process-{n}"));
        let transport = connect(harness).await;
        open.push(listen(&transport, &topic, &format!("process {n}")).await);
        topics.push(topic);
    }
    let mut processes = JoinSet::new();
    for (n, receiver) in open.into_iter().enumerate() {
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

/// A query is received with the time that is left until it expires, and one that never expires without.
///
/// Fails for an engine that returns the time that the query had when it was appended.
pub async fn a_received_query_has_the_time_that_is_left<H: Harness>(harness: &H) -> Outcome {
    const WAIT: Duration = Duration::from_millis(1_500);
    let transport = connect(harness).await;
    let topic = topic(Kind::Query, "left");
    let receiver = listen(&transport, &topic, "receiver").await;
    let expires = [Some(LONG), None];
    let records = expires.map(|expires| Record {
        expires,
        ..record(usize::from(expires.is_none()))
    });
    append(&transport, &topic, records).await;
    tokio::time::sleep(WAIT).await;
    let mut got = receiver.take(2).await;
    got.sort_by_key(|query| query.expires.is_none());
    let left = got[0].expires.expect("the first expires");
    // Clocks of computers may differ by a second.
    let most = LONG - WAIT + Duration::from_secs(1);
    assert!(
        left <= most,
        "{WAIT:?} of {LONG:?} are over, and {left:?} are left"
    );
    assert!(left > LONG / 2, "{left:?} of {LONG:?} are left");
    assert_eq!(got[1].expires, None, "a query that never expires");
    Ok(())
}

/// A query of a topic that never had a receiver is refused with `NoReceiver`, with a text that names the topic, or
/// accepted if the engine does not know the receivers. The other records of the append are accepted, and so are
/// replies, commands and events without a reader.
///
/// Fails for an engine that accepts a query which nobody will receive, though it says that it knows the receivers.
pub async fn a_query_without_a_receiver_is_refused<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let refuses = transport.receiver_grace().is_some();
    let served = topic(Kind::Query, "served");
    let receiver = listen(&transport, &served, "receiver").await;
    let lonely = topic(Kind::Query, "lonely");
    let other = |kind| topic(kind, "lonely");
    let records = [
        served,
        lonely.clone(),
        other(Kind::Reply),
        other(Kind::Command),
        other(Kind::Event),
    ];
    let records = records.into_iter().zip((0..).map(record)).collect();
    let results = within("append", transport.append(records)).await;
    for (n, result) in results.into_iter().enumerate() {
        match result {
            Err(error) if n == 1 && refuses => assert_no_receiver(&lonely, &error),
            Err(error) => panic!("record {n}: {error}"),
            Ok(()) => assert!(
                n != 1 || !refuses,
                "{lonely} has no receiver, and its query is accepted"
            ),
        }
    }
    assert_eq!(
        ids(&receiver.take(1).await),
        [0],
        "the query with a receiver"
    );
    Ok(())
}

/// From the opening of a receiver on its queries are accepted, also before it first receives, and delivered.
///
/// Fails for an engine that knows a receiver from its first receive on.
pub async fn a_query_is_accepted_when_its_receiver_has_opened<H: Harness>(harness: &H) -> Outcome {
    let (here, there) = (connect(harness).await, connect(harness).await);
    for n in 0..10 {
        let topic = topic(Kind::Query, format!("opened-{n}"));
        let receiver = listen(&there, &topic, "receiver").await;
        append(&here, &topic, [record(n)]).await;
        assert_eq!(ids(&receiver.take(1).await), [n]);
    }
    Ok(())
}

/// While a receiver restarts, its queries are accepted, and delivered when it has opened again. The grace time begins anew with
/// each restart.
///
/// Fails for an engine without a grace time.
pub async fn a_query_is_accepted_while_its_receiver_restarts<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let grace = transport.receiver_grace().unwrap_or_default();
    let topic = topic(Kind::Query, "restarting");
    for n in 0..5 {
        let receiver = listen(&transport, &topic, "receiver").await;
        if n == 1 {
            // The grace time of the first restart is over.
            tokio::time::sleep(grace).await;
        }
        receiver.close().await;
        append(&transport, &topic, [record(n)]).await;
        let receiver = listen(&transport, &topic, "receiver").await;
        assert_eq!(ids(&receiver.take(1).await), [n]);
        receiver.close().await;
    }
    Ok(())
}

/// When the last receiver has been closed for the grace time, queries are refused with `NoReceiver`, and not while a
/// receiver is open. An engine that does not know the receivers accepts them.
///
/// Fails for an engine that never forgets a receiver.
pub async fn a_query_is_refused_when_its_receiver_has_been_gone_for_the_grace_time<H: Harness>(
    harness: &H,
) -> Outcome {
    let transport = connect(harness).await;
    let grace = transport.receiver_grace().unwrap_or(SILENCE);
    let topic = topic(Kind::Query, "closed");
    let receivers = [
        listen(&transport, &topic, "one").await,
        listen(&transport, &topic, "two").await,
    ];
    let [one, two] = receivers;
    one.close().await;
    // The other one is open, and idle.
    tokio::time::sleep(grace + grace / 2).await;
    append(&transport, &topic, [record(0)]).await;
    assert_eq!(ids(&two.take(1).await), [0]);
    two.close().await;
    if transport.receiver_grace().is_none() {
        append(&transport, &topic, [record(1)]).await;
        return Ok(());
    }
    let closed = tokio::time::Instant::now();
    loop {
        let appending = transport.append(vec![(topic.clone(), record(1))]);
        let mut results = within("append", appending).await;
        if let Err(error) = results.remove(0) {
            assert_no_receiver(&topic, &error);
            return Ok(());
        }
        assert!(
            closed.elapsed() < grace + DEADLINE,
            "{topic} has had no receiver for {:?}, and its query is accepted",
            closed.elapsed()
        );
        tokio::time::sleep(grace / 10).await;
    }
}

fn assert_no_receiver(topic: &Topic, error: &TransportError) {
    assert_eq!(error.kind(), TransportErrorKind::NoReceiver, "{error}");
    let named = error.reason().contains(&topic.to_string());
    assert!(named, "without the topic {topic}: {error}");
}
