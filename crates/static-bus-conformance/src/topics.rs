//! The separation of topics and of groups.

use std::{panic, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::support::{
    SILENCE, Tally, append, connect, ids, join, join_all, list, read, record, topic, within,
};
use super::{Harness, Outcome};
use static_bus_remote::transport::{Claim, Kind, Topic, Transport};

/// Readers of twenty topics receive the records of their own topic only, while all topics are filled at the same time.
/// Topics of two kinds may have one name.
///
/// Fails for an engine that names topics without their kind, or that matches names as patterns.
pub async fn twenty_topics_do_not_mix<H: Harness>(harness: &H) -> Outcome {
    const EACH: usize = 100;
    let transport = connect(harness).await;
    let names = [
        "orders",
        "orders.place",
        "shop::orders",
        "Orders",
        "orders*",
    ];
    let kinds = [Kind::Query, Kind::Reply, Kind::Command, Kind::Event];
    let topics: Vec<Topic> = kinds
        .iter()
        .flat_map(|kind| names.map(|name| topic(*kind, name)))
        .collect();

    let mut open = Vec::new();
    for (n, topic) in topics.iter().enumerate() {
        open.push(read(&transport, topic, &format!("reader {n}")).await);
    }
    let mut readers = JoinSet::new();
    for (n, (topic, reader)) in topics.iter().zip(open).enumerate() {
        let what = format!("{} {}", topic.kind.as_str(), topic.name);
        readers.spawn(async move {
            let tally = Tally::new(n * EACH..(n + 1) * EACH);
            while !tally.complete() {
                tally.saw(&reader.receive(20, Duration::from_secs(1)).await);
                tally.none_foreign();
            }
            tally.saw(&reader.receive(20, SILENCE).await);
            println!("{what}: {} records", tally.count());
            tally.exactly_once();
        });
    }
    for n in 0..EACH {
        let one_each = topics.iter().enumerate();
        let one_each = one_each.map(|(at, topic)| (topic.clone(), record(at * EACH + n)));
        for result in within("append", transport.append(one_each.collect())).await {
            result.unwrap_or_else(|error| panic!("append: {error}"));
        }
    }
    join_all(readers).await;
    Ok(())
}

/// Group `c` of topic `a.b` and group `b.c` of topic `a` are two groups, for each usual separator.
///
/// Fails for an engine that joins topic and group to one name, so that the two groups share records or claims.
pub async fn names_that_are_equal_when_joined_do_not_mix<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    for separator in [".", ":", "::", "/", "-", "_"] {
        let long = topic(Kind::Event, format!("a{separator}b"));
        let short = topic(Kind::Event, "a");
        let of_long = join(&transport, &long, "c", "reader").await;
        let group: Arc<str> = format!("b{separator}c").into();
        let of_short = join(&transport, &short, &group, "reader").await;

        append(&transport, &long, [record(1)]).await;
        append(&transport, &short, [record(2)]).await;
        for (member, expected) in [(&of_long, 1), (&of_short, 2)] {
            let got = member.take(1).await;
            assert_eq!(
                list(ids(&got)),
                expected.to_string(),
                "with {separator:?} between the names"
            );
            let claim = member.claim(&["key"]).await;
            assert_eq!(
                claim,
                [Claim::Granted],
                "with {separator:?} between the names"
            );
            member.acknowledge(&got).await;
        }
        of_long
            .receives_nothing(SILENCE, "it has all records of its topic")
            .await;
        of_short
            .receives_nothing(SILENCE, "it has all records of its topic")
            .await;
        of_short.close().await;
    }
    Ok(())
}
