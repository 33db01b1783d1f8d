//! Workers that are killed again and again, with messages that are not at fault.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::{Worker, transport::Kind};

use crate::support::{Fault, LONG, MS, Op, SECOND, TestBroker, connect, letters, quick, settled};

#[derive(Serialize, Deserialize)]
struct Weigh {
    scale: u32,
    number: u32,
}
command!(Weigh, name = "test.weigh", key = scale);

const WEIGH: &str = "test.weigh";
const MESSAGES: u32 = 60;

/// A process that is killed in a loop, for reasons of its own, at any moment: while messages wait behind others, and
/// while their keys are claimed. What becomes a dead letter for that has at least begun.
#[tokio::test(start_paused = true)]
async fn what_no_handler_has_seen_is_never_dead_lettered() {
    for (attempts, seed) in (1..=5).flat_map(|attempts| (0..40).map(move |seed| (attempts, seed))) {
        let mut random = fastrand::Rng::with_seed(seed);
        let broker = TestBroker::new();
        // Claims end later than leases.
        let mut delays = fastrand::Rng::with_seed(seed);
        broker.rule(move |op| match op {
            Op::Claim => Fault::Late(delays.u32(0..5) * MS),
            _ => Fault::None,
        });
        let messages = (0..MESSAGES).map(|number| Weigh {
            scale: number % 7,
            number,
        });
        connect(&broker).await.execute_many(messages).await.unwrap();
        let begun = Arc::new(Mutex::new(HashSet::new()));
        let lease = 2 * SECOND;
        let start = async |takes: std::time::Duration| {
            let begun = begun.clone();
            let bus = BusBuilder::new()
                .register_command_async_fn(move |weigh: Weigh| {
                    begun.lock().unwrap().insert(weigh.number);
                    async move {
                        tokio::time::sleep(takes).await;
                        Ok::<_, BusError>(())
                    }
                })
                .build();
            let worker = Worker::new(broker.clone(), bus)
                .command::<Weigh>()
                .configure::<Weigh>(|it| it.limit(2.try_into().unwrap()))
                .retries(quick(attempts))
                .lease(lease);
            worker.start().await.unwrap()
        };
        for _ in 0..30 {
            let worker = start(random.u32(1..2000) * MS).await;
            tokio::time::sleep(random.u32(0..1500) * MS).await;
            drop(worker);
            tokio::time::sleep(random.u32(0..3000) * MS).await;
        }
        let worker = start(MS).await;
        settled(&broker, Kind::Command, WEIGH, "handlers").await;
        worker.shutdown(LONG).await;
        for letter in letters(&broker).await {
            let weigh: Weigh = serde_json::from_slice(&letter.record.body).unwrap();
            let begun = begun.lock().unwrap();
            assert!(
                begun.contains(&weigh.number),
                "{} of {attempts} attempts, seed {seed}: {}",
                weigh.number,
                letter.error
            );
        }
    }
}
