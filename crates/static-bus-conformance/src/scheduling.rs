//! Records that are due later.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::support::{
    AT_ONCE, SILENCE, Tally, append, connect, drain, ids, join, keyed, list, must, record, topic,
};
use super::{Harness, Outcome};
use static_bus_remote::transport::{Due, Kind, Record, Topic, Transport};
use tokio::time::Instant;

/// The time in which a record that is due takes its place.
const IN_TIME: Duration = Duration::from_secs(1);
/// A time that is not over before the end of a case.
const FAR: Duration = Duration::from_secs(3600);

/// The cases that restart the broker.
pub(crate) const RESTARTING: [&str; 1] = ["scheduled_records_survive_a_restart"];

fn due(record: Record, due: impl Into<Due>) -> Record {
    let due = Some(due.into());
    Record { due, ..record }
}

async fn cancel<T: Transport>(transport: &T, topic: &Topic, key: &str) -> bool {
    must("cancel", transport.cancel(topic, key)).await
}

/// Twenty records of a command and of an event, due at times and after delays of 100 ms to 2 s, come no earlier. Half of
/// them at least come within a second, and all at once: a machine may be busy for longer.
///
/// Fails for an engine that ignores when a record is due, or that looks for such records rarely.
pub async fn a_scheduled_record_comes_when_it_is_due_and_within_a_second<H: Harness>(
    harness: &H,
) -> Outcome {
    let transport = connect(harness).await;
    for kind in [Kind::Command, Kind::Event] {
        let topic = topic(kind, "due");
        let member = join(&transport, &topic, "handlers", "member").await;
        let begun = (Instant::now(), SystemTime::now());
        let delay = |id: usize| Duration::from_millis(id as u64 / 2 * 200 + 100);
        let records = (0..20).map(|id| match id % 2 {
            0 => due(record(id), delay(id)),
            _ => due(record(id), begun.1 + delay(id)),
        });
        append(&transport, &topic, records).await;
        let mut late = BTreeMap::new();
        while late.len() < 20 {
            let got = member
                .take_within(1, Duration::from_secs(2) + AT_ONCE)
                .await;
            member.acknowledge(&got).await;
            let (id, elapsed) = (ids(&got)[0], begun.0.elapsed());
            let early = delay(id).checked_sub(elapsed);
            assert_eq!(early, None, "{topic}: record {id} came before it was due");
            late.insert(id, elapsed - delay(id));
        }
        let in_time = late.values().filter(|late| **late <= IN_TIME).count();
        assert!(in_time >= 10, "{topic}: records came late by {late:?}");
    }
    Ok(())
}

/// A record with a time that is over comes at once.
///
/// Fails for an engine that waits for a time in the past.
pub async fn a_record_that_was_due_before_comes_at_once<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "over");
    let member = join(&transport, &topic, "handlers", "member").await;
    let times = [SystemTime::UNIX_EPOCH, SystemTime::now() - FAR];
    let records = (0..).zip(times).map(|(id, time)| due(record(id), time));
    append(&transport, &topic, records).await;
    append(&transport, &topic, [due(record(2), Duration::ZERO)]).await;
    let mut got = ids(&member.take_within(3, AT_ONCE).await);
    got.sort();
    assert_eq!(got, [0, 1, 2]);
    Ok(())
}

/// A record that was scheduled arrives with its headers, its body and its key, and without the time at which it was due.
/// Before, it is not in the backlog of the group.
///
/// Fails for an engine that stores a part of the record, or that counts scheduled records as waiting.
pub async fn a_scheduled_record_arrives_as_it_was_appended<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "complete");
    let member = join(&transport, &topic, "handlers", "member").await;
    let bytes: Vec<u8> = (0..=255).collect();
    let sent = Record {
        headers: [("id", "7"), ("note", "a: b\n\u{e4}")]
            .into_iter()
            .collect(),
        body: bytes.into(),
        ..keyed(7, "key \u{fc}")
    };
    let delay = Duration::from_secs(2);
    let scheduled = [
        due(sent.clone(), Due::after(delay).with_key("complete")),
        due(record(8), FAR),
    ];
    append(&transport, &topic, scheduled).await;
    let backlog = member.backlog().await;
    assert_eq!((backlog.pending, backlog.lag), (0, 0), "nothing is due");
    let got = member.take_within(1, delay + AT_ONCE).await;
    assert_eq!(*got[0].record, sent, "the record that arrives");
    assert_eq!(got[0].attempt, 1, "its deliveries");
    Ok(())
}

/// Records of one key come in the order in which they are due, and those that are due at the same time in the order in
/// which they were appended.
///
/// Fails for an engine that keeps the order of appends.
pub async fn scheduled_records_of_a_key_come_in_the_order_in_which_they_are_due<H: Harness>(
    harness: &H,
) -> Outcome {
    let transport = connect(harness).await;
    transport.needs_key_order()?;
    let topic = topic(Kind::Command, "in order");
    let member = join(&transport, &topic, "handlers", "member").await;
    let begin = SystemTime::now() + Duration::from_secs(2);
    // 0 to 4 are due first, then 5 to 9, and so on.
    let time = |id: usize| begin + Duration::from_millis(id as u64 / 5 * 20);
    let shuffled = (0..5).flat_map(|n| (0..8).rev().map(move |group| group * 5 + n));
    let records = shuffled.map(|id| due(keyed(id, "key"), time(id)));
    append(&transport, &topic, records).await;
    let mut came = Vec::new();
    while came.len() < 40 {
        let got = member.take(1).await;
        came.extend(ids(&got));
        member.acknowledge(&got).await;
    }
    let expected: Vec<_> = (0..40).collect();
    assert_eq!(came, expected, "the order of the key");
    Ok(())
}

/// A record that is cancelled is not delivered, and no other. A record that is due cannot be cancelled.
///
/// Fails for an engine that forgets the key, or that cancels in other topics.
pub async fn a_cancelled_record_is_not_delivered_and_no_other<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topics = [
        topic(Kind::Command, "cancelled"),
        topic(Kind::Event, "cancelled"),
        topic(Kind::Command, "kept"),
    ];
    let mut members = Vec::new();
    for (topic, name) in topics.iter().zip(["first", "second", "third"]) {
        members.push(join(&transport, topic, "handlers", name).await);
    }
    let delay = Duration::from_secs(3);
    let one = |id, key| due(record(id), Due::after(delay).with_key(key));
    for topic in &topics {
        let without_key = due(record(2), delay);
        append(&transport, topic, [one(0, "a"), one(1, "b"), without_key]).await;
    }
    assert!(
        cancel(&transport, &topics[0], "a").await,
        "a record that is not due cannot be cancelled"
    );
    assert!(
        !cancel(&transport, &topics[0], "a").await,
        "it was cancelled before"
    );
    assert!(
        !cancel(&transport, &topics[0], "c").await,
        "no record has the key"
    );
    for (at, member) in members.iter().enumerate() {
        let expected = if at == 0 { 1..3 } else { 0..3 };
        let got = member.take_within(expected.len(), delay + AT_ONCE).await;
        let mut came = ids(&got);
        came.sort();
        assert_eq!(
            list(came),
            list(expected),
            "{}: the records that are due",
            topics[at]
        );
        member.acknowledge(&got).await;
        member
            .receives_nothing(SILENCE, "the rest is cancelled")
            .await;
    }
    assert!(
        !cancel(&transport, &topics[0], "b").await,
        "a delivered record is cancelled"
    );
    Ok(())
}

/// A record replaces the one that has the same cancellation key and is not due. When it is due, its key is free again.
///
/// Fails for an engine that delivers both.
pub async fn a_record_replaces_the_one_with_its_cancellation_key<H: Harness>(
    harness: &H,
) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "replaced");
    let member = join(&transport, &topic, "handlers", "member").await;
    let one = |id, delay| due(record(id), Due::after(delay).with_key("key"));
    let soon = Duration::from_secs(1);
    append(&transport, &topic, [one(0, FAR), one(1, soon * 2)]).await;
    append(&transport, &topic, [one(2, soon)]).await;
    let got = member.take_within(1, soon + AT_ONCE).await;
    assert_eq!(ids(&got), [2], "the last one with the key");
    append(&transport, &topic, [one(3, soon * 2)]).await;
    let got = member.take_within(1, soon * 2 + AT_ONCE).await;
    assert_eq!(ids(&got), [3], "the next one with the key");
    member
        .receives_nothing(SILENCE, "the others were replaced")
        .await;
    Ok(())
}

/// An event that is due goes to the groups that exist then: also to one that was created after the append, and not to one
/// that is created when the first has it.
///
/// Fails for an engine that drops an event because it has no group when it is appended, or that replays events.
pub async fn an_event_that_is_due_goes_to_the_groups_of_that_time<H: Harness>(
    harness: &H,
) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Event, "groups");
    let delay = Duration::from_secs(4);
    append(&transport, &topic, [due(record(0), delay)]).await;
    let first = join(&transport, &topic, "first", "first").await;
    let second = join(&transport, &topic, "second", "second").await;
    for member in [&first, &second] {
        let got = member.take_within(1, delay + AT_ONCE).await;
        assert_eq!(ids(&got), [0]);
    }
    let late = join(&transport, &topic, "late", "late").await;
    late.receives_nothing(SILENCE, "its group was created after the event was due")
        .await;
    Ok(())
}

/// A command that is due while its topic has no member comes when a member joins.
///
/// Fails for an engine that drops it.
pub async fn a_command_that_is_due_without_members_waits<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "early");
    let delay = Duration::from_millis(200);
    append(&transport, &topic, [due(record(0), delay), record(1)]).await;
    tokio::time::sleep(delay * 2).await;
    let member = join(&transport, &topic, "handlers", "member").await;
    let mut came = ids(&member.take_within(2, AT_ONCE).await);
    came.sort();
    assert_eq!(came, [0, 1]);
    Ok(())
}

/// Of 25,000 scheduled records, the 5,000 that are due at one moment come once each, on five members, and no other.
///
/// Fails for an engine that loses or doubles records when members move them at the same time.
pub async fn five_thousand_records_that_are_due_at_once_come_once<H: Harness>(
    harness: &H,
) -> Outcome {
    let topic = topic(Kind::Command, "many");
    let mut members = Vec::new();
    for n in 0..5 {
        let transport = connect(harness).await;
        members.push(join(&transport, &topic, "handlers", &format!("member {n}")).await);
    }
    let transport = connect(harness).await;
    let far = (5_000..25_000).map(|id| due(record(id), FAR));
    append(&transport, &topic, far).await;
    let time = SystemTime::now() + Duration::from_secs(2);
    append(
        &transport,
        &topic,
        (0..5_000).map(|id| due(record(id), time)),
    )
    .await;
    let tally = Arc::new(Tally::starting_in(Duration::from_secs(2), 0..5_000));
    drain(members, &tally, 100).await;
    tally.exactly_once();
    Ok(())
}

/// After a restart of the broker, scheduled records come when they are due, and can be cancelled.
///
/// Fails for an engine that keeps them in memory.
pub async fn scheduled_records_survive_a_restart<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    transport.needs_restart(harness)?;
    let topic = topic(Kind::Command, "restarted");
    let begun = Instant::now();
    let delay = Duration::from_secs(3);
    let one = |id, key| due(record(id), Due::after(delay).with_key(key));
    append(&transport, &topic, [one(0, "a"), one(1, "b")]).await;
    harness.restart().await;
    let fresh = connect(harness).await;
    let start = Instant::now();
    while fresh.check().await.is_err() && start.elapsed() < AT_ONCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        cancel(&fresh, &topic, "b").await || begun.elapsed() > delay,
        "its record is lost"
    );
    let member = join(&fresh, &topic, "handlers", "member").await;
    let got = member.take_within(1, delay + AT_ONCE).await;
    assert_eq!(ids(&got), [0]);
    assert!(begun.elapsed() >= delay, "it came before it was due");
    Ok(())
}
