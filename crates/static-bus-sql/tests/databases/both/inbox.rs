//! Handling in a transaction.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use sqlx::{Pool, Transaction};
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::{
    RemoteBus, RetryPolicy, Transport as _, Worker, WorkerHandle,
    transport::{Consumer as _, Delivery, Lease},
    with_scope,
};
use static_bus_sql::{SqlConsumer, SqlReceipt, SqlTransport, transaction};

use super::{
    BEGIN, Database, connect, home, pool_of,
    support::{LONG, append, command, event, join, record},
};

#[derive(Serialize, Deserialize)]
pub struct Deposit {
    pub amount: i64,
}
command!(Deposit, name = "bank.deposit");

#[derive(Serialize, Deserialize)]
pub struct Deposited {
    pub amount: i64,
}
event!(Deposited, name = "bank.deposited");

/// A module that does not know on which bus it runs. It fails as often as it is told, when all is done.
#[derive(Default)]
pub struct Bank {
    failures: AtomicU32,
    runs: AtomicU32,
}

impl<B: AsyncPublishEvent<Deposited>> AsyncCommandHandler<Deposit, B> for Bank {
    async fn handle(&self, deposit: Deposit, bus: &B) -> Result<(), BusError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let Deposit { amount } = deposit;
        enter(amount).await.map_err(BusError::rejected::<Deposit>)?;
        bus.publish_async(&Deposited { amount }).await?;
        let left = self.failures.load(Ordering::Relaxed);
        if left > 0 {
            self.failures.store(left - 1, Ordering::Relaxed);
            return Err(BusError::rejected::<Deposit>("it is told to fail"));
        }
        Ok(())
    }
}

/// Writes an entry in the transaction.
pub async fn enter(amount: i64) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut transaction = transaction::<Database>().await?;
    let insert = sqlx::query("insert into entry (amount) values ($1)").bind(amount);
    insert.execute(&mut *transaction).await?;
    Ok(())
}

/// The table that the bank writes.
pub struct Entries {
    pool: Pool<Database>,
    _home: Box<dyn std::any::Any>,
}

impl Entries {
    pub async fn new(home: impl std::any::Any, told: &str) -> Self {
        let pool = pool_of(told).await;
        let table = sqlx::query("create table entry (amount bigint not null)");
        table.execute(&pool).await.unwrap();
        Entries {
            pool,
            _home: Box::new(home),
        }
    }

    pub async fn all(&self) -> Vec<i64> {
        let entries = sqlx::query_scalar("select amount from entry order by amount");
        entries.fetch_all(&self.pool).await.unwrap()
    }

    pub async fn begin(&self) -> Transaction<'static, Database> {
        self.pool.begin_with(BEGIN).await.unwrap()
    }
}

struct Branch {
    transport: SqlTransport<Database>,
    remote: RemoteBus<SqlTransport<Database>>,
    entries: Entries,
    /// A subscriber of the event that never acknowledges.
    audit: SqlConsumer<Database>,
}

impl Branch {
    async fn new() -> Self {
        let (home, told) = home();
        let transport = connect(&told).await;
        let remote = RemoteBus::connect(transport.clone()).await.unwrap();
        let audit = join(&transport, &event("bank.deposited"), "audit").await;
        Branch {
            transport,
            remote,
            entries: Entries::new(home, &told).await,
            audit,
        }
    }

    async fn worker(&self, bank: &'static Bank) -> WorkerHandle<SqlTransport<Database>> {
        let bus = BusBuilder::new()
            .register_command_async::<Deposit, _>(bank)
            .subscribe_async::<Deposited, _>(self.remote.clone())
            .build();
        let retries = RetryPolicy {
            max_attempts: 1000,
            max_delay: Duration::from_millis(20),
            ..RetryPolicy::default()
        };
        let worker = Worker::new(self.transport.clone(), bus)
            .command::<Deposit>()
            .retries(retries);
        worker.start().await.unwrap()
    }

    async fn entries(&self) -> Vec<i64> {
        self.entries.all().await
    }

    async fn events(&self) -> u64 {
        let backlog = self.audit.backlog().await.unwrap();
        backlog.lag + backlog.pending
    }

    /// A member that holds a record, as its handler begins.
    async fn held(&self) -> (SqlConsumer<Database>, Delivery<SqlReceipt>) {
        let topic = command("bank.deposit");
        append(&self.transport, &topic, [record("a deposit")])
            .await
            .unwrap();
        let member = join(&self.transport, &topic, "member").await;
        let mut got = member.receive(10, LONG).await.unwrap();
        (member, got.pop().unwrap())
    }

    fn refused(&self, reason: &str) -> String {
        format!("{}: {reason}", self.transport.address())
    }
}

pub async fn eventually(what: &str, is_it: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !is_it().await {
        assert!(start.elapsed() < LONG, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn bank(failures: u32) -> &'static Bank {
    let failures = failures.into();
    Box::leak(Box::new(Bank {
        failures,
        ..Bank::default()
    }))
}

fn lease(delivery: &Delivery<SqlReceipt>, claim: Option<&str>) -> Lease<SqlReceipt> {
    Lease {
        receipt: delivery.receipt,
        claim: claim.map(Into::into),
    }
}

#[tokio::test]
async fn effect_memory_and_output_commit_together_however_often_the_handler_fails() {
    let branch = Branch::new().await;
    let bank = bank(7);
    let worker = branch.worker(bank).await;
    for amount in [1, 2, 3] {
        branch
            .remote
            .execute_async(Deposit { amount })
            .await
            .unwrap();
    }
    eventually("all are handled", async || {
        branch.entries().await == [1, 2, 3]
    })
    .await;
    worker.shutdown(LONG).await;
    assert_eq!(branch.entries().await, [1, 2, 3]);
    assert_eq!(branch.events().await, 3);
    assert_eq!(bank.runs.load(Ordering::Relaxed), 10);
    let member = join(&branch.transport, &command("bank.deposit"), "member").await;
    let backlog = member.backlog().await.unwrap();
    assert_eq!(backlog.lag + backlog.pending, 0, "all are acknowledged");
}

#[tokio::test]
async fn messages_with_one_idempotency_key_have_one_effect() {
    let branch = Branch::new().await;
    let bank = bank(1);
    let worker = branch.worker(bank).await;
    let remote = branch.remote.with_idempotency_key("deposit 7");
    for amount in [5, 5, 5, 5] {
        remote.execute_async(Deposit { amount }).await.unwrap();
    }
    branch
        .remote
        .execute_async(Deposit { amount: 6 })
        .await
        .unwrap();
    let member = join(&branch.transport, &command("bank.deposit"), "member").await;
    eventually("all are acknowledged", async || {
        let backlog = member.backlog().await.unwrap();
        backlog.lag + backlog.pending == 0
    })
    .await;
    assert_eq!(branch.entries().await, [5, 6]);
    assert_eq!(branch.events().await, 2);
    worker.shutdown(LONG).await;
}

#[tokio::test]
async fn the_effect_of_a_record_that_was_acknowledged_meanwhile_is_rolled_back() {
    let branch = Branch::new().await;
    let (member, delivery) = branch.held().await;
    member.acknowledge(&[lease(&delivery, None)]).await.unwrap();
    let scope = member.begin(&delivery.receipt).unwrap();
    with_scope(scope.clone(), async {
        enter(2).await.unwrap();
        branch
            .remote
            .publish_async(&Deposited { amount: 2 })
            .await
            .unwrap();
    })
    .await;
    member
        .finish(&lease(&delivery, None), &scope)
        .await
        .unwrap();
    assert_eq!(branch.entries().await, [0; 0]);
    assert_eq!(branch.events().await, 0);
}

#[tokio::test]
async fn the_effect_of_a_record_whose_key_was_confirmed_meanwhile_is_rolled_back() {
    let branch = Branch::new().await;
    let (member, first) = branch.held().await;
    append(
        &branch.transport,
        &command("bank.deposit"),
        [record("again")],
    )
    .await
    .unwrap();
    let second = member.receive(10, LONG).await.unwrap().pop().unwrap();
    for delivery in [&first, &second] {
        let scope = member.begin(&delivery.receipt).unwrap();
        with_scope(scope.clone(), async { enter(1).await.unwrap() }).await;
        member
            .finish(&lease(delivery, Some("key")), &scope)
            .await
            .unwrap();
    }
    assert_eq!(branch.entries().await, [1]);
}

#[tokio::test]
async fn a_message_that_is_sent_when_the_transaction_has_ended_is_refused() {
    let branch = Branch::new().await;
    let (member, delivery) = branch.held().await;
    let scope = member.begin(&delivery.receipt).unwrap();
    with_scope(scope.clone(), async { enter(1).await.unwrap() }).await;
    member
        .finish(&lease(&delivery, None), &scope)
        .await
        .unwrap();
    let late = with_scope(scope, branch.remote.publish_async(&Deposited { amount: 1 })).await;
    let reason =
        "the transaction of the handler that sends this has ended: await each send in the handler";
    let expected = format!(
        "bank.deposited: the broker did not take it: {}",
        branch.refused(reason)
    );
    assert_eq!(late.unwrap_err().to_string(), expected);
    assert_eq!(branch.events().await, 0);
}

#[tokio::test]
async fn a_handler_that_has_sent_before_it_asks_is_told_to_ask_first() {
    let branch = Branch::new().await;
    let (member, delivery) = branch.held().await;
    let scope = member.begin(&delivery.receipt).unwrap();
    let asked = with_scope(scope, async {
        branch
            .remote
            .publish_async(&Deposited { amount: 1 })
            .await
            .unwrap();
        transaction::<Database>().await
    });
    let expected = "messages were sent before the transaction: ask for it before the first is sent";
    assert_eq!(
        asked.await.unwrap_err().to_string(),
        branch.refused(expected)
    );
    assert_eq!(branch.events().await, 1, "it was sent at once");
}

#[tokio::test]
async fn a_task_without_a_message_has_no_transaction() {
    let expected = "no transaction belongs to this task: ask for it in the handler of a command or an event that a worker on this \
                    database runs, or in the future of `transact`, and not in a task that it spawns";
    let expected = format!("{}: {expected}", <Database as sqlx::Database>::NAME);
    assert_eq!(
        transaction::<Database>().await.unwrap_err().to_string(),
        expected
    );
}

#[tokio::test]
async fn a_handler_runs_in_a_transaction_without_a_worker() {
    let branch = Branch::new().await;
    let bank = bank(1);
    let deposit = |amount| {
        branch
            .transport
            .transact(bank.handle(Deposit { amount }, &branch.remote))
    };
    let failed = deposit(1).await.unwrap();
    assert_eq!(
        failed.unwrap_err().to_string(),
        "bank.deposit: its handler failed: it is told to fail"
    );
    assert_eq!(branch.entries().await, [0; 0]);
    assert_eq!(branch.events().await, 0);

    deposit(2).await.unwrap().unwrap();
    assert_eq!(branch.entries().await, [2]);
    assert_eq!(branch.events().await, 1);
}

#[tokio::test]
async fn a_transaction_within_a_transaction_is_refused() {
    let branch = Branch::new().await;
    let inner = || branch.transport.transact(async { Ok::<_, ()>(()) });
    let outer = branch
        .transport
        .transact(async { Ok::<_, ()>(inner().await) })
        .await;
    let expected = "a transaction is open in this task already: ask for it with `transaction`";
    let inner = outer.unwrap().unwrap();
    assert_eq!(inner.unwrap_err().to_string(), branch.refused(expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_handlers_at_a_time_take_turns() {
    let branch = Branch::new().await;
    let bus = BusBuilder::new()
        .register_command_async::<Deposit, _>(bank(0))
        .subscribe_async::<Deposited, _>(branch.remote.clone())
        .build();
    let limit = NonZeroUsize::new(32).unwrap();
    let worker = Worker::new(branch.transport.clone(), bus)
        .command::<Deposit>()
        .configure::<Deposit>(|it| it.limit(limit));
    let worker = worker.start().await.unwrap();
    // What is sent outside of handlers waits for the same lock.
    let sends = (0..200).map(|amount| branch.remote.execute_async(Deposit { amount }));
    for send in sends {
        send.await.unwrap();
    }
    eventually("all are handled", async || branch.events().await == 200).await;
    assert!(branch.entries().await.into_iter().eq(0..200));
    worker.shutdown(LONG).await;
}
