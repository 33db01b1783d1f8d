//! A broker with faults from a seed: its runs can be repeated, its faults are within the contract, and a failure is
//! reduced to the faults that it needs.

mod contract;
mod repeatable;
mod search;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::{
    RemoteBus, RetryPolicy, TransportError, Worker, WorkerHandle,
    testing::{Fault, Faults, SimBroker, sim},
};

const LONG: Duration = Duration::from_secs(1200);

#[derive(Serialize, Deserialize, Clone, Copy)]
struct Place {
    order: u32,
    user: u32,
}
command!(Place -> Result<(), &'static str>, name = "place", key = user);

#[derive(Serialize, Deserialize)]
struct Placed {
    order: u32,
}
event!(Placed, name = "placed");

#[derive(Serialize, Deserialize)]
struct Credit {
    user: u32,
}
query!(Credit -> u32, name = "credit");

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the handlers did: the database of all processes.
#[derive(Clone, Default)]
struct Done {
    placed: Arc<Mutex<Vec<Place>>>,
    heard: Arc<Mutex<Vec<u32>>>,
}

/// Two processes that place orders, one that answers queries, and one that hears of orders.
async fn shop(sim: &SimBroker) -> Result<Done, Failure> {
    let done = Done::default();
    sim.process("credit", |broker| {
        let bus = BusBuilder::new().register_query_fn(|query: Credit| query.user);
        Worker::new(broker, bus.build()).query::<Credit>().start()
    })
    .await?;
    for name in ["orders-1", "orders-2"] {
        let placed = done.placed.clone();
        sim.process(name, move |broker| placing(broker, placed.clone()))
            .await?;
    }
    let heard = done.heard.clone();
    sim.process("books", move |broker| {
        let heard = heard.clone();
        let hear = move |event: &Placed| heard.lock().unwrap().push(event.order);
        let bus = BusBuilder::new().subscribe_fn(hear).build();
        Worker::new(broker, bus).event::<Placed>("books").start()
    })
    .await?;
    Ok(done)
}

async fn placing(
    broker: SimBroker,
    placed: Arc<Mutex<Vec<Place>>>,
) -> Result<WorkerHandle<SimBroker>, TransportError> {
    let remote = RemoteBus::connect(broker.clone()).await?;
    let handler = move |place: Place| {
        let (remote, placed) = (remote.clone(), placed.clone());
        async move {
            let credit = remote.send_async(Credit { user: place.user }).await?;
            assert_eq!(credit, place.user);
            tokio::time::sleep(Duration::from_millis(10)).await;
            placed.lock().unwrap().push(place);
            remote.publish_async(&Placed { order: place.order }).await
        }
    };
    let bus = BusBuilder::new().register_command_async_fn(handler);
    Worker::new(broker, bus.build())
        .command::<Place>()
        .retries(RetryPolicy {
            // Queries time out while the worker that answers them is cut off.
            max_attempts: 50,
            ..RetryPolicy::default()
        })
        .start()
        .await
}

/// Sends orders of three users, all of which are confirmed.
async fn order(sim: &SimBroker, orders: u32) -> Result<(), BusError> {
    let remote = RemoteBus::connect(sim.clone()).await.unwrap();
    for order in 0..orders {
        let user = order % 3;
        remote.execute_async(Place { order, user }).await?;
    }
    Ok(())
}

/// A run in paused time, outside of a search.
fn in_paused_time<R>(run: impl Future<Output = R>) -> R {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime.unwrap().block_on(run)
}
