//! Settings of one message beside those of its worker.

use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::Worker;

use crate::support::{
    LONG, MS, SECOND, TestBroker, connect, dead_lettered, letters, listen, quick,
};

#[derive(Serialize, Deserialize, Clone)]
struct Own(u32);
command!(Own, name = "test.own");
#[derive(Serialize, Deserialize, Clone)]
struct Common(u32);
command!(Common, name = "test.common");

#[tokio::test(start_paused = true)]
async fn a_message_has_its_own_retries_and_timeout_and_the_others_those_of_the_worker() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let own = tell.clone();
    let bus = BusBuilder::new()
        .register_command_async_fn(move |_: Own| {
            own.send("own").unwrap();
            std::future::pending()
        })
        .register_command_async_fn(move |_: Common| {
            tell.send("common").unwrap();
            async { Err(BusError::rejected::<Common>("busy")) }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .command::<Own>()
        .command::<Common>()
        .configure::<Own>(|it| it.retries(quick(2)).handler_timeout(3 * SECOND))
        .retries(quick(4))
        .start()
        .await
        .unwrap();
    let remote = connect(&broker).await;
    remote.execute_async(Own(1)).await.unwrap();
    remote.execute_async(Common(1)).await.unwrap();
    let mut letters = dead_lettered(&broker, 2).await;
    letters.sort_by(|a, b| a.error.cmp(&b.error));
    assert_eq!(letters[0].error, "test.common: its handler failed: busy");
    assert_eq!(
        letters[1].error,
        "test.own: its handler was cancelled after 3s, its time limit on this worker"
    );
    let heard = heard.rest();
    let count = |name| heard.iter().filter(|it| **it == name).count();
    assert_eq!((count("own"), count("common")), (2, 4));
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_may_be_handled_twice_while_the_duplicates_of_others_are_recognised() {
    let (broker, (tell, mut heard)) = (TestBroker::new(), listen());
    let own = tell.clone();
    let bus = BusBuilder::new()
        .register_command_fn(move |_: Own| own.send("own").unwrap())
        .register_command_fn(move |_: Common| tell.send("common").unwrap())
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .command::<Own>()
        .command::<Common>()
        .configure::<Own>(|it| it.deduplication(None))
        .start()
        .await
        .unwrap();
    let remote = connect(&broker).await.with_idempotency_key("once");
    for _ in 0..2 {
        remote.execute_async(Own(1)).await.unwrap();
        remote.execute_async(Common(1)).await.unwrap();
    }
    tokio::time::sleep(100 * MS).await;
    worker.shutdown(LONG).await;
    let mut heard = heard.rest();
    heard.sort_unstable();
    assert_eq!(heard, ["common", "own", "own"]);
    assert!(letters(&broker).await.is_empty());
}

#[test]
#[should_panic(expected = "test.own is not served: add it first")]
fn a_message_that_is_not_served_cannot_be_configured() {
    let bus = BusBuilder::new().build();
    drop(Worker::new(TestBroker::new(), bus).configure::<Own>(|it| it));
}
