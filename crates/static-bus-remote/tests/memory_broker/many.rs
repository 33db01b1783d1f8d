//! Many at once, on threads and in real time.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_when_waiting_members_are_cancelled() {
    let broker = MemoryBroker::new();
    let count = Arc::new(AtomicUsize::new(0));
    let mut members = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (broker, count) = (broker.clone(), count.clone());
        members.spawn(async move {
            let consumer = member(&broker, Kind::Command, &n.to_string()).await;
            loop {
                // All but one give up all the time.
                let patience = if n == 0 {
                    LONG
                } else {
                    Duration::from_micros(50)
                };
                let Ok(got) = timeout(patience, consumer.receive(1, LONG)).await else {
                    continue;
                };
                let got = got.unwrap();
                acknowledge(&consumer, &got).await;
                count.fetch_add(got.len(), SeqCst);
            }
        });
    }
    let one = member(&broker, Kind::Command, "backlog").await;
    for n in 1..=2000 {
        append(&broker, Kind::Command, [record(n)]).await;
        let settled = async {
            while count.load(SeqCst) < n {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), settled)
            .await
            .expect("taken");
    }
    assert_eq!(one.backlog().await.unwrap(), Backlog::default());
    members.shutdown().await;
}
