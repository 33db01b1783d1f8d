//! Leases, and the end of a member.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_late_acknowledgement_settles_the_record() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    let records = [record(0), keyed("k", 1), keyed("k", 2), keyed("k", 3)];
    append(&broker, Kind::Command, records).await;
    let lost = now(&one, 4).await;
    advance(LEASE).await;
    acknowledge(&one, &lost[..2]).await;
    let again = two.receive(1, LONG).await.unwrap();
    assert_eq!(bodies(&again), ["2"]);

    // A record that another member holds is settled too, but its key stays with that member.
    acknowledge(&one, &lost[2..3]).await;
    assert!(now(&one, 9).await.is_empty());
    drop(two);
    let last = one.receive(9, LONG).await.unwrap();
    assert_eq!(bodies(&last), ["3"]);
    acknowledge(&one, &last).await;
    assert_eq!(one.backlog().await.unwrap(), Backlog::default());
}

#[tokio::test(start_paused = true)]
async fn a_closed_member_has_released_everything_and_refuses_calls() {
    let broker = MemoryBroker::new();
    let one = Arc::new(member(&broker, Kind::Command, "one").await);
    let two = member(&broker, Kind::Command, "two").await;
    let records = [record(0), keyed("k", 1), keyed("k", 2), keyed("k", 3)];
    append(&broker, Kind::Command, records).await;
    let key: Arc<str> = "idempotent".into();
    let got = now(&one, 3).await;
    assert_eq!(claim(&one, &key).await, Claim::Granted);

    one.close().await.unwrap();
    assert_eq!(bodies(&now(&two, 9).await), ["0", "1", "2", "3"]);
    assert_eq!(claim(&two, &key).await, Claim::Granted);

    // Calls that receive are refused, and others have no effect.
    let closed = "memory: this consumer is closed: subscribe again to receive more";
    let refused = one.receive(1, LONG).await.unwrap_err();
    assert_eq!(refused.to_string(), closed);
    let refused = one.claim(std::slice::from_ref(&key)).await.unwrap_err();
    assert_eq!(refused.to_string(), closed);
    release(&one, &got).await;
    one.close().await.unwrap();
    drop(one);
    assert_eq!(two.backlog().await.unwrap().pending, 4);
}

#[tokio::test(start_paused = true)]
async fn close_ends_a_receive_that_waits() {
    let broker = MemoryBroker::new();
    let one = Arc::new(member(&broker, Kind::Command, "one").await);
    let waiting = tokio::spawn({
        let one = one.clone();
        async move { one.receive(1, LONG).await.is_err() }
    });
    tokio::task::yield_now().await;
    one.close().await.unwrap();
    assert!(timeout(LEASE, waiting).await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn each_member_has_its_own_lease_and_deduplication() {
    let broker = MemoryBroker::new();
    let mut brief = Subscription::new(topic(Kind::Command), "handlers", "brief");
    brief.lease = Duration::from_secs(1);
    brief.deduplication = None;
    let brief = broker.consume(brief).await.unwrap();
    let long = member(&broker, Kind::Command, "long").await;
    append(&broker, Kind::Command, (0..2).map(record)).await;
    let (a, b) = (now(&long, 1).await, now(&brief, 1).await);
    let keys: [Arc<str>; 2] = ["a".into(), "b".into()];
    assert_eq!(claim(&long, &keys[0]).await, Claim::Granted);
    assert_eq!(claim(&brief, &keys[1]).await, Claim::Granted);
    advance(Duration::from_secs(1)).await;
    assert_eq!(bodies(&now(&long, 9).await), ["1"]);

    long.acknowledge(&claimed(&a[0], &keys[0])).await.unwrap();
    brief.acknowledge(&claimed(&b[0], &keys[1])).await.unwrap();
    assert_eq!(claim(&brief, &keys[0]).await, Claim::Done);
    assert_eq!(claim(&brief, &keys[1]).await, Claim::Granted);
}

#[tokio::test(start_paused = true)]
async fn the_backlog_has_the_age_of_the_oldest_unsettled_record() {
    let broker = MemoryBroker::new();
    let one = member(&broker, Kind::Command, "one").await;
    let second = Duration::from_secs(1);
    append(&broker, Kind::Command, [record(0)]).await;
    advance(second).await;
    append(&broker, Kind::Command, [keyed("k", 1), keyed("k", 2)]).await;
    advance(second).await;
    append(&broker, Kind::Command, [record(3)]).await;
    advance(second).await;
    let backlog = |pending, lag, oldest: u32| Backlog {
        pending,
        lag,
        oldest: oldest * second,
    };
    assert_eq!(one.backlog().await.unwrap(), backlog(0, 4, 3));
    let got = now(&one, 2).await;
    assert_eq!(one.backlog().await.unwrap(), backlog(2, 2, 3));
    acknowledge(&one, &got[..1]).await;
    assert_eq!(one.backlog().await.unwrap(), backlog(1, 2, 2));
    let rest = now(&one, 9).await;
    acknowledge(&one, &got[1..]).await;
    acknowledge(&one, &rest[..1]).await;
    assert_eq!(one.backlog().await.unwrap(), backlog(1, 0, 1));
    advance(LEASE).await;
    assert_eq!(one.backlog().await.unwrap(), backlog(0, 1, 31));
}
