//! Receiving: how long, how much, and what happens when nobody waits for the result any more.

use std::{
    panic,
    time::{Duration, Instant},
};

use super::support::{
    AT_ONCE, Dice, Tally, append, connect, ids, join, join_as, list, read, record, subscription,
    topic, within,
};
use super::{Harness, Outcome, Sharing};
use static_bus_remote::transport::{Consumer as _, Kind};

/// A member that waits gets a record as soon as there is one.
///
/// A naive engine looks every now and then, or waits for a batch to be full.
pub async fn a_waiting_member_gets_a_record_at_once<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    for kind in [Kind::Query, Kind::Reply, Kind::Command, Kind::Event] {
        let topic = topic(kind, "awaited");
        let reader = read(&transport, &topic, "waiting").await;
        let got = tokio::spawn(async move {
            let got = reader.receive(100, Duration::from_secs(25)).await;
            (Instant::now(), ids(&got))
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let start = Instant::now();
        append(&transport, &topic, [record(1)]).await;
        let (came, got) = within("the record comes", got).await.expect("it ran");
        assert_eq!(got, [1], "{}", kind.as_str());
        let took = came.saturating_duration_since(start);
        assert!(took < AT_ONCE, "{}: it took {took:?}", kind.as_str());
    }
    Ok(())
}

/// Where there is nothing to receive, a member waits for as long as it said, and not longer; a wait of
/// nothing is none, and gives what is there.
///
/// A naive engine rounds a short wait to zero and takes zero for "for ever", or returns at once and has its
/// caller spin.
pub async fn a_wait_ends_when_its_time_is_over<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    for kind in [Kind::Query, Kind::Command, Kind::Event] {
        let topic = topic(kind, "empty");
        let reader = read(&transport, &topic, "waiting").await;
        for wait in [
            Duration::from_millis(400),
            Duration::from_micros(10),
            Duration::ZERO,
        ] {
            let start = Instant::now();
            let got = within("a short wait", reader.receive(10, wait)).await;
            let took = start.elapsed();
            assert!(
                got.is_empty(),
                "got {}, but nothing was appended",
                list(ids(&got))
            );
            assert!(took < wait + AT_ONCE, "a wait of {wait:?} took {took:?}");
            assert!(took >= wait / 2, "a wait of {wait:?} was over in {took:?}");
        }
        append(&transport, &topic, [record(1)]).await;
        let start = Instant::now();
        let mut got = Vec::new();
        while got.is_empty() {
            assert!(
                start.elapsed() < AT_ONCE,
                "asking without a wait gives nothing"
            );
            got = reader.receive(10, Duration::ZERO).await;
        }
        assert_eq!(ids(&got), [1], "{}", kind.as_str());
    }
    Ok(())
}

/// A member gets no more than it asked for, and what it did not ask for is there for others; where
/// partitions are shared, when it leaves.
///
/// A naive engine fetches ahead for whoever asks first.
pub async fn no_more_is_received_than_was_asked_for<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "modest");
    let modest = join(&transport, &topic, "handlers", "modest").await;
    let other = join(&transport, &topic, "handlers", "other").await;
    append(&transport, &topic, (0..100).map(record)).await;
    let mut got = modest.take(1).await;
    while got.len() < 8 {
        let more = modest.receive(7, Duration::from_secs(1)).await;
        got.extend(more);
        assert!(got.len() <= 8, "asked for one and seven");
        if got.len() < 8 {
            got.extend(modest.take(8 - got.len()).await);
        }
    }
    if modest.sharing == Sharing::Partitions {
        modest.acknowledge(&got).await;
        modest.close().await;
    }
    let rest = other.take_within(92, AT_ONCE).await;
    let mut all = [ids(&got), ids(&rest)].concat();
    all.sort();
    assert_eq!(list(all), "0 to 99");
    Ok(())
}

/// A receive that is dropped, at any moment, loses no record: what it was about to give comes again.
///
/// A naive engine has the record on its way when nobody waits for it any more.
pub async fn dropping_a_receive_loses_nothing<H: Harness>(harness: &H) -> Outcome {
    const LEASE: Duration = Duration::from_secs(1);
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "dropped");
    let subscription = subscription(&topic, "handlers", "impatient").with_lease(LEASE);
    let member = join_as(&transport, subscription).await;
    let producer = tokio::spawn({
        let (transport, topic) = (connect(harness).await, topic.clone());
        async move {
            for n in 0..250 {
                append(&transport, &topic, [record(2 * n), record(2 * n + 1)]).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let tally = Tally::new(0..500);
    let mut dice = Dice::new(7);
    let mut dropped = 0;
    while !tally.complete() {
        let receive = member.consumer().receive(3, Duration::from_secs(1));
        let soon = match dropped {
            // Enough of it; now everything has to come.
            300.. => Duration::from_secs(25),
            n if n % 3 == 0 => Duration::ZERO,
            _ => Duration::from_micros(dice.below(3_000)),
        };
        match tokio::time::timeout(soon, receive).await {
            Err(_) => dropped += 1,
            Ok(Err(error)) => panic!("after {dropped} dropped receives: {error}"),
            Ok(Ok(got)) => {
                tally.saw(&got);
                member.acknowledge(&got).await;
            }
        }
    }
    producer.await.expect("the producer appended all");
    println!("dropped {dropped} receives");
    tally.none_lost();
    Ok(())
}
