//! static-bus.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use static_bus::prelude::*;

use static_bus_remote::{RemoteBus, Transport, Worker, WorkerHandle};
use tokio::sync::Notify;

use super::messages::{Get, Keep, Put};

/// The time until all commands are handled, and until the worker has acknowledged them and has ended.
pub struct Took {
    pub handled: Duration,
    pub ended: Duration,
}

/// Produces, handles and acknowledges commands.
pub async fn commands(transport: &impl Transport, count: usize, dedup: Option<Duration>) -> Took {
    let (first, all) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (handled, told) = (AtomicUsize::new(0), (first.clone(), all.clone()));
    let bus = BusBuilder::new()
        .register_command_fn(
            move |_: Put| match handled.fetch_add(1, Ordering::Relaxed) {
                0 => told.0.notify_one(),
                n if n == count => told.1.notify_one(),
                _ => {}
            },
        )
        .build();
    let worker = Worker::new(transport.clone(), bus)
        .command::<Put>()
        .deduplication(dedup)
        .start()
        .await
        .expect("it starts");
    let remote = connect(transport).await;
    let sent = remote.execute_async(Put::new(0)).await;
    sent.expect("it is accepted");
    first.notified().await;
    let started = Instant::now();
    for batch in 0..count / 100 {
        let commands = (0..100).map(|i| Put::new(batch * 100 + i));
        remote
            .execute_many(commands)
            .await
            .expect("they are accepted");
    }
    all.notified().await;
    let handled = started.elapsed();
    worker.shutdown(Duration::from_secs(10)).await;
    let ended = started.elapsed();
    Took { handled, ended }
}

/// Sends commands without a worker, in batches of 100.
pub async fn produce(transport: &impl Transport, count: usize) -> Duration {
    let remote = connect(transport).await;
    let sent = remote.execute_async(Keep(Put::new(0))).await;
    sent.expect("it is accepted");
    let started = Instant::now();
    for batch in 0..count / 100 {
        let commands = (0..100).map(|i| Keep(Put::new(batch * 100 + i)));
        let sent = remote.execute_many(commands).await;
        sent.expect("they are accepted");
    }
    started.elapsed()
}

/// Sends commands without a worker, one by one.
pub async fn send_each(transport: &impl Transport, count: usize, together: usize) -> Duration {
    let remote = connect(transport).await;
    let started = Instant::now();
    let senders = (0..together).map(|_| {
        let remote = remote.clone();
        tokio::spawn(async move {
            for i in 0..count / together {
                let sent = remote.execute_async(Keep(Put::new(i))).await;
                sent.expect("it is accepted");
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("it does not panic");
    }
    started.elapsed()
}

/// Sends queries one after the other.
pub async fn round_trips(transport: &impl Transport, count: usize) -> Vec<Duration> {
    round_trips_between(transport, transport, count).await
}

/// The same, from one transport to another of the same broker, as of two processes.
pub async fn round_trips_between<T: Transport>(
    client: &T,
    server: &T,
    count: usize,
) -> Vec<Duration> {
    let (remote, worker) = answering(client, server).await;
    let mut times = Vec::with_capacity(count);
    for number in 0..count as u64 {
        let started = Instant::now();
        let answer = remote.send_async(Get { number }).await;
        times.push(started.elapsed());
        assert_eq!(answer.expect("it is answered"), number + 1);
    }
    worker.shutdown(Duration::from_secs(10)).await;
    times
}

/// Sends this number of concurrent queries.
pub async fn queries(transport: &impl Transport, count: usize, together: usize) -> Duration {
    let (remote, worker) = answering(transport, transport).await;
    let started = Instant::now();
    let askers = (0..together).map(|_| {
        let remote = remote.clone();
        tokio::spawn(async move {
            for number in 0..(count / together) as u64 {
                let answer = remote.send_async(Get { number }).await;
                assert_eq!(answer.expect("it is answered"), number + 1);
            }
        })
    });
    for asker in askers.collect::<Vec<_>>() {
        asker.await.expect("it does not panic");
    }
    let took = started.elapsed();
    worker.shutdown(Duration::from_secs(10)).await;
    took
}

async fn answering<T: Transport>(client: &T, server: &T) -> (RemoteBus<T>, WorkerHandle<T>) {
    let bus = BusBuilder::new()
        .register_query_fn(|query: Get| query.number + 1)
        .build();
    let worker = Worker::new(server.clone(), bus).query::<Get>().start();
    let worker = worker.await.expect("it starts");
    let remote = connect(client).await;
    let answer = remote.send_async(Get { number: 0 }).await;
    answer.expect("it is answered");
    (remote, worker)
}

async fn connect<T: Transport>(transport: &T) -> RemoteBus<T> {
    let remote = RemoteBus::connect(transport.clone()).await;
    remote.expect("it connects")
}
