//! The state of topics and groups, for operators.

use std::time::Duration;

use super::support::{
    DEADLINE, SILENCE, append, connect, ids, join, leases, list, listen, must, record, topic,
};
use super::{Harness, Outcome};
use static_bus_remote::transport::{
    Consumer as _, Due, GroupState, Inspect, Kind, Record, Topic, TopicState, Transport as _,
};
use tokio::time::Instant;

/// The topics that exist are listed in ascending order, without those of replies, and each is inspected with the number
/// of its records. A topic that does not exist is left out.
///
/// Fails for an engine that lists topics of replies, or that counts the records of another topic.
pub async fn topics_are_listed_with_their_sizes<H>(harness: &H) -> Outcome
where
    H: Harness<Transport: Inspect>,
{
    let transport = connect(harness).await;
    let none = must("topics", transport.topics()).await;
    assert!(none.is_empty(), "a new broker has the topics {none:?}");
    let names = [
        (Kind::Query, "asked"),
        (Kind::Command, "done"),
        (Kind::Event, "happened"),
        (Kind::DeadLetter, ""),
    ];
    let topics = names.map(|(kind, name)| topic(kind, name));
    let _receiver = listen(&transport, &topics[0], "receiver").await;
    let _member = join(&transport, &topics[2], "mail", "member").await;
    for (at, topic) in topics.iter().enumerate() {
        append(&transport, topic, (0..at + 1).map(record)).await;
    }
    append(&transport, &topic(Kind::Reply, "process"), [record(0)]).await;
    let listed = must("topics", transport.topics()).await;
    assert_eq!(listed, topics, "the topics that exist");

    let [asked, done, happened, dead] = topics;
    let missing = topic(Kind::Command, "missing");
    let order = [dead, missing, done, happened, asked];
    let states = must("inspect", transport.inspect(&order)).await;
    let found: Vec<_> = states
        .iter()
        .map(|state| (&state.topic, state.stored))
        .collect();
    let [dead, _, done, happened, asked] = &order;
    assert_eq!(found, [(dead, 4), (done, 2), (happened, 3), (asked, 1)]);
    for state in &states {
        let appended = state.appended.unwrap_or(state.stored);
        assert_eq!(appended, state.stored, "ever appended to {}", state.topic);
    }
    Ok(())
}

/// A group has its own backlog, and its members by their names, until they close.
///
/// Fails for an engine that counts for the topic, or that shows members which have closed.
pub async fn a_group_has_its_backlog_and_its_members<H>(harness: &H) -> Outcome
where
    H: Harness<Transport: Inspect>,
{
    let transport = connect(harness).await;
    let topic = topic(Kind::Event, "inspected");
    let member = join(&transport, &topic, "busy", "busy member").await;
    let idle = join(&transport, &topic, "idle", "idle member").await;
    append(&transport, &topic, (0..10).map(record)).await;
    let got = member.take(4).await;
    member.acknowledge(&got[..1]).await;

    let has = |state: &TopicState, busy: u64, members: usize| {
        let groups: Vec<_> = state.groups.iter().map(|group| &*group.group).collect();
        assert_eq!(groups, ["busy", "idle"], "the groups of {topic}");
        let backlog = state.groups.iter().map(|group| {
            let backlog = group.backlog;
            (group.lag_is_exact, backlog.pending + backlog.lag)
        });
        backlog.eq([(true, busy), (true, 10)]) && state.groups[0].members.len() == members
    };
    let state = until(
        &transport,
        &topic,
        "9 and 10 unsettled records, and a member",
        |state| has(state, 9, 1),
    );
    let state = state.await;
    let shown = &state.groups[0].members[0];
    assert!(
        shown.name.starts_with("busy member"),
        "the name of the member is {}",
        shown.name
    );
    let partitions = shown.partitions.iter();
    assert!(
        partitions.into_iter().all(|n| *n < state.partitions),
        "{state:?}"
    );

    member.close().await;
    until(
        &transport,
        &topic,
        "9 and 10 unsettled records, and no member",
        |state| has(state, 9, 0),
    )
    .await;
    idle.close().await;
    Ok(())
}

/// The oldest records that are not settled come first, with their place, their age and the member that has them.
/// Released records have no holder.
///
/// Fails for an engine that shows records which are settled, or no holder.
pub async fn the_oldest_unsettled_records_are_shown_with_their_holder<H>(harness: &H) -> Outcome
where
    H: Harness<Transport: Inspect>,
{
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "old");
    let member = join(&transport, &topic, "handlers", "holder").await;
    append(&transport, &topic, [record(0), record(1)]).await;
    let first = Instant::now();
    let mut held = member.take_in_order(2).await;
    member.acknowledge(&held[..1]).await;
    held.remove(0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    append(&transport, &topic, (2..30).map(record)).await;
    held.extend(member.take(28).await);

    let state = until(&transport, &topic, "29 unsettled records", |state| {
        let backlog = state.groups[0].backlog;
        backlog.pending + backlog.lag == 29
    });
    let group = state.await.groups.remove(0);
    assert!(
        (1..=GroupState::OLDEST).contains(&group.oldest.len()),
        "{} records are shown",
        group.oldest.len()
    );
    assert!(
        group.oldest.is_sorted_by(|a, b| a.age >= b.age),
        "{group:?}"
    );
    assert_eq!(group.oldest[0].age, group.backlog.oldest, "the oldest");
    // For brokers with another clock.
    let slack = Duration::from_secs(5);
    let (age, most) = (group.oldest[0].age, first.elapsed() + slack);
    assert!(
        age > Duration::ZERO && age <= most,
        "{age:?}, at most {most:?}"
    );
    for shown in &group.oldest {
        let holder = shown.holder.as_deref();
        let is_member = group.members.iter().any(|m| Some(&*m.name) == holder);
        assert!(is_member, "{} is with {holder:?}: {group:?}", shown.place);
        assert!(shown.deliveries.is_none_or(|n| n == 1), "{shown:?}");
    }
    let places = held
        .iter()
        .filter_map(|one| member.consumer().place(&one.receipt));
    let places: Vec<_> = places.collect();
    if !places.is_empty() {
        assert_eq!(group.oldest[0].place, places[0], "the place of the oldest");
        let mut shown = group.oldest.iter();
        assert!(
            shown.all(|shown| places.contains(&shown.place)),
            "{group:?}"
        );
    }

    member.release(&leases(&held)).await;
    member.close().await;
    until(&transport, &topic, "records without a holder", |state| {
        let oldest = &state.groups[0].oldest;
        !oldest.is_empty() && oldest.iter().all(|record| record.holder.is_none())
    })
    .await;
    Ok(())
}

/// An inspection and a list of dead letters create no topic and no group, take no records, and leave the count of
/// deliveries.
///
/// Fails for an engine that inspects as a member of the group, or creates the topic of dead letters to list it.
pub async fn an_inspection_changes_nothing<H>(harness: &H) -> Outcome
where
    H: Harness<Transport: Inspect>,
{
    let (here, there) = (connect(harness).await, connect(harness).await);
    let letters = must("dead_letters", there.dead_letters(None, 1)).await;
    assert_eq!(letters.len(), 0, "no dead letter");
    let topics = must("topics", there.topics()).await;
    assert!(topics.is_empty(), "no topic was created: {topics:?}");
    let topic = topic(Kind::Command, "watched");
    append(&here, &topic, (0..20).map(record)).await;
    let look = async || {
        let topics = must("topics", there.topics()).await;
        must("inspect", there.inspect(&topics)).await.remove(0)
    };
    for _ in 0..3 {
        assert_eq!(look().await.groups, [], "no group was created");
    }
    let member = join(&here, &topic, "handlers", "member").await;
    let mut got = member.take(10).await;
    look().await;
    got.extend(member.take(10).await);
    got.sort_by_key(|one| ids(std::slice::from_ref(one))[0]);
    assert_eq!(list(ids(&got)), "0 to 19");
    assert!(got.iter().all(|one| one.attempt == 1), "delivered once");
    member.acknowledge(&got).await;
    look().await;
    member
        .receives_nothing(SILENCE, "it has received everything")
        .await;
    Ok(())
}

/// The scheduled records of a topic are counted, with the time until the next one is due, also without a group. An engine
/// that keeps none shows none.
///
/// Fails for an engine that counts them as stored, or that does not know a topic of scheduled records alone.
pub async fn scheduled_records_are_counted<H>(harness: &H) -> Outcome
where
    H: Harness<Transport: Inspect>,
{
    let transport = connect(harness).await;
    let topic = topic(Kind::Event, "counted");
    let can_schedule = transport.check_scheduling().is_ok();
    let hour = Duration::from_secs(3600);
    let expected = match can_schedule {
        true => {
            let due = |id, delay| Record {
                due: Some(Due::after(delay)),
                ..record(id)
            };
            append(&transport, &topic, [due(0, hour * 2), due(1, hour)]).await;
            (2, 0)
        }
        false => {
            let _member = join(&transport, &topic, "handlers", "member").await;
            append(&transport, &topic, [record(0)]).await;
            (0, 1)
        }
    };
    let listed = must("topics", transport.topics()).await;
    assert_eq!(
        listed,
        std::slice::from_ref(&topic),
        "the topics that exist"
    );
    let states = must("inspect", transport.inspect(&[topic])).await;
    let [state] = &states[..] else {
        panic!("the state of one topic: {states:?}");
    };
    let counted = (state.scheduled, state.stored);
    assert_eq!(counted, expected, "scheduled and stored");
    let minutes = state.next_due.map(|time| time.as_secs().div_ceil(60));
    let is_expected = match can_schedule {
        true => minutes.is_some_and(|minutes| (58..=60).contains(&minutes)),
        false => minutes.is_none(),
    };
    assert!(is_expected, "the next one is due in {:?}", state.next_due);
    Ok(())
}

async fn until<T: Inspect>(
    transport: &T,
    topic: &Topic,
    expected: &str,
    is_expected: impl Fn(&TopicState) -> bool,
) -> TopicState {
    let start = Instant::now();
    loop {
        let topics = std::slice::from_ref(topic);
        let mut states = must("inspect", transport.inspect(topics)).await;
        if states.first().is_some_and(&is_expected) {
            return states.remove(0);
        }
        assert!(
            start.elapsed() < DEADLINE,
            "{topic}: {expected} are expected, and its state is {states:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
