//! PgBouncer, which gives each transaction another connection.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::{RemoteBus, Worker};
use static_bus_sql::{PostgresTransport, transaction};
use test_brokers::{pgbouncer::PgBouncer, postgres::Postgres};

use super::{inbox::eventually, support::LONG};

#[derive(Serialize, Deserialize)]
struct Deposit {
    account: i64,
    amount: i64,
}
command!(Deposit, name = "pooled.deposit", key = account);

#[derive(Serialize, Deserialize)]
struct Balance {
    account: i64,
}
query!(Balance -> i64, name = "pooled.balance");

#[derive(Clone)]
struct Bank(sqlx::PgPool);

impl<B> AsyncCommandHandler<Deposit, B> for Bank {
    async fn handle(&self, deposit: Deposit, _: &B) -> Result<(), BusError>
    where
        B: Sync,
    {
        book(deposit).await.map_err(BusError::rejected::<Deposit>)
    }
}

async fn book(deposit: Deposit) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut transaction = transaction::<sqlx::Postgres>().await?;
    let book =
        sqlx::query("insert into pooled (account, amount) values ($1, $2)").persistent(false);
    let book = book.bind(deposit.account).bind(deposit.amount);
    book.execute(&mut *transaction).await?;
    Ok(())
}

impl<B> AsyncQueryHandler<Balance, B> for Bank {
    async fn handle(&self, balance: Balance, _: &B) -> Result<i64, BusError>
    where
        B: Sync,
    {
        let sum = "select coalesce(sum(amount), 0)::bigint from pooled where account = $1";
        let sum = sqlx::query_scalar(sum).bind(balance.account);
        sum.fetch_one(&self.0)
            .await
            .map_err(BusError::rejected::<Balance>)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_of_transactions_messages_and_answers_arrive_and_effects_are_exact() {
    let postgres = Postgres::start();
    let pool = sqlx::PgPool::connect(&postgres.url()).await.unwrap();
    let table = "create table pooled (account bigint not null, amount bigint not null)";
    sqlx::query(table).execute(&pool).await.unwrap();
    // Fewer connections than clients: each statement of a client may be on another one.
    let pooler = PgBouncer::start(&postgres, 3);
    let connect = async || {
        let builder = PostgresTransport::builder(pooler.url())
            .notifications(false)
            .prepared_statements(false)
            .poll(Duration::from_millis(100))
            .deadline(LONG);
        builder.connect().await.unwrap()
    };
    let mut workers = Vec::new();
    for _ in 0..2 {
        let bus = BusBuilder::new()
            .register_command_async::<Deposit, _>(Bank(pool.clone()))
            .register_query_async::<Balance, _>(Bank(pool.clone()))
            .build();
        let worker = Worker::new(connect().await, bus)
            .command::<Deposit>()
            .query::<Balance>();
        workers.push(worker.start().await.unwrap());
    }
    let remote = RemoteBus::connect(connect().await).await.unwrap();
    for n in 0..50 {
        // Each is sent twice.
        let remote = remote.with_idempotency_key(format!("deposit {n}"));
        for _ in 0..2 {
            remote
                .execute_async(Deposit {
                    account: n % 7,
                    amount: 1,
                })
                .await
                .unwrap();
        }
    }
    let booked = || sqlx::query_scalar::<_, i64>("select count(*) from pooled").fetch_one(&pool);
    eventually("all are booked", async || booked().await.unwrap() >= 50).await;
    for account in 0..7 {
        let expected = (0..50).filter(|n| n % 7 == account).count() as i64;
        assert_eq!(
            remote.send_async(Balance { account }).await.unwrap(),
            expected
        );
    }
    for worker in workers {
        assert!(worker.health().await.ready);
        worker.shutdown(LONG).await;
    }
    assert_eq!(booked().await.unwrap(), 50);
}

#[tokio::test]
async fn a_pooler_that_does_not_keep_prepared_statements_is_named_with_the_remedy() {
    let postgres = Postgres::start();
    let pooler = PgBouncer::start(&postgres, 1);
    let connect = || {
        PostgresTransport::builder(pooler.url())
            .deadline(LONG)
            .notifications(false)
            .connect()
    };
    // The statements of the first are those of the only connection to the server.
    let _first = connect().await.unwrap();
    let error = connect().await.unwrap_err();
    let remedy = ": the URL names a pooler that does not keep prepared statements: set `prepared_statements(false)`";
    assert!(error.reason().ends_with(remedy), "{error}");
}
