//! Each record goes to each group, and in a group to one member.

use std::{panic, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::support::{
    SILENCE, Tally, append, connect, drain, ids, join, join_all, list, record, topic,
};
use super::{Harness, Outcome};
use static_bus_remote::transport::Kind;

/// Fifty members of one group read 5,000 records while they are appended: each record is handed out once.
///
/// A naive engine looks before it takes, and hands the same record to two.
pub async fn fifty_members_share_five_thousand_records<H: Harness>(harness: &H) -> Outcome {
    let topic = topic(Kind::Command, "shared");
    let tally = Arc::new(Tally::new(0..5_000));
    let mut members = Vec::new();
    for connection in 0..5 {
        let transport = connect(harness).await;
        for n in 0..10 {
            let name = format!("member {connection}{n}");
            members.push(join(&transport, &topic, "handlers", &name).await);
        }
    }
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
/// A naive engine removes a record when the first group has it, or loses what it trims under the slowest.
pub async fn fifty_groups_each_get_five_thousand_records<H: Harness>(harness: &H) -> Outcome {
    let topic = topic(Kind::Event, "for everybody");
    let mut readers = JoinSet::new();
    for connection in 0..5 {
        let transport = connect(harness).await;
        for n in 0..10 {
            let group = format!("group {connection}{n}");
            let member = join(&transport, &topic, &group, &format!("member of {group}")).await;
            readers.spawn(async move {
                let tally = Arc::new(Tally::new(0..5_000));
                drain(vec![member], &tally, 200).await;
                println!("{group}: {} records", tally.count());
                tally.exactly_once();
            });
        }
    }
    let transport = connect(harness).await;
    append(&transport, &topic, (0..5_000).map(record)).await;
    join_all(readers).await;
    Ok(())
}

/// Two groups of two members: each group gets each record once, and what one acknowledges the other
/// still gets.
///
/// A naive engine has one list of what is done.
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

/// A group of an event gets nothing from before it existed and everything since; a member that joins it
/// later changes nothing about that, and neither does another group.
///
/// A naive engine has each new subscriber replay history, or starts a group anew when a member joins.
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
    assert_eq!(list(ids(&got)), "20 to 29", "since the late group existed");
    late.acknowledge(&got).await;
    let got = early.take_in_order(20).await;
    assert_eq!(list(ids(&got)), "10 to 29", "since the early group existed");
    early.acknowledge(&got).await;

    let third = join(&transport, &topic, "late", "late 3").await;
    for member in [second, third, late, early] {
        member.nothing(SILENCE, "its group has had it all").await;
    }
    Ok(())
}

/// A command waits for its group, if need be before there is one.
///
/// A naive engine publishes to those who listen, or starts every group at the end.
pub async fn a_group_of_a_command_begins_with_the_oldest_record<H: Harness>(
    harness: &H,
) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "nobody serves it yet");
    append(&transport, &topic, (0..100).map(record)).await;
    let member = join(&transport, &topic, "handlers", "first").await;
    let got = member.take_in_order(100).await;
    assert_eq!(list(ids(&got)), "0 to 99");
    Ok(())
}

/// What is appended while a group has no member is there for the next one, of a command and of an event.
///
/// A naive engine takes a group without members for one that is gone.
pub async fn a_group_without_members_misses_nothing<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    for kind in [Kind::Command, Kind::Event] {
        let topic = topic(kind, "away");
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
        second.nothing(SILENCE, "it has had it all").await;
    }
    Ok(())
}

async fn finish(readers: tokio::task::JoinHandle<()>) {
    let within_reason = Duration::from_secs(240);
    match tokio::time::timeout(within_reason, readers).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic::resume_unwind(error.into_panic()),
        Err(_) => panic!("the members are still reading after {within_reason:?}"),
    }
}
