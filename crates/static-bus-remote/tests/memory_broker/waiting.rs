//! The wake-ups of waiting members and receivers.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_query_is_refused_when_no_receiver_has_been_open_for_the_grace_time() {
    let grace = Duration::from_secs(2);
    let broker = MemoryBroker::builder().receiver_grace(grace).build();
    let send = async || {
        let sent = broker.append(vec![(topic(Kind::Query), record(0))]).await;
        sent.into_iter().next().unwrap()
    };
    let refused = async || {
        let error = send().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "memory: query test has no receiver: start a worker that serves it, and send the query again"
        );
    };
    refused().await;
    let one = broker.listen(topic(Kind::Query)).await.unwrap();
    let two = broker.listen(topic(Kind::Query)).await.unwrap();
    one.close().await.unwrap();
    one.close().await.unwrap();
    drop(one);
    sleep(LONG).await;
    send().await.unwrap();
    drop(two);
    sleep(grace - Duration::from_millis(1)).await;
    send().await.unwrap();
    sleep(Duration::from_millis(1)).await;
    refused().await;
}

#[tokio::test(start_paused = true)]
async fn a_receive_ends_with_a_record_or_after_its_wait() {
    let broker = MemoryBroker::new();
    let one = member(&broker, Kind::Command, "one").await;
    let started = tokio::time::Instant::now();
    assert!(one.receive(9, LEASE).await.unwrap().is_empty());
    assert!(started.elapsed() >= LEASE && started.elapsed() < 2 * LEASE);

    let later = async {
        sleep(LEASE).await;
        append(&broker, Kind::Command, (0..3).map(record)).await;
    };
    let (got, ()) = tokio::join!(one.receive(2, Duration::MAX), later);
    assert_eq!(bodies(&got.unwrap()), ["0", "1"]);
    assert!(one.receive(0, LONG).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_stops_waiting_leaves_its_wake_up_to_another() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    let mut first = Box::pin(one.receive(1, LONG));
    assert!(poll_once(&mut first).await.is_none());
    let mut second = Box::pin(two.receive(1, LONG));
    assert!(poll_once(&mut second).await.is_none());
    // This wakes the first, which is dropped before it looks.
    append(&broker, Kind::Command, [record(0)]).await;
    drop(first);
    let got = timeout(LEASE, second).await.expect("woken").unwrap();
    assert_eq!(bodies(&got), ["0"]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_stops_waiting_leaves_its_wake_up_to_another() {
    let broker = MemoryBroker::new();
    let listen = async || broker.listen(topic(Kind::Query)).await.unwrap();
    let (one, two, three) = (listen().await, listen().await, listen().await);
    let mut first = Box::pin(one.receive(1, LONG));
    assert!(poll_once(&mut first).await.is_none());
    let mut second = Box::pin(two.receive(1, LONG));
    assert!(poll_once(&mut second).await.is_none());
    let mut third = Box::pin(three.receive(1, LONG));
    assert!(poll_once(&mut third).await.is_none());
    // This wakes the first, which is dropped, and then the second, which is closed.
    append(&broker, Kind::Query, [record(0)]).await;
    drop(first);
    two.close().await.unwrap();
    let closed = timeout(LEASE, second).await.expect("woken").unwrap_err();
    assert_eq!(closed.kind(), TransportErrorKind::Closed);
    let text = "memory: this receiver is closed: listen again to receive more";
    assert_eq!(closed.to_string(), text);
    let got = timeout(LEASE, third).await.expect("woken").unwrap();
    assert_eq!(got[0].body, "0");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_leaves_the_rest_of_a_batch_to_another() {
    let broker = MemoryBroker::new();
    let listen = async || broker.listen(topic(Kind::Reply)).await.unwrap();
    let (one, two) = (listen().await, listen().await);
    let append = append(&broker, Kind::Reply, [keyed("k", 0), keyed("k", 1)]);
    let (first, second, ()) = tokio::join!(one.receive(1, LONG), two.receive(1, LONG), append);
    assert_eq!(first.unwrap()[0].body, "0");
    assert_eq!(second.unwrap()[0].body, "1");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_lease_wakes_another_member_when_the_first_stops_waiting() {
    let broker = MemoryBroker::new();
    let (one, two, three) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
        member(&broker, Kind::Command, "three").await,
    );
    // Two and three wait before there is a lease.
    let mut second = Box::pin(two.receive(1, LONG));
    assert!(poll_once(&mut second).await.is_none());
    let waiting = async { three.receive(1, 2 * LONG).await.unwrap() };
    let mut third = Box::pin(waiting);
    assert!(poll_once(&mut third).await.is_none());
    append(&broker, Kind::Command, [record(0)]).await;
    assert_eq!(now(&one, 1).await.len(), 1);
    assert!(poll_once(&mut second).await.is_none());
    drop(second);
    drop(one);
    let got = timeout(2 * LEASE, third).await.expect("woken");
    assert_eq!(got[0].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn the_holder_of_a_key_is_woken_for_its_next_record() {
    let broker = MemoryBroker::new();
    let (one, two) = (
        member(&broker, Kind::Command, "one").await,
        member(&broker, Kind::Command, "two").await,
    );
    append(&broker, Kind::Command, [keyed("k", 0)]).await;
    let held = now(&one, 1).await;
    // The other has waited longer, and would be woken first for a record that any member may take.
    let mut other = Box::pin(two.receive(9, LEASE / 2));
    assert!(poll_once(&mut other).await.is_none());
    let later = append(&broker, Kind::Command, [keyed("k", 1)]);
    let (got, ()) = tokio::join!(timeout(LEASE / 3, one.receive(9, LONG)), later);
    assert_eq!(bodies(&got.expect("woken").unwrap()), ["1"]);
    drop(other);

    // The other is woken when the holder leaves.
    append(&broker, Kind::Command, [keyed("k", 2)]).await;
    let last = now(&one, 1).await;
    append(&broker, Kind::Command, [keyed("k", 3)]).await;
    let done = async {
        acknowledge(&one, &held).await;
        one.close().await.unwrap();
    };
    let (got, ()) = tokio::join!(timeout(LEASE / 3, two.receive(9, LONG)), done);
    assert_eq!(bodies(&got.expect("woken").unwrap()), ["1", "2", "3"]);
    assert_eq!(bodies(&last), ["2"]);
}

#[test]
fn only_waiting_needs_a_runtime() {
    let mut all = Box::pin(async {
        let broker = MemoryBroker::new();
        append(&broker, Kind::Command, (0..3).map(record)).await;
        let one = member(&broker, Kind::Command, "one").await;
        let got = one.receive(9, LONG).await.unwrap();
        acknowledge(&one, &got).await;
        assert_eq!(one.backlog().await.unwrap(), Backlog::default());
        got.len()
    });
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(all.as_mut().poll(&mut context), Poll::Ready(3));
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
                // All but one drop their receives all the time.
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

/// The output of a future that is ready.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let poll = poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context)));
    match poll.await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
