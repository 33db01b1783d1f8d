//! Workers that start, stop and crash under load, and a broker that does: no confirmed message is lost, keys keep
//! their order, and no message is handled twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use static_bus::{
    asynchronous::{AsyncExecuteCommand, BusError},
    prelude::*,
};
use static_bus_kafka::KafkaTransport;
use static_bus_remote::{RemoteBus, Transport, Worker, WorkerHandle, transport::Inspect};

use crate::support::{LONG, command, kafka_at};
use test_brokers::doomed::{self, Doomed, HANDLING};
use test_brokers::kafka::Kafka;

#[derive(Serialize, Deserialize)]
struct Move {
    account: u32,
    number: u32,
}
command!(Move, name = "ledger.move", key = account);

const LEASE: Duration = Duration::from_secs(6);
const ACCOUNTS: u32 = 16;

/// The handled messages, in the order in which their handlers began.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<(u32, u32)>>>);

impl Ledger {
    fn moves(&self) -> Vec<(u32, u32)> {
        self.0.lock().unwrap().clone()
    }

    /// Waits until all of these messages are handled. Otherwise tells what the workers and the broker know of them.
    async fn has(
        &self,
        expected: &BTreeSet<(u32, u32)>,
        workers: &[WorkerHandle<KafkaTransport>],
        (servers, namespace): (&str, &str),
    ) {
        let mut last = (Instant::now(), 0);
        loop {
            let moves: BTreeSet<_> = self.moves().into_iter().collect();
            let mut missing: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            for (account, number) in expected.difference(&moves) {
                missing.entry(*account).or_default().push(*number);
            }
            if missing.is_empty() {
                return;
            }
            if moves.len() > last.1 {
                last = (Instant::now(), moves.len());
            }
            if last.0.elapsed() > LONG {
                let mut health = Vec::new();
                for worker in workers {
                    health.push(worker.health().await);
                }
                println!("lost, by account: {missing:?}\n{health:#?}");
                let kafka = connect(servers, namespace).await;
                panic!("{:#?}", kafka.inspect(&[command("ledger.move")]).await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until this number of further messages is handled.
    async fn grows(&self, more: usize) {
        let (enough, end) = (self.moves().len() + more, Instant::now() + LONG);
        while self.moves().len() < enough {
            assert!(Instant::now() < end, "{} of {enough}", self.moves().len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Checks that the messages of each account are in order and without duplicates.
    fn is_in_order(&self) {
        let mut last = BTreeMap::new();
        for (account, number) in self.moves() {
            let before = last.insert(account, number);
            assert!(
                before.is_none_or(|before| before < number),
                "account {account}: {number} after {before:?}"
            );
        }
    }
}

fn ledger(ledger: &Ledger) -> impl AsyncExecuteCommand<Move> + Send + 'static {
    let ledger = ledger.clone();
    BusBuilder::new()
        .register_command_async_fn(move |one: Move| {
            ledger.0.lock().unwrap().push((one.account, one.number));
            async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok::<_, BusError>(())
            }
        })
        .build()
}

async fn connect(servers: &str, namespace: &str) -> KafkaTransport {
    let kafka = kafka_at(servers).namespace(namespace);
    kafka.partitions(6).connect().await.unwrap()
}

/// A worker whose leases do not run out: otherwise messages may be handled again by others.
async fn work(servers: &str, namespace: &str, book: &Ledger) -> WorkerHandle<KafkaTransport> {
    work_with(LONG, servers, namespace, book).await
}

async fn work_with(
    lease: Duration,
    servers: &str,
    namespace: &str,
    book: &Ledger,
) -> WorkerHandle<KafkaTransport> {
    let worker = Worker::new(connect(servers, namespace).await, ledger(book)).command::<Move>();
    worker.lease(lease).start().await.unwrap()
}

/// Sends messages, and returns those that were confirmed.
async fn send(
    bus: RemoteBus<impl Transport>,
    rounds: u32,
    pause: Duration,
) -> BTreeSet<(u32, u32)> {
    let mut confirmed = BTreeSet::new();
    for number in 0..rounds {
        for account in 0..ACCOUNTS {
            let sent = bus.execute_async(Move { account, number }).await;
            if sent.is_ok() {
                confirmed.insert((account, number));
            }
        }
        tokio::time::sleep(pause).await;
    }
    confirmed
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_start_and_stop_handle_each_message_once_and_in_order() {
    let (servers, namespace) = (Kafka::common().servers(), "come-and-go");
    let book = Ledger::default();
    let bus = RemoteBus::connect(connect(servers, namespace).await);
    let sending = tokio::spawn(send(bus.await.unwrap(), 250, Duration::from_millis(20)));
    let mut workers = vec![work(servers, namespace, &book).await];
    for _ in 0..3 {
        workers.push(work(servers, namespace, &book).await);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        workers.push(work(servers, namespace, &book).await);
        workers.remove(0).shutdown(LONG).await;
    }
    let confirmed = sending.await.unwrap();
    assert_eq!(confirmed.len(), 250 * 16, "all are confirmed");
    book.has(&confirmed, &workers, (servers, namespace)).await;
    for worker in workers {
        worker.shutdown(LONG).await;
    }
    book.is_in_order();
    assert_eq!(book.moves().len(), confirmed.len(), "duplicates");
}

/// Kills the broker twice under load, and waits until all confirmed messages are handled.
async fn through_outages(lease: Duration) -> Ledger {
    let mut kafka = Kafka::start();
    let (servers, namespace) = (kafka.servers().to_owned(), "killed");
    let book = Ledger::default();
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(work_with(lease, &servers, namespace, &book).await);
    }
    let bus = RemoteBus::connect(connect(&servers, namespace).await);
    let sending = tokio::spawn(send(bus.await.unwrap(), 150, Duration::from_millis(30)));
    for _ in 0..2 {
        book.grows(100).await;
        kafka = tokio::task::spawn_blocking(move || {
            kafka.restart();
            kafka
        })
        .await
        .unwrap();
    }
    let confirmed = sending.await.unwrap();
    println!("confirmed: {} of {}", confirmed.len(), 150 * ACCOUNTS);
    book.has(&confirmed, &workers, (&servers, namespace)).await;
    for worker in workers {
        worker.shutdown(LONG).await;
    }
    book
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_under_load_loses_and_duplicates_nothing() {
    // Leases outlast the outage: otherwise messages may be handled again by other workers.
    let book = through_outages(Duration::from_secs(60)).await;
    book.is_in_order();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_under_load_loses_nothing_if_leases_run_out() {
    through_outages(LEASE).await;
}

/// The child process of a test. Does nothing without the address of a broker.
#[tokio::test]
async fn the_worker_that_is_killed() {
    let Some(servers) = doomed::told() else {
        return;
    };
    let bus = BusBuilder::new()
        .register_command_async_fn(|_: Move| async {
            println!("{HANDLING}");
            std::future::pending::<Result<(), BusError>>().await
        })
        .build();
    let transport = connect(&servers, "mid-handler").await;
    let worker = Worker::new(transport, bus).command::<Move>().lease(LEASE);
    let worker = worker.configure::<Move>(|it| it.limit(NonZeroUsize::new(4).unwrap()));
    let _worker = worker.start().await.unwrap();
    // Ends by itself if it is not killed.
    tokio::time::sleep(2 * LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_killed_worker_are_handled_by_others_once_and_in_order() {
    let (servers, namespace) = (Kafka::common().servers(), "mid-handler");
    let book = Ledger::default();
    let bus = RemoteBus::connect(connect(servers, namespace).await)
        .await
        .unwrap();
    let once = bus.with_idempotency_key("the first");
    let first = Move {
        account: 99,
        number: 0,
    };
    once.execute_async(first).await.unwrap();
    let sending = tokio::spawn(send(bus, 100, Duration::from_millis(20)));
    let doomed = Doomed::start("rebalances::the_worker_that_is_killed", servers);
    let stays = work(servers, namespace, &book).await;
    doomed.kill_while_handling().await;
    // The sender repeats the message after an unknown outcome.
    let again = Move {
        account: 99,
        number: 0,
    };
    once.execute_async(again).await.unwrap();
    let mut confirmed = sending.await.unwrap();
    confirmed.insert((99, 0));
    book.has(
        &confirmed,
        std::slice::from_ref(&stays),
        (servers, namespace),
    )
    .await;
    stays.shutdown(LONG).await;
    book.is_in_order();
}
