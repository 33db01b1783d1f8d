//! The searches of the queues. The server keeps the plan of a statement that ran some times, and makes it by statistics of another
//! minute: it must not pass what waits for others.

use std::time::Duration;

use sqlx::Row as _;
use static_bus_remote::{
    Transport as _,
    transport::{Consumer as _, Kind, Receiver as _, Subscription, Topic},
};
use static_bus_sql::PostgresTransport;
use test_brokers::postgres::Postgres;
use tokio::time::{Instant, sleep};

use super::{
    namespace, pool,
    support::{LONG, acknowledge, append, command, event, record, topic},
};

/// The records that wait for others.
const BACKLOG: usize = 20_000;
/// The runs of each statement, more than those after which its plan is kept.
const RUNS: usize = 30;

/// A transport with one connection for statements, which are counted when it is closed.
async fn connect(namespace: &str) -> PostgresTransport {
    let url = Postgres::common().url();
    let and = if url.contains('?') { '&' } else { '?' };
    PostgresTransport::builder(format!("{url}{and}application_name={namespace}"))
        .namespace(namespace)
        .connections(2)
        .deadline(LONG)
        .connect()
        .await
        .unwrap()
}

/// Appends records that nobody takes, and makes statistics that know no others.
async fn backlog(namespace: &str, topic: &Topic) {
    let transport = connect(namespace).await;
    let subscription = Subscription::new(topic.clone(), "slow", "member");
    let _slow = transport.consume(subscription).await.unwrap();
    for from in (0..BACKLOG).step_by(1_000) {
        let some = (from..from + 1_000).map(record);
        append(&transport, topic, some).await.unwrap();
    }
    let analyze = format!("analyze {namespace}.record, {namespace}.delivery");
    sqlx::raw_sql(sqlx::AssertSqlSafe(analyze))
        .execute(&pool().await)
        .await
        .unwrap();
}

/// The entries of indices that were read, when all connections of the namespace are closed.
async fn reads(namespace: &str) -> i64 {
    const CONNECTED: &str = "select count(*) from pg_stat_activity where application_name = $1";
    const READS: &str =
        "select sum(idx_tup_read)::bigint from pg_stat_user_indexes where schemaname = $1";
    let pool = pool().await;
    let number = async |statement| -> i64 {
        let row = sqlx::query(statement).bind(namespace).fetch_one(&pool);
        row.await.unwrap().get(0)
    };
    let end = Instant::now() + LONG;
    while number(CONNECTED).await > 0 {
        assert!(Instant::now() < end, "the connections are not closed");
        sleep(Duration::from_millis(20)).await;
    }
    number(READS).await
}

/// Fails if the statements since then have passed the backlog more than once.
async fn assert_few_reads(namespace: &str, before: i64) {
    let read = reads(namespace).await - before;
    assert!(
        read < BACKLOG as i64,
        "{read} entries were read for {RUNS} records"
    );
}

#[tokio::test]
async fn a_member_does_not_pass_the_backlog_of_another_group() {
    let (namespace, topic) = (namespace(), event("order.placed"));
    backlog(&namespace, &topic).await;
    let before = reads(&namespace).await;
    {
        let transport = connect(&namespace).await;
        let subscription = Subscription::new(topic.clone(), "quick", "member");
        let quick = transport.consume(subscription).await.unwrap();
        for n in 0..RUNS {
            append(&transport, &topic, [record(n)]).await.unwrap();
            let got = quick.receive(10, LONG).await.unwrap();
            assert_eq!(got.len(), 1);
            acknowledge(&quick, &got).await.unwrap();
        }
    }
    assert_few_reads(&namespace, before).await;
}

#[tokio::test]
async fn a_receiver_does_not_pass_the_backlog_of_commands() {
    let namespace = namespace();
    backlog(&namespace, &command("orders.place")).await;
    let before = reads(&namespace).await;
    {
        let transport = connect(&namespace).await;
        let topic = topic(Kind::Query, "orders.get");
        let receiver = transport.listen(topic.clone()).await.unwrap();
        for n in 0..RUNS {
            append(&transport, &topic, [record(n)]).await.unwrap();
            assert_eq!(receiver.receive(10, LONG).await.unwrap().len(), 1);
        }
    }
    assert_few_reads(&namespace, before).await;
}

/// With the defaults of a server, a plan that is not allowed counts as expensive, and might be compiled.
#[tokio::test]
async fn no_plan_of_a_function_is_compiled() {
    let (namespace, transport) = super::fresh().await;
    transport.check().await.unwrap();
    let compiled = "select coalesce('jit=off' = any(proconfig), false), count(*) from pg_proc \
         where pronamespace = $1::regnamespace group by 1";
    let functions = sqlx::query(compiled).bind(&namespace);
    let functions = functions.fetch_all(&pool().await).await.unwrap();
    let functions: Vec<(bool, i64)> = functions.iter().map(|f| (f.get(0), f.get(1))).collect();
    assert!(
        matches!(functions[..], [(true, count)] if count > 0),
        "{functions:?}"
    );
}

/// Rows come and go: searches would pass those that are gone.
#[tokio::test]
async fn the_tables_of_queues_are_vacuumed_early() {
    let (namespace, transport) = super::fresh().await;
    transport.check().await.unwrap();
    let early = "select relname from pg_class where relnamespace = $1::regnamespace \
         and 'autovacuum_vacuum_scale_factor=0.01' = any(reloptions) order by 1";
    let early = sqlx::query_scalar(early).bind(&namespace);
    let early: Vec<String> = early.fetch_all(&pool().await).await.unwrap();
    for table in [
        "claim",
        "delivery",
        "outbox",
        "record",
        "scheduled",
        "strand",
    ] {
        assert!(early.iter().any(|name| name == table), "{table}: {early:?}");
    }
}
