//! The records that a group has not settled.

use std::{sync::Arc, time::Duration};

use super::support::{
    DEADLINE, Member, Tally, append, connect, drain, join, join_as, leases, record, subscription,
    topic,
};
use super::{Harness, Outcome, Sharing};
use static_bus_remote::transport::{Backlog, Consumer, Kind};
use tokio::time::Instant;

/// The backlog of a group has the number of pending and of waiting records, and the age of the oldest. Where
/// partitions are shared, records that are pending for other members count as waiting.
///
/// Fails for an engine that counts for the topic or for the member instead of the group, or that miscounts released
/// records.
pub async fn the_backlog_counts_pending_and_waiting_records<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Event, "behind");
    let one = join(&transport, &topic, "one", "one 1").await;
    let two = join(&transport, &topic, "one", "one 2").await;
    let idle = join(&transport, &topic, "idle", "idle").await;
    assert_eq!(one.backlog().await, Backlog::default(), "of a new group");

    let start = Instant::now();
    append(&transport, &topic, (0..10).map(record)).await;
    let appended = Instant::now();
    backlog_is(&one, 0, 10).await;
    let got = one.take(4).await;
    backlog_elsewhere(&two, 4, 6).await;
    one.acknowledge(&got[..1]).await;
    backlog_is(&one, 3, 6).await;
    backlog_elsewhere(&two, 3, 6).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let at_least = appended.elapsed();
    let oldest = idle.backlog().await.oldest;
    // For brokers with another clock.
    let slack = Duration::from_secs(5);
    assert!(
        oldest + Duration::from_millis(200) >= at_least && oldest <= start.elapsed() + slack,
        "the oldest record was appended {at_least:?} ago, and its age is {oldest:?}"
    );

    one.release(&leases(&got[1..])).await;
    let two = one.or(&two);
    let rest = two.take(9).await;
    backlog_is(&one, 9, 0).await;
    two.acknowledge(&rest).await;
    backlog_is(&one, 0, 0).await;
    assert_eq!(
        one.backlog().await.oldest,
        Duration::ZERO,
        "all records are settled"
    );
    backlog_is(&idle, 0, 10).await;
    Ok(())
}

/// The 20,000 records of a killed member go to another member in reasonable time.
///
/// Fails for an engine that searches all pending records for each one that it takes over, or that takes over the
/// first ones only.
pub async fn twenty_thousand_pending_records_are_taken_over<H: Harness>(harness: &H) -> Outcome {
    const ALL: usize = 20_000;
    const LEASE: Duration = Duration::from_secs(8);
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "abandoned");
    let as_member = |name| subscription(&topic, "handlers", name).with_lease(LEASE);
    append(&transport, &topic, (0..ALL).map(record)).await;
    let killed = join_as(&transport, as_member("killed")).await;
    let (mut held, mut last) = (0, Instant::now());
    while held < ALL {
        let got = killed.receive(1_000, Duration::from_secs(1)).await.len();
        if got > 0 {
            last = Instant::now();
        }
        held += got;
        assert!(
            last.elapsed() < DEADLINE,
            "{held} of {ALL}, and no more for {DEADLINE:?}"
        );
    }
    let next = join_as(&transport, as_member("next")).await;
    // The first record comes when the leases have run out.
    let tally = Arc::new(Tally::starting_in(LEASE, 0..ALL));
    drain(vec![next], &tally, 1_000).await;
    tally.none_lost();
    tally.none_foreign();
    Ok(())
}

/// Waits until a member that holds no records has this backlog.
async fn backlog_elsewhere<C: Consumer>(member: &Member<C>, pending: u64, lag: u64) {
    match member.sharing() {
        Sharing::Partitions => backlog_is(member, 0, pending + lag).await,
        _ => backlog_is(member, pending, lag).await,
    }
}

/// Waits until a member has this backlog.
async fn backlog_is<C: Consumer>(member: &Member<C>, pending: u64, lag: u64) {
    let start = Instant::now();
    loop {
        let now = member.backlog().await;
        if (now.pending, now.lag) == (pending, lag) {
            return;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "{}: {pending} pending and {lag} waiting, but the backlog is {now:?}",
            member.name()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
