//! How far a group is behind, and how it catches up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::support::{
    DEADLINE, Member, Tally, append, connect, drain, join, join_as, leases, record, subscription,
    topic,
};
use super::{Harness, Outcome, Sharing};
use static_bus_remote::transport::{Backlog, Consumer, Kind};

/// Each group's figures: what is handed out, what is not, and how old the oldest is that is not done.
/// Where partitions are shared, what is handed out to others counts as waiting.
///
/// A naive engine gives the topic's figures, or those of the member, or loses count when records are
/// given back.
pub async fn the_backlog_tells_what_is_pending_and_what_waits<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Event, "behind");
    let one = join(&transport, &topic, "one", "one 1").await;
    let two = join(&transport, &topic, "one", "one 2").await;
    let idle = join(&transport, &topic, "idle", "idle").await;
    assert_eq!(one.backlog().await, Backlog::default(), "of a new group");

    let start = Instant::now();
    append(&transport, &topic, (0..10).map(record)).await;
    let appended = Instant::now();
    settles(&one, 0, 10).await;
    let got = one.take(4).await;
    settles_elsewhere(&two, 4, 6).await;
    one.acknowledge(&got[..1]).await;
    settles(&one, 3, 6).await;
    settles_elsewhere(&two, 3, 6).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let at_least = appended.elapsed();
    let oldest = idle.backlog().await.oldest;
    // The broker's clock may be another.
    let slack = Duration::from_secs(5);
    assert!(
        oldest + Duration::from_millis(200) >= at_least && oldest <= start.elapsed() + slack,
        "the oldest was appended {at_least:?} ago, and is said to be {oldest:?} old"
    );

    one.release(&leases(&got[1..])).await;
    let two = one.or(&two);
    let rest = two.take(9).await;
    settles(&one, 9, 0).await;
    two.acknowledge(&rest).await;
    settles(&one, 0, 0).await;
    assert_eq!(one.backlog().await.oldest, Duration::ZERO, "all is settled");
    settles(&idle, 0, 10).await;
    Ok(())
}

/// A member that was killed with 20,000 records leaves them to the next, which gets them all in good time.
///
/// A naive engine looks through all of them for each one that it takes over, or only at the first.
pub async fn a_backlog_of_twenty_thousand_pending_is_taken_over<H: Harness>(
    harness: &H,
) -> Outcome {
    const ALL: usize = 20_000;
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "abandoned");
    let as_member =
        |name| subscription(&topic, "handlers", name).with_lease(Duration::from_secs(8));
    append(&transport, &topic, (0..ALL).map(record)).await;
    let killed = join_as(&transport, as_member("killed")).await;
    let mut held = 0;
    let start = Instant::now();
    while held < ALL {
        assert!(
            start.elapsed() < DEADLINE,
            "{held} of {ALL} after {DEADLINE:?}"
        );
        held += killed.receive(1_000, Duration::from_secs(1)).await.len();
    }
    let next = join_as(&transport, as_member("next")).await;
    let tally = Arc::new(Tally::new(0..ALL));
    drain(vec![next], &tally, 1_000).await;
    tally.none_lost();
    tally.none_foreign();
    Ok(())
}

/// Waits until these are the figures for a member that has nothing itself.
async fn settles_elsewhere<C: Consumer>(member: &Member<C>, pending: u64, lag: u64) {
    match member.sharing {
        Sharing::Partitions => settles(member, 0, pending + lag).await,
        _ => settles(member, pending, lag).await,
    }
}

/// Waits until the figures are these: an engine may need a moment.
async fn settles<C: Consumer>(member: &Member<C>, pending: u64, lag: u64) {
    let start = Instant::now();
    loop {
        let now = member.backlog().await;
        if (now.pending, now.lag) == (pending, lag) {
            return;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "{}: {pending} pending and {lag} waiting, but the backlog is {now:?}",
            member.name
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
