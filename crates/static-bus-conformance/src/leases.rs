//! Leases: a record belongs to one member, and is delivered again if that member does not settle it.

use std::{sync::Arc, time::Duration};

use super::support::{
    AT_ONCE, Connection, Member, SILENCE, Tally, append, connect, drain, id, ids, join, join_as,
    leases, list, record, subscription, topic, tries, while_renewed, within,
};
use super::{Harness, Outcome};
use static_bus_remote::transport::{Consumer, Kind, Topic, Transport};
use tokio::time::Instant;

const LEASE: Duration = Duration::from_secs(2);

/// A released record goes at once to another member that already waits, or to the same member where partitions are
/// shared. The released delivery does not count as an attempt.
///
/// Fails for an engine that lets the lease run out, that does not wake the waiting member, or that counts the attempt.
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
        assert_eq!(ids(&got), [1], "the records of the waiting member");
        let took = came.saturating_duration_since(start);
        assert!(took < AT_ONCE, "it took {took:?}");
        assert_eq!(got[0].attempt, attempt, "the attempt of a released record");
        waiting.acknowledge(&got).await;
        first.receives_nothing(SILENCE, "it is acknowledged").await;
        second.receives_nothing(SILENCE, "it is acknowledged").await;
    }
    Ok(())
}

/// A record whose lease is not renewed goes to another member when the lease runs out, and not before.
///
/// Fails for an engine that waits until the holder leaves the group, or that ends leases early.
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
    // A tenth less, for clocks that are read in different places.
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

/// A lease is kept for as long as it is renewed.
///
/// Fails for an engine whose leases end a fixed time after the delivery.
pub async fn a_renewed_lease_keeps_the_record<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    tries(&transport, |transport, n| async move {
        let topic = topic(Kind::Command, format!("renewed {n}"));
        let holder = join_short(&transport, &topic, "holder").await;
        let other = join_short(&transport, &topic, "other").await;
        append(&transport, &topic, (1..=3).map(record)).await;
        let held = holder.take(3).await;
        let received = other.first_ids(LEASE * 5 / 2);
        let came = while_renewed(&holder, &leases(&held), LEASE, received).await?;
        assert!(
            came.is_empty(),
            "another member got {}, though its lease was renewed",
            list(came)
        );
        holder.acknowledge(&held).await;
        other
            .receives_nothing(LEASE * 3 / 2, "all are acknowledged")
            .await;
        Some(())
    })
    .await
}

/// A late renewal or release by a member that has lost its lease has no effect on the record of the new holder, which may
/// be the same member.
///
/// Fails for an engine that renews a lease by taking the record from its holder, that releases records which the
/// member does not hold, or whose receipts name a record and not its delivery.
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
        let received = async {
            old.renew(&lost).await;
            // An engine may report the lost lease as an error.
            let _ = within("a late release", old.consumer().release(&lost)).await;
            third.first_ids(LEASE * 5 / 2).await
        };
        let came = while_renewed(&new, &held, LEASE, received).await?;
        assert!(
            came.is_empty(),
            "a third member got record 1, while its new holder renewed its lease"
        );
        new.acknowledge(&got).await;
        third
            .receives_nothing(LEASE * 3 / 2, "it is acknowledged")
            .await;
        Some(())
    })
    .await?;
    tries(&transport, |transport, n| async move {
        let topic = topic(Kind::Command, format!("lost and found {n}"));
        let holder = join_short(&transport, &topic, "holder").await;
        let other = join_short(&transport, &topic, "other").await;
        append(&transport, &topic, [record(1)]).await;
        let lost = leases(&holder.take(1).await);
        tokio::time::sleep(LEASE).await;
        let got = holder.take(1).await;
        let held = leases(&got);
        let received = async {
            let _ = within("a late release", holder.consumer().release(&lost)).await;
            other.first_ids(LEASE * 5 / 2).await
        };
        let came = while_renewed(&holder, &held, LEASE, received).await?;
        assert!(
            came.is_empty(),
            "another member got record 1, while its holder renewed the lease of its second delivery"
        );
        holder.acknowledge(&got).await;
        Some(())
    })
    .await
}

/// An acknowledged record is not delivered again: not after the end of its lease, not when its member leaves, and not
/// to a member that joins.
///
/// Fails for an engine that loses acknowledgements, or that acknowledges all records up to the last one.
pub async fn an_acknowledged_record_never_comes_again<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    for kind in [Kind::Command, Kind::Event] {
        let topic = topic(kind, "done");
        let first = join_short(&transport, &topic, "first").await;
        append(&transport, &topic, (0..100).map(record)).await;
        let got = first.take_in_order(100).await;
        let (odd, even): (Vec<_>, Vec<_>) = got.into_iter().partition(|d| id(&d.record) % 2 == 1);
        first.acknowledge(&odd).await;
        first.acknowledge(&[]).await;
        first.close().await;

        let second = join_short(&transport, &topic, "second").await;
        let rest = second.take_within(50, AT_ONCE).await;
        let mut came = ids(&rest);
        came.sort();
        assert!(
            came == ids(&even),
            "the even ones were released, and {} came",
            list(came)
        );
        second.acknowledge(&rest).await;
        second
            .receives_nothing(LEASE * 3 / 2, "all are acknowledged")
            .await;
    }
    Ok(())
}

/// A hundred released records, released one by one and in a batch, are all delivered again, each once.
///
/// Fails for an engine that drops released records, or that fails on many at a time.
pub async fn a_hundred_released_records_are_all_consumable<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "hundred");
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
