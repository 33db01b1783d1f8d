//! Many at once, on threads and in real time.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_groups_get_five_thousand_events() {
    let broker = MemoryBroker::new();
    let mut groups = Vec::new();
    for n in 0..50 {
        let subscription = Subscription::new(topic(Kind::Event), format!("group {n}"), "one");
        let consumer = broker.consume(subscription).await.unwrap();
        groups.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < 5000 {
                let got = consumer.receive(100, LEASE).await.unwrap();
                assert!(!got.is_empty(), "nothing came");
                seen.extend(bodies(&got).into_iter().map(String::from));
                acknowledge(&consumer, &got).await;
            }
            assert_eq!(consumer.backlog().await.unwrap(), Backlog::default());
            seen
        }));
    }
    let started = Instant::now();
    let expected: Vec<_> = (0..5000).map(|n| n.to_string()).collect();
    for body in &expected {
        append(&broker, Kind::Event, [record(body)]).await;
    }
    for group in groups {
        assert_eq!(group.await.unwrap(), expected);
    }
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn order_is_kept_while_members_release_and_come_and_go() {
    const KEYS: usize = 16;
    const EACH: usize = 200;
    let broker = MemoryBroker::new();
    let handled = Arc::new(Mutex::new(HashMap::<String, Vec<usize>>::new()));
    let holders = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
    let count = Arc::new(AtomicUsize::new(0));
    let mut members = tokio::task::JoinSet::new();
    for n in 0..10 {
        let (broker, handled, holders) = (broker.clone(), handled.clone(), holders.clone());
        let count = count.clone();
        members.spawn(async move {
            let mut consumer = member(&broker, Kind::Command, &n.to_string()).await;
            let mut rounds = 0;
            let mut random = n * 7919 + 1;
            while count.load(SeqCst) < KEYS * EACH {
                rounds += 1;
                let got = consumer
                    .receive(7, Duration::from_millis(50))
                    .await
                    .unwrap();
                random = (random * 1_103_515_245 + 12345) % 2_147_483_648;
                if random % 5 == 0 {
                    // Gives everything back, one way or the other.
                    if random % 2 == 0 {
                        release(&consumer, &got).await;
                    } else {
                        consumer.close().await.unwrap();
                        let name = format!("{n} {rounds}");
                        consumer = member(&broker, Kind::Command, &name).await;
                    }
                    continue;
                }
                for delivery in &got {
                    let key = delivery.record.key.as_deref().unwrap().to_owned();
                    let holder = holders.lock().unwrap().insert(key.clone(), n);
                    assert!(holder.is_none_or(|holder| holder == n), "held twice");
                    let body = bodies(std::slice::from_ref(delivery))[0].parse().unwrap();
                    handled.lock().unwrap().entry(key).or_default().push(body);
                    tokio::task::yield_now().await;
                }
                for delivery in &got {
                    let key = delivery.record.key.as_deref().unwrap();
                    holders.lock().unwrap().remove(key);
                }
                count.fetch_add(got.len(), SeqCst);
                acknowledge(&consumer, &got).await;
            }
        });
    }
    for n in 0..KEYS * EACH {
        let key = format!("key {}", n % KEYS);
        append(&broker, Kind::Command, [keyed(&key, n)]).await;
    }
    let all = async { while members.join_next().await.transpose().unwrap().is_some() {} };
    timeout(Duration::from_secs(60), all)
        .await
        .expect("all handled");
    let handled = handled.lock().unwrap();
    assert_eq!(handled.len(), KEYS);
    for bodies in handled.values() {
        assert_eq!(bodies.len(), EACH);
        assert!(bodies.is_sorted());
    }
}

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
