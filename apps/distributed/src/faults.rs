//! The modules when processes are killed and cut off, and messages are duplicated and delayed: searches over seeds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use static_bus::prelude::*;
use static_bus_remote::{
    DeadLetters, TransportError, Worker, WorkerHandle,
    testing::{Fault, Faults, SimBroker, sim},
};

use crate::{
    Failure,
    inventory::{self, GetStock},
    notifications::{self, GetMail},
    orders::{self, GetOutcome, OrderPlaced, PlaceOrder},
    users, wiring,
};

/// More than the leases and timeouts of a run together.
const LONG: Duration = Duration::from_secs(1800);

/// An inventory that counts each event, also one that it has counted before.
#[derive(Clone)]
struct Forgetful(Arc<AtomicI64>);

impl<B> QueryHandler<GetStock, B> for Forgetful {
    fn handle(&self, _: GetStock, _bus: &B) -> u32 {
        self.0.load(Ordering::SeqCst).try_into().unwrap_or(0)
    }
}

impl<B> EventHandler<OrderPlaced, B> for Forgetful {
    fn handle(&self, event: &OrderPlaced, _bus: &B) {
        let quantity = i64::from(event.quantity);
        self.0.fetch_sub(quantity, Ordering::SeqCst);
    }
}

fn forgetful() -> Forgetful {
    Forgetful(Arc::new(AtomicI64::new(3)))
}

async fn serve_forgetful(
    broker: SimBroker,
    inventory: Forgetful,
    deduplication: Option<Duration>,
) -> Result<WorkerHandle<SimBroker>, TransportError> {
    let bus = BusBuilder::new()
        .register_query(inventory.clone())
        .subscribe(inventory)
        .build();
    Worker::new(broker, bus)
        .deduplication(deduplication)
        .query::<GetStock>()
        .event::<OrderPlaced>("inventory")
        .start()
        .await
}

/// Two customers buy the three lamps there are: each order is placed, mailed, and subtracted once. The modules outlive
/// their processes, as if their state were in a database.
async fn two_orders(sim: &SimBroker) -> Result<(), Failure> {
    sim.process("users", |broker| {
        wiring::serve_users(broker, users::Module::default())
    })
    .await?;
    let module = notifications::Module::default();
    sim.process("notifications", move |broker| {
        wiring::serve_notifications(broker, module.clone())
    })
    .await?;
    let module = orders::Module::default();
    sim.process("orders", move |broker| {
        wiring::serve_orders(broker, module.clone())
    })
    .await?;

    let shop = wiring::connect("customer", sim.clone()).await?;
    let orders = [(1, 2), (2, 1)];
    for (user_id, quantity) in orders {
        shop.execute_async(lamps(user_id, quantity)).await?;
    }
    sim.until_quiet(LONG).await?;
    sim.stop_faults();

    let dead = DeadLetters::of(sim.clone()).list(None, 1).await?;
    if let Some(letter) = dead.first() {
        return Err(format!("a dead letter: {} ({})", letter.origin, letter.error).into());
    }
    for (user_id, _) in orders {
        let order_id = user_id.into();
        let outcome = shop.send_async(GetOutcome { order_id }).await?;
        if outcome != Some(Ok(())) {
            return Err(format!("the outcome of order {order_id} is {outcome:?}").into());
        }
        if shop.send_async(GetMail { order_id }).await?.is_none() {
            return Err(format!("order {order_id} has no mail").into());
        }
    }
    let item = "lamp".to_owned();
    match shop.send_async(GetStock { item }).await? {
        0 => Ok(()),
        left => Err(format!("{left} lamps are left").into()),
    }
}

#[test]
fn the_modules_tolerate_faults() {
    sim::search(0..1000, async |sim| {
        let module = inventory::Module::default();
        sim.process("inventory", move |broker| {
            wiring::serve_inventory(broker, module.clone())
        })
        .await?;
        two_orders(&sim).await
    });
}

/// The modules with an inventory that is not idempotent.
async fn two_orders_of_a_forgetful_inventory(
    sim: SimBroker,
    deduplication: Option<Duration>,
) -> Result<(), Failure> {
    let inventory = forgetful();
    let served = inventory.clone();
    sim.process("inventory", move |broker| {
        serve_forgetful(broker, served.clone(), deduplication)
    })
    .await?;
    two_orders(&sim).await?;
    match inventory.0.load(Ordering::SeqCst) {
        0 => Ok(()),
        left => Err(format!("{left} lamps are left").into()),
    }
}

#[test]
fn a_handler_that_is_not_idempotent_is_found_although_duplicates_are_recognised() {
    let began = Instant::now();
    let window = Some(Duration::from_secs(600));
    let failure = sim::find(0..1000, |sim| {
        two_orders_of_a_forgetful_inventory(sim, window)
    });
    let failure = failure.expect("an event is handled twice");
    assert_eq!(failure.faults().len(), 1, "{failure}");
    assert!(began.elapsed() < Duration::from_secs(10), "{failure}");
}

#[test]
fn without_deduplication_a_duplicate_is_enough() {
    let began = Instant::now();
    let failure = sim::find(0..1000, |sim| {
        let duplicates = Faults::none().with_duplicates(true);
        two_orders_of_a_forgetful_inventory(sim.with_faults(duplicates), None)
    });
    let failure = failure.expect("an event is handled twice");
    let [fault] = failure.faults() else {
        panic!("{failure}")
    };
    assert_eq!(fault.fault, Fault::Duplicate);
    assert_eq!(fault.call, "orders appends event orders.placed");
    assert!(began.elapsed() < Duration::from_secs(10), "{failure}");
}

/// An effect before a send that may fail: the order counts as placed although nobody hears of it.
#[test]
fn an_effect_before_a_send_that_fails_is_found() {
    let failure = sim::find(0..1000, async |sim| {
        let placed = Arc::new(AtomicI64::new(0));
        let counted = placed.clone();
        sim.process("orders", move |broker| {
            let counted = counted.clone();
            async move {
                let remote = wiring::connect("orders", broker.clone()).await?;
                let bus = BusBuilder::new().register_command_async_fn(move |order: PlaceOrder| {
                    let (remote, counted) = (remote.clone(), counted.clone());
                    async move {
                        if counted.fetch_max(1, Ordering::SeqCst) == 1 {
                            return Ok(());
                        }
                        remote.publish_async(&placed_of(order)).await
                    }
                });
                let worker = Worker::new(broker, bus.build()).command::<PlaceOrder>();
                worker.start().await
            }
        })
        .await?;
        let module = inventory::Module::default();
        sim.process("inventory", move |broker| {
            wiring::serve_inventory(broker, module.clone())
        })
        .await?;
        let shop = wiring::connect("customer", sim.clone()).await?;
        shop.execute_async(lamps(1, 2)).await?;
        sim.until_quiet(LONG).await?;
        sim.stop_faults();
        let item = "lamp".to_owned();
        match shop.send_async(GetStock { item }).await? {
            1 => Ok::<_, Failure>(()),
            left => Err(format!("{left} lamps are left").into()),
        }
    });
    let failure = failure.expect("an order is placed, and not subtracted");
    assert_eq!(failure.error(), "3 lamps are left");
    assert_eq!(failure.faults().len(), 1, "{failure}");
}

fn lamps(user_id: u32, quantity: u32) -> PlaceOrder {
    PlaceOrder {
        order_id: user_id.into(),
        user_id,
        item: "lamp".to_owned(),
        quantity,
    }
}

fn placed_of(order: PlaceOrder) -> OrderPlaced {
    OrderPlaced {
        order_id: order.order_id,
        user_id: order.user_id,
        item: order.item,
        quantity: order.quantity,
    }
}
