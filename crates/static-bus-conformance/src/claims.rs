//! Deduplication keys: claimed before a record is handled, confirmed when it is acknowledged.

use std::{panic, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use super::support::{
    Connection, DEADLINE, Member, SILENCE, append, claimed, connect, join, join_all, join_as,
    record, subscription, topic, tries, while_renewed, within,
};
use super::{Harness, Outcome, Sharing};
use static_bus_remote::transport::{Backlog, Claim, Consumer, Kind, Topic, Transport};

const LEASE: Duration = Duration::from_secs(2);

/// The first claim of a key is granted. Further claims are held, also by the same member and in the same call, until
/// the record is acknowledged; then they are done.
///
/// Fails for an engine that grants a key to its holder again, or that decides the keys of one call together.
pub async fn a_claim_is_granted_then_held_then_done<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "claimed");
    let one = join(&transport, &topic, "handlers", "one").await;
    let two = join(&transport, &topic, "handlers", "two").await;
    append(&transport, &topic, (0..3).map(record)).await;
    let held = one.take(3).await;

    let claims = one.claim(&["a", "b", "a", ""]).await;
    let (granted, is_held, done) = (Claim::Granted, Claim::Held, Claim::Done);
    assert_eq!(
        claims,
        [granted, granted, is_held, granted],
        "a, b, a again, and an empty one"
    );
    assert_eq!(
        two.claim(&["a", "c", "b"]).await,
        [is_held, granted, is_held]
    );
    assert_eq!(
        one.claim(&["a"]).await,
        [is_held],
        "a second claim of the holder"
    );
    assert!(one.claim(&[]).await.is_empty(), "no result without a key");

    one.acknowledge_leases(&[claimed(&held[0], "a")]).await;
    let after = "a and b, after a is acknowledged";
    assert_eq!(two.claim(&["a", "b"]).await, [done, is_held], "{after}");
    assert_eq!(one.claim(&["a", "b"]).await, [done, is_held], "{after}");
    one.acknowledge_leases(&[claimed(&held[1], "b"), claimed(&held[2], "")])
        .await;
    assert_eq!(two.claim(&["", "b", "a"]).await, [done, done, done]);
    // Confirmed keys do not depend on their member.
    one.close().await;
    assert_eq!(two.claim(&["", "b", "a"]).await, [done, done, done]);
    Ok(())
}

/// Fifty members claim the same twenty keys at the same moment, and each key is granted once.
///
/// Fails for an engine that reads and claims a key in two steps.
pub async fn of_many_members_that_claim_a_key_one_gets_it<H: Harness>(harness: &H) -> Outcome {
    let topic = topic(Kind::Command, "contended");
    let keys: Vec<String> = (0..20).map(|n| format!("key {n}")).collect();
    let keys = Arc::new(keys);
    let start = Arc::new(tokio::sync::Barrier::new(50));
    let mut members = JoinSet::new();
    for connection in 0..5 {
        let transport = connect(harness).await;
        for n in 0..10 {
            let name = format!("member {connection}{n}");
            let member = join(&transport, &topic, "handlers", &name).await;
            let (keys, start) = (Arc::clone(&keys), Arc::clone(&start));
            members.spawn(async move {
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                start.wait().await;
                member.claim(&keys).await
            });
        }
    }
    let claims = join_all(members).await;
    for (n, key) in keys.iter().enumerate() {
        let granted = claims.iter().filter(|c| c[n] == Claim::Granted);
        let granted = granted.count();
        assert_eq!(granted, 1, "{key} is granted to {granted} members");
        let done = claims.iter().any(|c| c[n] == Claim::Done);
        assert!(!done, "{key} is done, though no record was acknowledged");
    }
    Ok(())
}

/// A key that is released with its record can be claimed by the next member that gets the record.
///
/// Fails for an engine that remembers every claimed key: it takes a record that is delivered again for a duplicate,
/// and loses it.
pub async fn a_released_claim_is_free_again<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "released");
    let one = join(&transport, &topic, "handlers", "one").await;
    append(&transport, &topic, [record(1)]).await;
    let got = one.take(1).await;
    assert_eq!(one.claim(&["key"]).await, [Claim::Granted]);
    one.release(&[claimed(&got[0], "key")]).await;

    let two = join(&transport, &topic, "handlers", "two").await;
    let two = one.or(&two);
    let got = two.take(1).await;
    assert_eq!(
        two.claim(&["key"]).await,
        [Claim::Granted],
        "it was released"
    );
    two.acknowledge_leases(&[claimed(&got[0], "key")]).await;
    assert_eq!(one.claim(&["key"]).await, [Claim::Done]);
    Ok(())
}

/// A claim that is not renewed ends when its lease runs out, and not before.
///
/// Fails for an engine that keeps a claimed key for the deduplication time: it takes the record of a killed member for
/// a duplicate, and loses it.
pub async fn a_claim_that_runs_out_is_free_again<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "orphaned");
    let silent = join_short(&transport, &topic, "silent").await;
    let other = join_short(&transport, &topic, "other").await;
    let start = Instant::now();
    assert_eq!(silent.claim(&["key"]).await, [Claim::Granted]);
    let after = other.claim_when_free("key").await - start;
    assert!(
        after > LEASE * 9 / 10,
        "the key was free after {after:?}, within the lease of {LEASE:?}"
    );
    Ok(())
}

/// A renewal keeps the claim as well as the record.
///
/// Fails for an engine that renews only the record: while its handler runs, a copy of the record is handled.
pub async fn a_renewed_claim_stays_held<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    tries(&transport, |transport, n| async move {
        let topic = topic(Kind::Command, format!("renewed {n}"));
        let holder = join_short(&transport, &topic, "holder").await;
        let other = join_short(&transport, &topic, "other").await;
        append(&transport, &topic, [record(1)]).await;
        let got = holder.take(1).await;
        let held = [claimed(&got[0], "key")];
        assert_eq!(holder.claim(&["key"]).await, [Claim::Granted]);
        let claims = async {
            let start = Instant::now();
            let mut claims = Vec::new();
            while start.elapsed() < LEASE * 5 / 2 {
                claims.extend(other.claim(&["key"]).await);
                tokio::time::sleep(LEASE / 20).await;
            }
            claims
        };
        let claims = while_renewed(&holder, &held, LEASE, claims).await?;
        let lost = claims.iter().find(|claim| **claim != Claim::Held);
        assert_eq!(
            lost, None,
            "another member claimed a key whose lease was renewed"
        );
        holder.acknowledge_leases(&held).await;
        assert_eq!(other.claim(&["key"]).await, [Claim::Done]);
        Some(())
    })
    .await
}

/// A confirmed key is remembered for the deduplication time, which is longer than the lease, and not longer.
///
/// Fails for an engine that remembers keys forever, or for the length of the lease.
pub async fn a_confirmed_key_is_forgotten_after_its_time<H: Harness>(harness: &H) -> Outcome {
    const REMEMBERED: Duration = Duration::from_secs(4);
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "remembered");
    let subscription = subscription(&topic, "handlers", "one")
        .with_lease(Duration::from_secs(1))
        .with_deduplication(Some(REMEMBERED));
    let member = join_as(&transport, subscription).await;
    append(&transport, &topic, [record(1)]).await;
    let got = member.take(1).await;
    assert_eq!(member.claim(&["key"]).await, [Claim::Granted]);
    let start = Instant::now();
    member.acknowledge_leases(&[claimed(&got[0], "key")]).await;
    loop {
        let claim = member.claim(&["key"]).await[0];
        let after = start.elapsed();
        match claim {
            Claim::Done => assert!(
                after < REMEMBERED + DEADLINE,
                "still remembered after {after:?}"
            ),
            Claim::Held => panic!("a confirmed key is done or forgotten, not held"),
            Claim::Granted => {
                assert!(after > REMEMBERED * 9 / 10, "forgotten after {after:?}");
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A group without deduplication remembers no confirmed key.
///
/// Fails for an engine that takes no deduplication time for an unlimited one.
pub async fn without_deduplication_no_key_is_remembered<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "forgetful");
    let subscription = subscription(&topic, "handlers", "one").with_deduplication(None);
    let member = join_as(&transport, subscription).await;
    append(&transport, &topic, (0..2).map(record)).await;
    let got = member.take(2).await;
    for one in &got {
        let claim = member.claim(&["key"]).await;
        assert_eq!(claim, [Claim::Granted], "no key is remembered");
        member.acknowledge_leases(&[claimed(one, "key")]).await;
    }
    Ok(())
}

/// Claims and confirmed keys of one group are not those of another group, or of a group of the same name of another
/// topic.
///
/// Fails for an engine with one set of keys: only the fastest subscriber would handle an event.
pub async fn each_group_claims_for_itself<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Event, "twofold");
    let audit = join(&transport, &topic, "audit", "audit").await;
    let billing = join(&transport, &topic, "billing", "billing").await;
    append(&transport, &topic, [record(1)]).await;
    for member in [&audit, &billing] {
        let got = member.take(1).await;
        assert_eq!(
            member.claim(&["held", "key"]).await,
            [Claim::Granted, Claim::Granted],
            "{}",
            member.name()
        );
        member.acknowledge_leases(&[claimed(&got[0], "key")]).await;
        assert_eq!(member.claim(&["key"]).await, [Claim::Done]);
    }
    let other = super::support::topic(Kind::Event, "another");
    let elsewhere = join(&transport, &other, "audit", "elsewhere").await;
    assert_eq!(
        elsewhere.claim(&["key"]).await,
        [Claim::Granted],
        "a group of the same name, of another topic"
    );
    Ok(())
}

/// A late renewal or release by a member that has lost its claim has no effect on the claim of the new holder.
///
/// Fails for an engine that identifies a claim by its key alone.
pub async fn a_lost_claim_is_not_released_by_its_old_holder<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    tries(&transport, |transport, n| async move {
        let topic = topic(Kind::Command, format!("late {n}"));
        let old = join_short(&transport, &topic, "old").await;
        let new = join_short(&transport, &topic, "new").await;
        let third = join_short(&transport, &topic, "third").await;
        append(&transport, &topic, [record(1)]).await;
        let lost = old.take(1).await;
        assert_eq!(old.claim(&["key"]).await, [Claim::Granted]);
        let got = new.take(1).await;
        let held = [claimed(&got[0], "key")];
        new.claim_when_free("key").await;
        let late = [claimed(&lost[0], "key")];
        let claims = async {
            old.renew(&late).await;
            // An engine may report the lost lease as an error.
            let _ = within("a late release", old.consumer().release(&late)).await;
            let at_once = third.claim(&["key"]).await;
            tokio::time::sleep(LEASE * 5 / 4).await;
            [at_once, third.claim(&["key"]).await].concat()
        };
        let claims = while_renewed(&new, &held, LEASE, claims).await?;
        assert_eq!(
            claims,
            [Claim::Held, Claim::Held],
            "a key that its new holder renews, at once and later"
        );
        new.acknowledge_leases(&held).await;
        assert_eq!(third.claim(&["key"]).await, [Claim::Done]);
        Some(())
    })
    .await
}

/// A late acknowledgement by a member that has lost its lease confirms the key, and the record is not delivered again
/// when its new holder releases it.
///
/// Fails for an engine that leaves the key to the new holder: when that member releases it, a copy of the record is
/// handled again.
pub async fn a_late_acknowledgement_confirms_the_key<H: Harness>(harness: &H) -> Outcome {
    let transport = connect(harness).await;
    let topic = topic(Kind::Command, "late");
    let old = join_short(&transport, &topic, "old").await;
    let new = join_short(&transport, &topic, "new").await;
    append(&transport, &topic, [record(1)]).await;
    let lost = old.take(1).await;
    assert_eq!(old.claim(&["key"]).await, [Claim::Granted]);
    let got = new.take(1).await;
    new.claim_when_free("key").await;

    old.acknowledge_leases(&[claimed(&lost[0], "key")]).await;
    let claim = old.claim(&["key"]).await;
    assert_eq!(claim, [Claim::Done], "record 1 was acknowledged late");
    // An engine may report that the record is settled as an error.
    let released = [claimed(&got[0], "key")];
    let _ = within("a release", new.consumer().release(&released)).await;
    let claim = old.claim(&["key"]).await;
    assert_eq!(
        claim,
        [Claim::Done],
        "record 1 was acknowledged, and then released"
    );
    old.receives_nothing(SILENCE, "record 1 was acknowledged")
        .await;
    new.receives_nothing(SILENCE, "record 1 was acknowledged")
        .await;
    Ok(())
}

/// A member that sees a record settled sees its key confirmed.
///
/// Fails for an engine that settles the record first: after a crash in between, a copy of the record is handled again.
pub async fn a_key_is_confirmed_no_later_than_its_record<H: Harness>(harness: &H) -> Outcome {
    let (here, there) = (connect(harness).await, connect(harness).await);
    let topic = topic(Kind::Command, "together");
    let member = join(&here, &topic, "handlers", "member").await;
    let observer = join(&there, &topic, "handlers", "observer").await;
    for n in 0..50 {
        let key = format!("key {n}");
        append(&here, &topic, [record(n)]).await;
        let got = member.take(1).await;
        assert_eq!(member.claim(&[&key]).await, [Claim::Granted]);
        let done = [claimed(&got[0], &key)];
        let observe = async {
            // Where partitions are shared, records that are pending for other members count as waiting.
            let unsettled = |backlog: Backlog| match observer.sharing() {
                Sharing::Partitions => backlog.pending + backlog.lag,
                _ => backlog.pending,
            };
            while unsettled(observer.backlog().await) > 0 {
                tokio::task::yield_now().await;
            }
            observer.claim(&[&key]).await
        };
        let observe = within("the record is settled", observe);
        let ((), claim) = tokio::join!(member.acknowledge_leases(&done), observe);
        assert_eq!(
            claim,
            [Claim::Done],
            "record {n} was settled before its key"
        );
    }
    Ok(())
}

async fn join_short<T: Transport>(
    transport: &Connection<T>,
    topic: &Topic,
    name: &str,
) -> Member<T::Consumer> {
    let subscription = subscription(topic, "handlers", name).with_lease(LEASE);
    join_as(transport, subscription).await
}
