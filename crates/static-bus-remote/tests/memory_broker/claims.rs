//! Deduplication keys.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_claim_is_held_until_it_is_settled_or_runs_out() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    append(&broker, Kind::Command, (0..2).map(record)).await;
    let got = now(&one, 2).await;
    let key: Arc<str> = "k".into();
    let claims = one.claim(&[key.clone(), key.clone(), "other".into()]).await;
    let expected = [Claim::Granted, Claim::Held, Claim::Granted];
    assert_eq!(claims.unwrap(), expected);
    assert_eq!(claim(&two, &key).await, Claim::Held);

    // Given up.
    one.release(&claimed(&got[0], &key)).await.unwrap();
    assert_eq!(claim(&two, &key).await, Claim::Granted);
    // Not by one who does not hold it.
    one.release(&claimed(&got[1], &key)).await.unwrap();
    assert_eq!(claim(&one, &key).await, Claim::Held);
    // Run out, unless renewed.
    let again = now(&two, 2).await;
    advance(LEASE / 2).await;
    two.renew(&claimed(&again[0], &key)).await.unwrap();
    advance(LEASE / 2).await;
    assert_eq!(claim(&one, &key).await, Claim::Held);
    advance(LEASE / 2).await;
    assert_eq!(claim(&one, &key).await, Claim::Granted);
    // Confirmed, and remembered for ten minutes.
    two.acknowledge(&claimed(&again[0], &key)).await.unwrap();
    assert_eq!(claim(&one, &key).await, Claim::Done);
    advance(Duration::from_secs(599)).await;
    assert_eq!(claim(&two, &key).await, Claim::Done);
    advance(Duration::from_secs(1)).await;
    assert_eq!(claim(&two, &key).await, Claim::Granted);
}

#[tokio::test(start_paused = true)]
async fn keys_are_claimed_within_a_group() {
    let broker = MemoryBroker::new();
    let key: Arc<str> = "k".into();
    for name in ["first", "second"] {
        let consumer = group(&broker, Kind::Event, name).await;
        assert_eq!(claim(&consumer, &key).await, Claim::Granted);
    }
}

#[tokio::test(start_paused = true)]
async fn old_keys_are_forgotten() {
    let broker = MemoryBroker::new();
    let one = member(&broker, Kind::Command, "one").await;
    let keys: Vec<Arc<str>> = (0..1000).map(|n| n.to_string().into()).collect();
    append(&broker, Kind::Command, (0..500).map(record)).await;
    one.claim(&keys).await.unwrap();
    // Half of them are confirmed, and of the others nobody is heard again.
    for (delivery, key) in now(&one, 500).await.iter().zip(&keys) {
        one.acknowledge(&claimed(delivery, key)).await.unwrap();
    }
    let known = |keys: &[Arc<str>]| keys.iter().filter(|k| Arc::strong_count(k) > 1).count();
    assert_eq!(known(&keys), 1000);
    advance(LONG).await;
    let more: Vec<Arc<str>> = (0..2000).map(|n| format!("new {n}").into()).collect();
    one.claim(&more).await.unwrap();
    assert_eq!(known(&keys), 0);
}
