//! Handlers that take long, or for ever.

use std::{sync::mpsc, time::Duration};

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncSendQuery, BusError},
    prelude::*,
};
use static_bus_remote::{Worker, transport::Kind};
use tokio::time::Instant;

use crate::support::{
    Gauge, LONG, MS, SECOND, TestBroker, connect, dead_lettered, letters, listen, quick, settled,
    until,
};

#[derive(Serialize, Deserialize)]
struct Print {
    printer: u32,
    page: u32,
}
command!(Print, name = "test.print", key = printer);

#[derive(Serialize, Deserialize)]
struct Printed(u32);
event!(Printed, name = "test.printed");

#[derive(Serialize, Deserialize)]
struct Ink(u32);
query!(Ink -> u32, name = "test.ink");

const PAGE: [Print; 2] = [
    Print {
        printer: 7,
        page: 0,
    },
    Print {
        printer: 7,
        page: 1,
    },
];

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_cancelled_and_becomes_a_dead_letter_that_says_so() {
    let (broker, (tell, mut heard), inside) = (TestBroker::new(), listen(), Gauge::default());
    let entered = inside.clone();
    let bus = BusBuilder::new()
        .register_command_async_fn(move |print: Print| {
            let (tell, inside) = (tell.clone(), entered.enter());
            async move {
                tell.send((print.page, Instant::now())).unwrap();
                if print.page == 0 {
                    std::future::pending::<()>().await;
                }
                drop(inside);
                Ok::<_, BusError>(())
            }
        })
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .command::<Print>()
        .handler_timeout(10 * SECOND)
        .retries(quick(3));
    let worker = worker.start().await.unwrap();
    connect(&broker).await.execute_many(PAGE).await.unwrap();
    let letter = dead_lettered(&broker, 1).await.remove(0);
    assert_eq!(letter.attempts, 3);
    assert_eq!(
        letter.error,
        "test.print: its handler was cancelled after 10s, its time limit on this worker"
    );
    settled(&broker, Kind::Command, "test.print", "handlers").await;
    let heard = heard.rest();
    let pages: Vec<_> = heard.iter().map(|(page, _)| *page).collect();
    assert_eq!(pages, [0, 0, 0, 1], "the next of its key goes on");
    for attempts in heard.windows(2) {
        let apart = attempts[1].1 - attempts[0].1;
        assert!(apart >= 10 * SECOND && apart < 11 * SECOND, "{apart:?}");
    }
    assert_eq!((inside.now(), inside.most()), (0, 1), "dropped");
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_within_its_limit_and_one_without_a_limit_are_not_cancelled() {
    for limit in [Some(11 * SECOND), None] {
        let broker = TestBroker::new();
        let bus = BusBuilder::new()
            .register_command_async_fn(|_: Print| async {
                tokio::time::sleep(10 * SECOND).await;
                Ok::<_, BusError>(())
            })
            .build();
        let worker = Worker::new(broker.clone(), bus)
            .command::<Print>()
            .handler_timeout(limit);
        let worker = worker.start().await.unwrap();
        connect(&broker).await.execute_many(PAGE).await.unwrap();
        settled(&broker, Kind::Command, "test.print", "handlers").await;
        worker.shutdown(LONG).await;
        assert_eq!(letters(&broker).await.len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_is_answered_within_the_shorter_of_its_deadline_and_the_limit_of_the_worker() {
    let broker = TestBroker::new();
    let bus = BusBuilder::new()
        .register_query_async_fn(|_: Ink| std::future::pending())
        .build();
    let worker = Worker::new(broker.clone(), bus).query::<Ink>();
    let worker = worker.handler_timeout(10 * SECOND).start().await.unwrap();
    let remote = connect(&broker).await;
    let error = remote.with_timeout(LONG).send_async(Ink(1)).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "test.ink: its handler failed remotely: test.ink: its handler was cancelled after 10s, its time limit on this worker"
    );
    let error = remote.with_timeout(SECOND).send_async(Ink(1)).await;
    assert!(matches!(error, Err(BusError::Timeout { .. })), "{error:?}");
    worker.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn the_health_names_the_handlers_that_run_for_longer_than_a_lease() {
    let broker = TestBroker::new();
    let bus = BusBuilder::new()
        .register_command_async_fn(|_: Print| std::future::pending())
        .subscribe_async_fn(|_: &Printed| std::future::pending())
        .register_query_async_fn(|_: Ink| std::future::pending())
        .build();
    let worker = Worker::new(broker.clone(), bus)
        .command::<Print>()
        .event::<Printed>("archive")
        .query::<Ink>()
        .lease(30 * SECOND);
    let worker = worker.start().await.unwrap();
    let remote = connect(&broker).await.with_timeout(10 * LONG);
    let asking = remote.clone();
    let asking = tokio::spawn(async move { asking.send_async(Ink(1)).await });
    tokio::time::sleep(SECOND).await;
    remote.publish_async(&Printed(1)).await.unwrap();
    tokio::time::sleep(SECOND).await;
    remote.execute_many(PAGE).await.unwrap();
    tokio::time::sleep(30 * SECOND).await;
    let health = worker.health().await;
    let served: Vec<_> = health.slow_handlers.iter().map(|h| &*h.served).collect();
    assert_eq!(served, ["query test.ink", "event test.printed for archive"]);
    tokio::time::sleep(15 * SECOND).await;
    let mut health = worker.health().await;
    assert!(health.ready && health.reasons.is_empty(), "{health:?}");
    assert_eq!(health.slow_handlers.len(), 3, "one of the key");
    let slow = &mut health.slow_handlers[2];
    let id = slow.id.clone();
    let sent = broker.appended(Kind::Command);
    assert_eq!(sent[0].headers.get("id").as_deref(), Some(&*id));
    assert_eq!(slow.key.as_deref(), Some("7"));
    slow.running_for = 45 * SECOND;
    let text = format!("command test.print: the handler of message {id} with key \"7\"");
    assert_eq!(slow.to_string(), format!("{text} has run for 45s"));
    slow.place = Some("partition 3, offset 1042".into());
    let place = " at partition 3, offset 1042 has run for 45s";
    assert_eq!(slow.to_string(), text + place);

    asking.abort();
    worker.shutdown(SECOND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_health_names_a_handler_that_blocks_its_thread() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let broker = TestBroker::new();
    let bus = BusBuilder::new()
        .register_command_fn(move |_: Print| _ = released.lock().unwrap().recv())
        .build();
    let worker = Worker::new(broker.clone(), bus).command::<Print>();
    let worker = worker.lease(30 * MS).start().await.unwrap();
    connect(&broker).await.execute_many(PAGE).await.unwrap();
    until("the handler is slow", async || {
        !worker.health().await.slow_handlers.is_empty()
    })
    .await;
    drop(release);
    until("no handler is slow", async || {
        worker.health().await.slow_handlers.is_empty()
    })
    .await;
    worker.shutdown(Duration::from_secs(10)).await;
}
