//! Deduplication keys.

use super::*;

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
