//! Receiving: the length of the wait, the number of records, and receives that are dropped.

use std::{panic, time::Duration};

use super::support::{
    AT_ONCE, Connection, Dice, Reader, SILENCE, Source, Tally, append, connect, ids, join, join_as,
    list, listen, read, record, subscription, topic, within,
};
use super::{Harness, Outcome, Sharing};
use static_bus_remote::transport::{Kind, Topic, Transport};
use tokio::time::Instant;

/// A reader that waits gets a record as soon as it is appended.
///
/// Fails for an engine that polls at long intervals, or that waits for a full batch.
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

/// While there are no records, a receive lasts for its wait, and not longer. A receive with a wait of zero returns the
/// records that are there.
///
/// Fails for an engine that takes a wait of zero for an unlimited one, or that returns at once, so that its caller
/// spins.
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
                "a receive without a wait returns nothing"
            );
            got = reader.receive(10, Duration::ZERO).await;
        }
        assert_eq!(ids(&got), [1], "{}", kind.as_str());
    }
    Ok(())
}

/// A receive returns at most the given number of records, and the others go to other members; where partitions are
/// shared, when the member closes.
///
/// Fails for an engine that reserves more records for a member than it asked for.
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
    if modest.sharing() == Sharing::Partitions {
        modest.acknowledge(&got).await;
        modest.close().await;
    }
    let rest = other.take_within(92, AT_ONCE).await;
    let mut all = [ids(&got), ids(&rest)].concat();
    all.sort();
    assert_eq!(list(all), "0 to 99");
    Ok(())
}

/// A receive of a consumer that is dropped at any moment loses no record: a record that it was about to return is
/// delivered again.
///
/// Fails for an engine that takes records from the broker for a receive that is dropped.
pub async fn dropping_a_receive_loses_nothing<H: Harness>(harness: &H) -> Outcome {
    const LEASE: Duration = Duration::from_secs(1);
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "dropped");
    let subscription = subscription(&topic, "handlers", "impatient").with_lease(LEASE);
    let member = join_as(&transport, subscription).await;
    let producer = tokio::spawn(append_slowly(connect(harness).await, topic));
    let tally = Tally::new(0..SLOWLY);
    let mut impatience = Impatience::new();
    while !tally.complete() {
        if let Some(got) = impatience.receive(&member).await {
            tally.saw(&got);
            member.acknowledge(&got).await;
        }
    }
    producer.await.expect("the producer appended all");
    tally.none_lost();
    Ok(())
}

/// A receive of a receiver that is dropped at any moment loses no query: a query that it was about to return is
/// returned by the next receive, once.
///
/// Fails for an engine that takes queries from the broker for a receive that is dropped.
pub async fn dropping_a_receive_of_queries_loses_nothing<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Query, "dropped");
    let receiver = listen(&transport, &topic, "impatient").await;
    let producer = tokio::spawn(append_slowly(connect(harness).await, topic));
    let tally = Tally::new(0..SLOWLY);
    let mut impatience = Impatience::new();
    while !tally.complete() {
        if let Some(got) = impatience.receive(&receiver).await {
            tally.saw(&got);
        }
    }
    producer.await.expect("the producer appended all");
    tally.saw(&receiver.receive(3, SILENCE).await);
    tally.exactly_once();
    Ok(())
}

/// The number of records of [`append_slowly`].
const SLOWLY: usize = 500;

async fn append_slowly<T: Transport>(transport: Connection<T>, topic: Topic) {
    for n in (0..SLOWLY).step_by(2) {
        append(&transport, &topic, [record(n), record(n + 1)]).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Receives that are dropped at random moments, until 300 have been dropped.
struct Impatience {
    dice: Dice,
    dropped: usize,
}

impl Impatience {
    fn new() -> Self {
        Impatience {
            dice: Dice::new(7),
            dropped: 0,
        }
    }

    /// Receives up to three records, or returns `None` if the receive was dropped.
    async fn receive<S: Source>(&mut self, reader: &Reader<S>) -> Option<Vec<S::Received>> {
        let soon = match self.dropped {
            300.. => Duration::from_secs(25),
            n if n % 3 == 0 => Duration::ZERO,
            _ => Duration::from_micros(self.dice.below(3_000)),
        };
        let receive = reader.source().receive(3, Duration::from_secs(1));
        match tokio::time::timeout(soon, receive).await {
            Err(_) => {
                self.dropped += 1;
                None
            }
            Ok(Ok(got)) => Some(got),
            Ok(Err(error)) => panic!("after {} dropped receives: {error}", self.dropped),
        }
    }
}
