//! Exactly once, effects included: a bank whose workers are killed, on this database alone and over other brokers.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use sqlx::Pool;
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_kafka::KafkaTransport;
use static_bus_redis::RedisTransport;
use static_bus_remote::{Envelope, RemoteBus, RetryPolicy, Transport, Worker, transport::Consumer};
use static_bus_sql::{Outbox, transaction};
use test_brokers::{
    doomed::{self, Doomed},
    kafka::{Kafka, KafkaOptions},
    redis::Redis,
};

use super::{
    Database, KILLS, connect, home,
    inbox::eventually,
    pool_of,
    support::{LONG, acknowledge, command, event, join},
};

const ACCOUNTS: usize = 100;
const WORKERS: usize = 3;

#[derive(Clone, Serialize, Deserialize)]
struct Transfer {
    id: i64,
    from: i64,
    to: i64,
    amount: i64,
}
command!(Transfer, name = "bank.transfer");

#[derive(Serialize, Deserialize)]
struct Transferred {
    id: i64,
}
event!(Transferred, name = "bank.transferred");

struct Bank;

impl<B: AsyncPublishEvent<Transferred>> AsyncCommandHandler<Transfer, B> for Bank {
    async fn handle(&self, transfer: Transfer, bus: &B) -> Result<(), BusError> {
        let book = async {
            let mut transaction = transaction::<Database>().await?;
            let Transfer {
                id,
                from,
                to,
                amount,
            } = transfer;
            for (account, amount) in [(from, -amount), (to, amount)] {
                let update = "update account set balance = balance + $1 where id = $2";
                let update = sqlx::query(update).bind(amount).bind(account);
                update.execute(&mut *transaction).await?;
            }
            let insert = sqlx::query("insert into booking (transfer) values ($1)").bind(id);
            insert.execute(&mut *transaction).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        };
        book.await.map_err(BusError::rejected::<Transfer>)?;
        bus.publish_async(&Transferred { id: transfer.id }).await
    }
}

/// A process of a bank: the worker, and the relay if another broker carries the messages.
#[tokio::test]
async fn the_worker_that_is_killed() {
    let Some(told) = doomed::told() else { return };
    let (told, broker) = match told.split_once('|') {
        Some((told, broker)) => (told, Some(broker)),
        None => (&*told, None),
    };
    let transport = connect(told).await;
    match broker {
        None => serve(transport).await,
        Some(url) if url.starts_with("redis:") => relay(transport.outbox(redis(url).await)).await,
        Some(servers) => relay(transport.outbox(kafka(servers).await)).await,
    }
}

async fn redis(url: &str) -> RedisTransport {
    let redis = RedisTransport::builder(url).deadline(LONG);
    redis.connect().await.unwrap()
}

async fn kafka(servers: &str) -> KafkaTransport {
    let kafka = KafkaTransport::builder(servers).deadline(LONG);
    // A worker that is killed holds its partitions for this long.
    let kafka = kafka.set("session.timeout.ms", "2000");
    kafka.connect().await.unwrap()
}

async fn relay(outbox: Outbox<impl Transport, Database>) {
    let relay = outbox.relay().lease(Duration::from_secs(1));
    let _relay = relay.start().await.unwrap();
    serve(outbox).await
}

async fn serve(transport: impl Transport) {
    let remote = RemoteBus::connect(transport.clone()).await.unwrap();
    let bus = BusBuilder::new()
        .register_command_async::<Transfer, _>(Bank)
        .subscribe_async::<Transferred, _>(remote)
        .build();
    // Workers die here without a fault of the message.
    let retries = RetryPolicy {
        max_attempts: 1000,
        max_delay: Duration::from_millis(100),
        ..RetryPolicy::default()
    };
    let four = NonZeroUsize::new(4).unwrap();
    let worker = Worker::new(transport, bus)
        .command::<Transfer>()
        .configure::<Transfer>(|it| it.limit(four))
        .lease(Duration::from_secs(1))
        // Longer than the test takes: what is sent twice is apart by all others.
        .deduplication(Duration::from_secs(86_400))
        .retries(retries);
    let _worker = worker.start().await.unwrap();
    println!("{}", doomed::HANDLING);
    std::future::pending::<()>().await;
}

/// Some transfers between accounts, and the balances when each of them was made once.
struct Plan {
    transfers: Vec<Transfer>,
    balances: Vec<i64>,
}

impl Plan {
    fn of(transfers: usize) -> Self {
        let account = || fastrand::i64(0..ACCOUNTS as i64);
        let transfer = |id| Transfer {
            id,
            from: account(),
            to: account(),
            amount: fastrand::i64(1..=100),
        };
        let transfers: Vec<_> = (0..transfers as i64).map(transfer).collect();
        let mut balances = vec![1000; ACCOUNTS];
        for Transfer {
            from, to, amount, ..
        } in &transfers
        {
            balances[*from as usize] -= amount;
            balances[*to as usize] += amount;
        }
        Plan {
            transfers,
            balances,
        }
    }

    /// Sends the transfers, and some of them twice.
    async fn send(&self, remote: &RemoteBus<impl Transport>) {
        let remote = remote.with_idempotency_key("plan");
        remote.execute_many(self.transfers.clone()).await.unwrap();
        let again = &self.transfers[..self.transfers.len() / 20];
        remote.execute_many(again.to_vec()).await.unwrap();
    }

    /// Kills workers, evenly over the time that the transfers take, until all are booked and no message is left: what is sent twice or
    /// delivered again has no effect.
    async fn run(
        &self,
        pool: &Pool<Database>,
        transfers: &impl Consumer,
        told: &str,
        kills: usize,
    ) {
        let start = Instant::now();
        let all = self.transfers.len();
        // Cheaper than to look at the transfers, as long as nothing is booked twice.
        let rows = async || int(pool, "select count(*) from booking").await;
        let (_, module) = module_path!().split_once("::").unwrap();
        let test = format!("{module}::the_worker_that_is_killed");
        let worker = || Doomed::start(&test, told);
        let mut workers: Vec<_> = (0..WORKERS).map(|_| worker()).collect();
        for kill in 0..kills {
            progress(rows, |rows| rows > kill * all / kills).await;
            let oldest = workers.remove(0);
            oldest
                .kill_when(|line| line.contains(doomed::HANDLING))
                .await;
            workers.push(worker());
        }
        let booked = async || int(pool, "select count(distinct transfer) from booking").await;
        progress(booked, |booked| booked == all).await;
        let left = async || {
            let left = transfers.backlog().await.unwrap();
            left.lag + left.pending
        };
        progress(left, |left| left == 0).await;
        println!("{kills} kills in {:?}", start.elapsed());
    }

    async fn check(&self, pool: &Pool<Database>) {
        let bookings = int(pool, "select count(*) from booking").await;
        assert_eq!(bookings, self.transfers.len(), "bookings");
        let found = sqlx::query_scalar::<_, i64>("select balance from account order by id");
        assert_eq!(found.fetch_all(pool).await.unwrap(), self.balances);
    }
}

/// Waits until a number is reached that always changes again within a short time.
async fn progress<N: PartialEq + Copy + Debug>(
    number: impl AsyncFn() -> N,
    is_it: impl Fn(N) -> bool,
) {
    let mut last = (number().await, Instant::now());
    while !is_it(last.0) {
        assert!(last.1.elapsed() < LONG, "no progress: {:?}", last.0);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let number = number().await;
        if number != last.0 {
            last = (number, Instant::now());
        }
    }
}

async fn int(pool: &Pool<Database>, query: &'static str) -> usize {
    let int: i64 = sqlx::query_scalar(query).fetch_one(pool).await.unwrap();
    int.try_into().unwrap()
}

async fn open_accounts(pool: &Pool<Database>) {
    for statement in [
        "create table account (id bigint primary key, balance bigint not null)",
        // Without a unique index: a transfer that is booked twice is there twice.
        "create table booking (transfer bigint not null)",
    ] {
        sqlx::query(statement).execute(pool).await.unwrap();
    }
    for id in 0..ACCOUNTS as i64 {
        let insert = sqlx::query("insert into account (id, balance) values ($1, 1000)").bind(id);
        insert.execute(pool).await.unwrap();
    }
}

async fn is_exact(kills: usize) {
    let (_home, told) = home();
    let transport = connect(&told).await;
    let pool = pool_of(&told).await;
    open_accounts(&pool).await;
    let audit = join(&transport, &event("bank.transferred"), "audit").await;
    let plan = Plan::of(100 * kills);
    plan.send(&RemoteBus::connect(transport.clone()).await.unwrap())
        .await;
    let transfers = join(&transport, &command("bank.transfer"), "observer").await;
    plan.run(&pool, &transfers, &told, kills).await;
    plan.check(&pool).await;
    let events = audit.backlog().await.unwrap();
    assert_eq!(events.lag + events.pending, 100 * kills as u64, "events");
    assert_eq!(transport.dead_letters(None, 10).await.unwrap().len(), 0);
}

/// A bank whose messages another broker carries, while workers and their relays are killed.
async fn is_exact_over(broker: impl Transport, address: &str, transfers: usize, kills: usize) {
    let (_home, told) = home();
    let outbox = connect(&told).await.outbox(broker);
    let pool = pool_of(&told).await;
    open_accounts(&pool).await;
    let audit = join(&outbox, &event("bank.transferred"), "audit").await;
    let plan = Plan::of(transfers);
    plan.send(&RemoteBus::connect(outbox.clone()).await.unwrap())
        .await;
    let observer = join(&outbox, &command("bank.transfer"), "observer").await;
    let told = format!("{told}|{address}");
    plan.run(&pool, &observer, &told, kills).await;
    let relay = outbox.relay().start().await.unwrap();
    eventually("all have left", async || relay.health().await.lag == 0).await;
    plan.check(&pool).await;
    // A relay that is killed sends some events again, with the same id.
    let (mut ids, mut events) = (BTreeSet::new(), BTreeSet::new());
    while audit.backlog().await.unwrap().lag > 0 {
        let got = audit.receive(1000, LONG).await.unwrap();
        acknowledge(&audit, &got).await.unwrap();
        for delivery in got {
            let envelope = Envelope::parse(&delivery.record.headers).unwrap();
            let event: Transferred = serde_json::from_slice(&delivery.record.body).unwrap();
            ids.insert(envelope.id.into_owned());
            events.insert(event.id);
        }
    }
    assert!(events.into_iter().eq(0..transfers as i64), "each event");
    assert_eq!(
        ids.len(),
        transfers,
        "an event has one id, however often it is sent"
    );
    assert_eq!(outbox.dead_letters(None, 10).await.unwrap().len(), 0);
    relay.shutdown().await.unwrap();
}

async fn is_exact_over_redis(transfers: usize, kills: usize) {
    let server = Redis::start();
    let broker = redis(server.url()).await;
    is_exact_over(broker, server.url(), transfers, kills).await;
}

async fn is_exact_over_kafka(transfers: usize, kills: usize) {
    let options = KafkaOptions {
        properties: vec!["group.min.session.timeout.ms=2000".to_owned()],
        ..KafkaOptions::default()
    };
    let start = || Kafka::with(options);
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let broker = kafka(server.servers()).await;
    is_exact_over(broker, server.servers(), transfers, kills).await;
}

#[tokio::test]
async fn a_bank_whose_workers_are_killed_is_exact() {
    is_exact(KILLS).await;
}

#[tokio::test]
async fn a_bank_over_redis_whose_workers_and_relays_are_killed_is_exact() {
    is_exact_over_redis(1_000, 10).await;
}

#[tokio::test]
async fn a_bank_over_kafka_whose_workers_and_relays_are_killed_is_exact() {
    is_exact_over_kafka(1_000, 10).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn a_bank_is_exact_after_200_kills() {
    is_exact(200).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn a_bank_over_redis_is_exact_after_200_kills() {
    is_exact_over_redis(20_000, 200).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn a_bank_over_kafka_is_exact_after_200_kills() {
    is_exact_over_kafka(20_000, 200).await;
}
