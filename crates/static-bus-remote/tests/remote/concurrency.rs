//! The limits of concurrent handlers.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::{MemoryBroker, RemoteBus, Worker};
use tokio::sync::Semaphore;

use crate::support::{Gauge, LONG, MS, connect, listen, until};

#[derive(Serialize, Deserialize)]
struct Slow(u32);
command!(Slow);
#[derive(Serialize, Deserialize)]
struct Other(u32);
command!(Other);

fn at_most(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// A gate for handlers; each permit lets one pass.
#[derive(Clone)]
struct Door {
    inside: Gauge,
    open: Arc<Semaphore>,
}
impl Door {
    fn closed() -> Self {
        Door {
            inside: Gauge::default(),
            open: Arc::new(Semaphore::new(0)),
        }
    }
    async fn pass(&self) -> Result<(), BusError> {
        let _inside = self.inside.enter();
        self.open.acquire().await.unwrap().forget();
        Ok(())
    }
    async fn filled(&self, count: usize) {
        until("the handlers are running", async || {
            self.inside.now() >= count
        })
        .await;
    }
    /// Waits until every handler that can start has started.
    async fn no_more_than(&self, count: usize) {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(self.inside.most(), count);
    }
}

async fn send(remote: &RemoteBus<MemoryBroker>, count: u32) {
    remote.execute_many((0..count).map(Slow)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn as_many_handlers_of_a_type_run_as_its_limit_says() {
    let (broker, door) = (MemoryBroker::new(), Door::closed());
    let behind = door.clone();
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Slow| {
            let door = behind.clone();
            async move { door.pass().await }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .command::<Slow>()
        .configure::<Slow>(|it| it.limit(at_most(7)))
        .start()
        .await
        .unwrap();
    send(&connect(&broker).await, 100).await;
    door.filled(7).await;
    door.no_more_than(7).await;
    door.open.add_permits(93);
    until("the last ones are running", async || {
        door.open.available_permits() == 0
    })
    .await;
    door.filled(7).await;
    door.open.add_permits(7);
    worker.shutdown(LONG).await;
    assert_eq!(door.inside.most(), 7);
}

#[tokio::test(start_paused = true)]
async fn as_many_handlers_run_in_total_as_the_worker_may_run() {
    let (broker, door) = (MemoryBroker::new(), Door::closed());
    let (one, two) = (door.clone(), door.clone());
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Slow| {
            let door = one.clone();
            async move { door.pass().await }
        })
        .register_command_async_fn(move |_: Other| {
            let door = two.clone();
            async move { door.pass().await }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .command::<Slow>()
        .command::<Other>()
        .concurrency(at_most(10))
        .start()
        .await
        .unwrap();
    let remote = connect(&broker).await;
    send(&remote, 100).await;
    remote.execute_many((0..100).map(Other)).await.unwrap();
    door.filled(10).await;
    door.no_more_than(10).await;
    door.open.add_permits(200);
    worker.shutdown(LONG).await;
    assert_eq!(door.inside.most(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_type_that_takes_all_slots_delays_no_other() {
    let (broker, door) = (MemoryBroker::new(), Door::closed());
    let (behind, (tell, mut heard)) = (door.clone(), listen());
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Slow| {
            let door = behind.clone();
            async move { door.pass().await }
        })
        .register_command_async_fn(move |other: Other| {
            tell.send(other.0).unwrap();
            async { Ok(()) }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .command::<Slow>()
        .command::<Other>()
        .concurrency(at_most(10))
        .start()
        .await
        .unwrap();
    let remote = connect(&broker).await;
    send(&remote, 100).await;
    door.filled(9).await;
    remote.execute_many((0..50).map(Other)).await.unwrap();
    assert_eq!(heard.take(50).await, (0..50).collect::<Vec<_>>());
    door.no_more_than(9).await;
    drop(worker);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_needs_its_slots_no_more_leaves_them_to_others() {
    let broker = MemoryBroker::new();
    let (slow, other) = (Door::closed(), Door::closed());
    let (one, two) = (slow.clone(), other.clone());
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Slow| {
            let door = one.clone();
            async move { door.pass().await }
        })
        .register_command_async_fn(move |_: Other| {
            let door = two.clone();
            async move { door.pass().await }
        })
        .build();
    // A slot for each type, and one more.
    let worker = Worker::new(broker.clone(), bus)
        .command::<Slow>()
        .command::<Other>()
        .concurrency(at_most(3))
        .start()
        .await
        .unwrap();
    let remote = connect(&broker).await;
    send(&remote, 2).await;
    slow.filled(2).await;
    // The second of these waits for a slot, and then gets that of the first.
    remote.execute_many((0..2).map(Other)).await.unwrap();
    other.filled(1).await;
    other.open.add_permits(2);
    until("both have run", async || {
        other.open.available_permits() == 0
    })
    .await;
    tokio::time::sleep(MS).await;
    // Now the third slot is free, and only these need it.
    slow.open.add_permits(2);
    until("both have run", async || slow.open.available_permits() == 0).await;
    tokio::time::sleep(MS).await;
    send(&remote, 2).await;
    slow.filled(2).await;
    drop(worker);
}
