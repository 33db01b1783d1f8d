//! Groups: each gets every record, and one of its members each.

use std::{panic, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::support::{
    SILENCE, Tally, append, connect, drain, ids, join, join_all, list, record, topic,
};
use super::{Harness, Outcome};
use static_bus_remote::transport::Kind;

/// Fifty members of one group receive 5,000 records while they are appended, each record once.
///
/// Fails for an engine that reads and takes a record in two steps, so that two members get it.
pub async fn fifty_members_share_five_thousand_records<H: Harness>(harness: &H) -> Outcome {
    let topic = topic(Kind::Command, "shared");
    let mut members = Vec::new();
    for connection in 0..5 {
        let transport = connect(harness).await;
        for n in 0..10 {
            let name = format!("member {connection}{n}");
            members.push(join(&transport, &topic, "handlers", &name).await);
        }
    }
    let tally = Arc::new(Tally::new(0..5_000));
    let readers = tokio::spawn({
        let tally = Arc::clone(&tally);
        async move { drain(members, &tally, 20).await }
    });
    let mut producers = JoinSet::new();
    for n in 0..5 {
        let (transport, topic) = (connect(harness).await, topic.clone());
        producers.spawn(async move {
            for hundred in 0..10 {
                let from = n * 1_000 + hundred * 100;
                append(&transport, &topic, (from..from + 100).map(record)).await;
            }
        });
    }
    join_all(producers).await;
    finish(readers).await;
    tally.exactly_once();
    Ok(())
}

/// Fifty groups each get the same 5,000 records, each record once.
///
/// Fails for an engine that removes a record when the first group has it, or before the slowest group has it.
pub async fn fifty_groups_each_get_five_thousand_records<H: Harness>(harness: &H) -> Outcome {
    let topic = topic(Kind::Event, "for everybody");
    let mut members = Vec::new();
    for connection in 0..5 {
        let transport = connect(harness).await;
        for n in 0..10 {
            let group = format!("group {connection}{n}");
            let member = join(&transport, &topic, &group, &format!("member of {group}")).await;
            members.push((group, member));
        }
    }
    let mut readers = JoinSet::new();
    for (group, member) in members {
        readers.spawn(async move {
            let tally = Arc::new(Tally::new(0..5_000));
            drain(vec![member], &tally, 200).await;
            println!("{group}: {} records", tally.count());
            tally.exactly_once();
        });
    }
    let transport = connect(harness).await;
    append(&transport, &topic, (0..5_000).map(record)).await;
    join_all(readers).await;
    Ok(())
}

/// Each of two groups of two members gets each record once, also records that the other group has acknowledged.
///
/// Fails for an engine with one list of acknowledged records for all groups.
pub async fn two_groups_each_get_everything<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Event, "for two");
    let mut groups = Vec::new();
    for group in ["audit", "billing"] {
        let one = join(&transport, &topic, group, &format!("{group} 1")).await;
        let two = join(&transport, &topic, group, &format!("{group} 2")).await;
        groups.push((group, vec![one, two]));
    }
    append(&transport, &topic, (0..500).map(record)).await;
    for (group, members) in groups {
        let tally = Arc::new(Tally::new(0..500));
        drain(members, &tally, 10).await;
        println!("{group}: {} records", tally.count());
        tally.exactly_once();
    }
    Ok(())
}

/// A group of an event gets the records that are appended after its creation, and no earlier ones, independently of
/// members that join later and of other groups.
///
/// Fails for an engine that gives earlier events to a new group, or that moves the start of a group when a member
/// joins.
pub async fn a_group_of_an_event_begins_with_the_next_record<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Event, "history");
    append(&transport, &topic, (0..10).map(record)).await;
    let early = join(&transport, &topic, "early", "early").await;
    append(&transport, &topic, (10..20).map(record)).await;
    let late = join(&transport, &topic, "late", "late 1").await;
    append(&transport, &topic, (20..30).map(record)).await;
    let second = join(&transport, &topic, "late", "late 2").await;

    let got = late.take_in_order(10).await;
    assert_eq!(
        list(ids(&got)),
        "20 to 29",
        "after the creation of the late group"
    );
    late.acknowledge(&got).await;
    let got = early.take_in_order(20).await;
    assert_eq!(
        list(ids(&got)),
        "10 to 29",
        "after the creation of the early group"
    );
    early.acknowledge(&got).await;

    let third = join(&transport, &topic, "late", "late 3").await;
    for member in [second, third, late, early] {
        member
            .receives_nothing(SILENCE, "its group has received everything")
            .await;
    }
    Ok(())
}

/// A new group of a command gets the records that were appended before its creation.
///
/// Fails for an engine that drops records without a group, or that starts every group at the end.
pub async fn a_group_of_a_command_begins_with_the_oldest_record<H: Harness>(
    harness: &H,
) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "without a group");
    append(&transport, &topic, (0..100).map(record)).await;
    let member = join(&transport, &topic, "handlers", "first").await;
    let got = member.take_in_order(100).await;
    assert_eq!(list(ids(&got)), "0 to 99");
    Ok(())
}

/// Records that are appended while a group has no member go to its next member, of a command and of an event.
///
/// Fails for an engine that removes a group with its last member.
pub async fn a_group_without_members_misses_nothing<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    for kind in [Kind::Command, Kind::Event] {
        let topic = topic(kind, "without members");
        let first = join(&transport, &topic, "handlers", "first").await;
        append(&transport, &topic, (0..5).map(record)).await;
        first.acknowledge(&first.take(5).await).await;
        first.close().await;
        drop(first);
        append(&transport, &topic, (5..100).map(record)).await;

        let second = join(&transport, &topic, "handlers", "second").await;
        let got = second.take_in_order(95).await;
        assert_eq!(list(ids(&got)), "5 to 99", "{}", kind.as_str());
        second.acknowledge(&got).await;
        second
            .receives_nothing(SILENCE, "it has received everything")
            .await;
    }
    Ok(())
}

async fn finish(readers: tokio::task::JoinHandle<()>) {
    let deadline = Duration::from_secs(240);
    match tokio::time::timeout(deadline, readers).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic::resume_unwind(error.into_panic()),
        Err(_) => panic!("the members are still receiving after {deadline:?}"),
    }
}
