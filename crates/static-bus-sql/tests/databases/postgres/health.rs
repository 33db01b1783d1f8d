//! Transactions that stay open are named in the health.

use std::time::Duration;

use sqlx::Executor as _;
use static_bus::prelude::*;
use static_bus_remote::{Transport as _, Worker};
use static_bus_sql::PostgresTransport;
use test_brokers::postgres::{Postgres, PostgresOptions};

use super::{outbox::Moody, support::LONG};

#[tokio::test]
async fn a_transaction_that_stays_open_is_named_with_the_remedy_and_a_worker_stays_ready() {
    let postgres = Postgres::start();
    let builder = PostgresTransport::builder(postgres.url())
        .long_transaction(Duration::from_secs(1))
        .deadline(LONG);
    let transport = builder.connect().await.unwrap();
    let bus = BusBuilder::new().build();
    let worker = Worker::new(transport.clone(), bus).start().await.unwrap();
    let outbox = transport.outbox(Moody::default());
    let relay = outbox.relay().start().await.unwrap();

    let pool = sqlx::PgPool::connect(&postgres.url()).await.unwrap();
    let mut open = pool.begin().await.unwrap();
    open.execute("set local application_name = 'report'")
        .await
        .unwrap();
    let id = sqlx::query_scalar::<_, i32>("select pg_backend_pid()");
    let id = id.fetch_one(&mut *open).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let health = worker.health().await;
    assert!(health.ready, "{:?}", health.reasons);
    let address = format!("postgres://127.0.0.1:{}/postgres", postgres.port());
    // On a busy machine one of the transport may be open for that long as well.
    let process = format!("process {id},");
    let named = |warnings: &[String]| warnings.iter().find(|it| it.contains(&process)).cloned();
    let warning = named(&health.warnings).expect("a warning");
    let (before, after) = warning.split_once(" s (").unwrap();
    assert!(
        before.starts_with(&format!("{address}: a transaction has been open for ")),
        "{warning}"
    );
    let expected = format!(
        "process {id}, user postgres, application 'report', idle in transaction), so vacuums cannot remove rows, and searches of \
         the queues pass them: end it with `select pg_terminate_backend({id})`"
    );
    assert_eq!(after, expected);
    assert!(named(&relay.health().await.warnings).is_some());
    let both = outbox.warnings().await;
    assert_eq!(both[0], "the broker is in a bad mood");
    assert!(named(&both[1..]).is_some(), "{both:?}");

    open.rollback().await.unwrap();
    assert_eq!(named(&worker.health().await.warnings), None);
    worker.shutdown(LONG).await;
    relay.shutdown().await.unwrap();
}

/// It survives its process and the server.
#[tokio::test]
async fn a_prepared_transaction_is_named_with_the_remedy() {
    let postgres = Postgres::with(PostgresOptions {
        settings: vec!["max_prepared_transactions=2".to_owned()],
        ..PostgresOptions::default()
    });
    let builder = PostgresTransport::builder(postgres.url())
        .long_transaction(Duration::from_secs(1))
        .deadline(LONG);
    let transport = builder.connect().await.unwrap();
    let bus = BusBuilder::new().build();
    let worker = Worker::new(transport, bus).start().await.unwrap();
    let named = async || {
        let warnings = worker.health().await.warnings;
        warnings
            .into_iter()
            .find(|warning| warning.contains("prepared"))
    };

    let pool = sqlx::PgPool::connect(&postgres.url()).await.unwrap();
    let prepare = "begin; create table halves (id int); prepare transaction 'half'";
    pool.execute(prepare).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let warning = named().await.expect("a warning");
    assert!(
        warning.contains("(prepared, user postgres)")
            && warning.ends_with("`rollback prepared 'half'`"),
        "{warning}"
    );
    pool.execute("rollback prepared 'half'").await.unwrap();
    assert_eq!(named().await, None);
    worker.shutdown(LONG).await;
}
