//! A record that was handed out is with one member, and comes again if that member does not finish it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::support::{
    AT_ONCE, Connection, Member, SILENCE, Tally, append, connect, drain, ids, join, join_as,
    leases, list, record, subscription, topic, tries, while_kept, within,
};
use super::{Harness, Outcome};
use static_bus_remote::transport::{Consumer, Kind, Topic, Transport};

const LEASE: Duration = Duration::from_secs(2);

/// A record that is given back goes to another member at once, or to the same where partitions are shared,
/// also to one that waits already, and was not handed out.
///
/// A naive engine lets the lease run out, wakes nobody, or counts it as handed out.
pub async fn a_released_record_comes_again_at_once<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    for kind in [Kind::Command, Kind::Event] {
        let topic = topic(kind, "released");
        let first = join(&transport, &topic, "handlers", "first").await;
        let second = join(&transport, &topic, "handlers", "second").await;
        append(&transport, &topic, [record(1)]).await;
        let got = first.take(1).await;
        let attempt = got[0].attempt;
        let waiting = first.or(&second);
        let again = async {
            let got = waiting.receive(1, Duration::from_secs(25)).await;
            (Instant::now(), got)
        };
        let release = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let start = Instant::now();
            first.release(&leases(&got)).await;
            start
        };
        let both = async { tokio::join!(again, release) };
        let ((came, again), start) = within("the record comes again", both).await;
        let got = again;
        assert_eq!(ids(&got), [1], "what the waiting member got");
        let took = came.saturating_duration_since(start);
        assert!(took < AT_ONCE, "it took {took:?}");
        assert_eq!(
            got[0].attempt, attempt,
            "the attempt of a record that was given back"
        );
        waiting.acknowledge(&got).await;
        first.nothing(SILENCE, "it is acknowledged").await;
        second.nothing(SILENCE, "it is acknowledged").await;
    }
    Ok(())
}

/// A record whose holder is silent goes to another member when its lease runs out, and not before.
///
/// A naive engine gives it to nobody, because its holder has not left, or looks at it too early.
pub async fn a_lease_that_runs_out_moves_the_record<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "run out");
    append(&transport, &topic, (0..20).map(record)).await;
    let start = Instant::now();
    let silent = join_short(&transport, &topic, "silent").await;
    let held = silent.take(20).await;
    let other = join_short(&transport, &topic, "other").await;
    let first = other.take(1).await;
    let after = start.elapsed();
    // A tenth for clocks that are read at different places.
    assert!(
        after > LEASE * 9 / 10,
        "{} came after {after:?}, within the lease of {LEASE:?}",
        list(ids(&first))
    );
    other.acknowledge(&first).await;
    let tally = Arc::new(Tally::new(ids(&held)));
    tally.saw(&first);
    drain(vec![other], &tally, 10).await;
    tally.none_lost();
    Ok(())
}

/// A lease that is renewed is kept for as long as it is renewed, and then ends as any other.
///
/// A naive engine counts from when the record was read.
pub async fn a_renewed_lease_keeps_the_record<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    tries(&transport, |transport, n| async move {
        let topic = topic(Kind::Command, format!("renewed {n}"));
        let holder = join_short(&transport, &topic, "holder").await;
        let other = join_short(&transport, &topic, "other").await;
        append(&transport, &topic, (1..=3).map(record)).await;
        let held = holder.take(3).await;
        let listen = other.listen(LEASE * 5 / 2);
        let came = while_kept(&holder, &leases(&held), LEASE, listen).await?;
        assert!(
            came.is_empty(),
            "another member got {}, though its lease was renewed",
            list(came)
        );
        holder.acknowledge(&held).await;
        other.nothing(LEASE * 3 / 2, "all are acknowledged").await;
        Some(())
    })
    .await
}

/// A member that lost its lease and comes late with its renewal or its release does not take the record
/// from the member that has it now.
///
/// A naive engine renews by taking the record, whoever has it, and gives back what it does not hold.
pub async fn a_lost_lease_does_not_disturb_its_new_holder<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    tries(&transport, |transport, n| async move {
        let topic = topic(Kind::Command, format!("lost {n}"));
        let old = join_short(&transport, &topic, "old").await;
        let new = join_short(&transport, &topic, "new").await;
        let third = join_short(&transport, &topic, "third").await;
        append(&transport, &topic, [record(1)]).await;
        let lost = leases(&old.take(1).await);
        let got = new.take(1).await;
        let held = leases(&got);
        let disturbed = async {
            old.renew(&lost).await;
            // Whether it says that the lease is lost is up to the engine.
            let _ = within("a late release", old.consumer().release(&lost)).await;
            third.listen(LEASE * 5 / 2).await
        };
        let came = while_kept(&new, &held, LEASE, disturbed).await?;
        assert!(
            came.is_empty(),
            "a third member got record 1, while its new holder renewed its lease"
        );
        new.acknowledge(&got).await;
        third.nothing(LEASE * 3 / 2, "it is acknowledged").await;
        Some(())
    })
    .await
}

/// What is acknowledged never comes again: not after the lease, not when its member leaves, not to a
/// member that joins.
///
/// A naive engine forgets that it was told, or acknowledges up to the last one instead of each.
pub async fn an_acknowledged_record_never_comes_again<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    for kind in [Kind::Command, Kind::Event] {
        let topic = topic(kind, "done");
        let first = join_short(&transport, &topic, "first").await;
        append(&transport, &topic, (0..100).map(record)).await;
        let got = first.take_in_order(100).await;
        let (odd, even): (Vec<_>, Vec<_>) = got.into_iter().partition(|d| ids_odd(&d.record));
        first.acknowledge(&odd).await;
        first.acknowledge(&[]).await;
        first.close().await;

        let second = join_short(&transport, &topic, "second").await;
        let rest = second.take_within(50, AT_ONCE).await;
        let mut came = ids(&rest);
        came.sort();
        assert!(
            came == ids(&even),
            "the even ones were given back, and {} came",
            list(came)
        );
        second.acknowledge(&rest).await;
        second.nothing(LEASE * 3 / 2, "all are acknowledged").await;
    }
    Ok(())
}

/// A hundred records, each given back, are all there to be consumed, and each once.
///
/// A naive engine drops what failed, or stumbles over many at a time.
pub async fn a_hundred_released_records_are_all_consumable<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "failed");
    append(&transport, &topic, (0..100).map(record)).await;
    let first = join(&transport, &topic, "handlers", "first").await;
    let second = join(&transport, &topic, "handlers", "second").await;
    let held = first.take(100).await;
    for one in &held[..50] {
        first.release(&leases(std::slice::from_ref(one))).await;
    }
    first.release(&leases(&held[50..])).await;
    let tally = Arc::new(Tally::new(0..100));
    drain(vec![first, second], &tally, 7).await;
    tally.exactly_once();
    Ok(())
}

fn ids_odd(record: &static_bus_remote::transport::Record) -> bool {
    super::support::id(record) % 2 == 1
}

async fn join_short<T: Transport>(
    transport: &Connection<T>,
    topic: &Topic,
    name: &str,
) -> Member<T::Consumer>
where
    T::Consumer: Consumer,
{
    let subscription = subscription(topic, "handlers", name).with_lease(LEASE);
    join_as(transport, subscription).await
}
