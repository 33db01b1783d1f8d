//! The order of keys.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_key_stays_with_its_member_until_all_is_settled() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    let records = [keyed("a", 0), keyed("a", 1), keyed("b", 2), keyed("a", 3)];
    append(&broker, Kind::Command, records).await;
    append(&broker, Kind::Command, [record(4)]).await;
    let first = now(&one, 1).await;
    let others = now(&two, 9).await;
    assert_eq!(bodies(&others), ["2", "4"]);
    let second = now(&one, 1).await;
    assert_eq!(bodies(&second), ["1"]);
    acknowledge(&one, &first).await;
    assert!(now(&two, 9).await.is_empty());
    acknowledge(&one, &second).await;
    assert_eq!(bodies(&now(&two, 9).await), ["3"]);
    append(&broker, Kind::Command, [keyed("a", 5), keyed("b", 6)]).await;
    assert!(now(&one, 9).await.is_empty());
    assert_eq!(bodies(&now(&two, 9).await), ["5", "6"]);
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_a_vanished_member_move_when_its_leases_have_ended() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    append(&broker, Kind::Command, (0..2).map(|n| keyed("k", n))).await;
    assert_eq!(now(&one, 1).await.len(), 1);
    advance(LEASE / 2).await;
    assert_eq!(now(&one, 1).await.len(), 1);
    append(&broker, Kind::Command, (2..4).map(|n| keyed("k", n))).await;
    drop(one);
    append(&broker, Kind::Command, [record("other")]).await;
    let other = now(&two, 9).await;
    assert_eq!(bodies(&other), ["other"]);
    acknowledge(&two, &other).await;

    // The first lease has ended, but the second has not.
    advance(LEASE / 2).await;
    assert!(now(&two, 9).await.is_empty());
    let started = tokio::time::Instant::now();
    let moved = two.receive(9, LONG).await.unwrap();
    assert!(started.elapsed() >= LEASE / 2 && started.elapsed() < LEASE);
    assert_eq!(bodies(&moved), ["0", "1", "2", "3"]);
    let attempts: Vec<_> = moved.iter().map(|delivery| delivery.attempt).collect();
    assert_eq!(attempts, [2, 2, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_released_record_of_a_key_comes_before_the_later_ones() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    append(&broker, Kind::Command, (0..4).map(|n| keyed("k", n))).await;
    let got = now(&one, 2).await;
    release(&one, &got[..1]).await;
    // It still holds the second.
    assert!(now(&two, 9).await.is_empty());
    release(&one, &got[1..]).await;
    assert_eq!(bodies(&now(&two, 9).await), ["0", "1", "2", "3"]);
}
