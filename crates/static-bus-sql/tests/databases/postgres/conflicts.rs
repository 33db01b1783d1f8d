//! Transactions of others that are in the way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Executor as _};
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::{
    RemoteBus, RetryPolicy, Transport as _, TransportErrorKind, Worker,
    transport::{Backlog, Claim, Consumer as _, Lease, Subscription},
    with_scope,
};
use static_bus_sql::{PostgresTransport, SqlConsumer, transaction};
use test_brokers::postgres::{Postgres, PostgresOptions};

use super::{
    Database, fresh,
    inbox::{Deposit, Deposited, eventually},
    namespace, pool,
    support::{LONG, acknowledge, append, bodies, command, event, join, keyed, record},
};

/// A connection whose deadline is awaited.
async fn with_deadline(namespace: &str) -> PostgresTransport {
    let builder = PostgresTransport::builder(Postgres::common().url()).namespace(namespace);
    let builder = builder.deadline(Duration::from_secs(12));
    builder.connect().await.unwrap()
}

#[tokio::test]
async fn a_statement_that_waits_for_a_lock_ends_at_the_deadline_and_loses_nothing() {
    let namespace = namespace();
    let transport = with_deadline(&namespace).await;
    let topic = command("orders.place");
    append(&transport, &topic, [record("confirmed")])
        .await
        .unwrap();

    let mut open = pool().await.begin().await.unwrap();
    let lock = format!("lock table {namespace}.record in exclusive mode");
    open.execute(AssertSqlSafe(lock)).await.unwrap();
    let error = append(&transport, &topic, [record("refused")])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unreachable);
    let expected = [
        "canceling statement due to lock timeout: another transaction holds a lock for too long: end it, or raise the deadline",
        "no answer within 12s: check that the database runs and is not overloaded, or raise the deadline",
    ];
    assert!(expected.contains(&error.reason()), "{error}");

    open.rollback().await.unwrap();
    append(&transport, &topic, [record("later")]).await.unwrap();
    let member = join(&transport, &topic, "member").await;
    assert_eq!(
        bodies(&member.receive(10, LONG).await.unwrap()),
        ["confirmed", "later"]
    );
}

#[tokio::test]
async fn the_server_ends_a_statement_of_a_handler_at_the_deadline() {
    let transport = with_deadline(&namespace()).await;
    let topic = command("orders.place");
    let member = join(&transport, &topic, "member").await;
    append(&transport, &topic, [record(1)]).await.unwrap();
    let got = member.receive(1, LONG).await.unwrap();
    let scope = member.begin(&got[0].receipt).unwrap();
    let error = with_scope(scope, async {
        let mut transaction = transaction::<Database>().await.unwrap();
        // No call of the transport is on its way: only the server can end it.
        let slow = transaction.execute("select pg_sleep(600)");
        tokio::time::timeout(LONG, slow).await.unwrap().unwrap_err()
    })
    .await;
    let error = error.as_database_error().unwrap().message();
    assert_eq!(error, "canceling statement due to statement timeout");
}

#[tokio::test]
async fn a_transaction_that_is_the_victim_of_a_deadlock_is_repeated() {
    let postgres = Postgres::with(PostgresOptions {
        settings: vec!["deadlock_timeout=100ms".to_owned()],
        ..PostgresOptions::default()
    });
    let builder = PostgresTransport::builder(postgres.url()).deadline(LONG);
    let transport = builder.connect().await.unwrap();
    let topic = command("orders.place");
    let member = join(&transport, &topic, "member").await;
    append(&transport, &topic, [record(1)]).await.unwrap();
    let got = member.receive(1, LONG).await.unwrap();
    let key: Arc<str> = "key".into();
    assert_eq!(
        member.claim(std::slice::from_ref(&key)).await.unwrap(),
        [Claim::Granted]
    );

    let pool = sqlx::PgPool::connect(&postgres.url()).await.unwrap();
    // An acknowledgement has the key for two seconds before it needs the delivery.
    let slow = "create function slow() returns trigger language plpgsql as \
         $$ begin perform pg_sleep(2); return new; end $$; \
         create trigger slow after update on static_bus.claim for each row execute function slow()";
    sqlx::raw_sql(slow).execute(&pool).await.unwrap();
    let mut other = pool.begin().await.unwrap();
    other
        .execute("set local deadlock_timeout = '60s'")
        .await
        .unwrap();
    other
        .execute("select 1 from static_bus.delivery for update")
        .await
        .unwrap();
    let acknowledge = async {
        let lease = Lease {
            receipt: got[0].receipt,
            claim: Some(key.clone()),
        };
        member.acknowledge(&[lease]).await
    };
    let other = async {
        // Until the acknowledgement has the key.
        let free = "select 1 from static_bus.claim for update skip locked";
        while sqlx::query(free)
            .fetch_optional(&pool)
            .await
            .unwrap()
            .is_some()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        other
            .execute("select 1 from static_bus.claim for update")
            .await
            .unwrap();
        other.commit().await.unwrap();
    };
    let (acknowledged, ()) = tokio::join!(acknowledge, other);
    acknowledged.unwrap();
    assert!(
        postgres.log().contains("deadlock detected"),
        "{}",
        postgres.log()
    );
    assert_eq!(member.claim(&[key]).await.unwrap(), [Claim::Done]);
    assert_eq!(member.backlog().await.unwrap().pending, 0);
}

#[tokio::test]
async fn a_transaction_that_others_overtake_is_tried_six_times() {
    let (namespace, transport) = fresh().await;
    let topic = command("orders.place");
    let pool = pool().await;
    // The sequence is not rolled back.
    let overtake = |times: u32| {
        format!(
            "drop schema if exists {namespace}_faults cascade; create schema {namespace}_faults; \
             create sequence {namespace}_faults.attempts; \
             create function {namespace}_faults.overtake() returns trigger language plpgsql as \
             $$ begin if nextval('{namespace}_faults.attempts') <= {times} then raise sqlstate '40001'; end if; \
             return new; end $$; \
             create trigger overtake before insert on {namespace}.record \
             for each row execute function {namespace}_faults.overtake()"
        )
    };
    let attempts = format!("select last_value from {namespace}_faults.attempts");
    let attempts = async || -> i64 {
        let attempts = sqlx::query_scalar(AssertSqlSafe(attempts.clone()));
        attempts.fetch_one(&pool).await.unwrap()
    };
    pool.execute(AssertSqlSafe(overtake(5))).await.unwrap();
    append(&transport, &topic, [record("late")]).await.unwrap();
    assert_eq!(attempts().await, 6);

    pool.execute(AssertSqlSafe(overtake(1000))).await.unwrap();
    let refused = append(&transport, &topic, [record("refused")]).await;
    let error = refused.unwrap_err();
    let expected = "other transactions were faster each time: try again";
    assert!(error.reason().ends_with(expected), "{error}");
    assert_eq!(error.kind(), TransportErrorKind::Unreachable);
    assert_eq!(attempts().await, 6);
}

#[tokio::test]
async fn an_attempt_whose_transaction_is_rolled_back_for_another_one_does_not_count() {
    type Wrap = fn(sqlx::Error) -> BusError;
    let fails: Wrap = BusError::rejected::<Deposit>;
    let refuses: Wrap = BusError::refused::<Deposit>;
    for (code, wrap, expected) in [
        ("40001", fails, (4, 0)),
        ("40P01", fails, (4, 0)),
        ("40001", refuses, (1, 1)),
        // The statement takes too long, which it may each time.
        ("57014", fails, (1, 1)),
        ("P0001", fails, (1, 1)),
    ] {
        let (_, transport) = fresh().await;
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        let bus = BusBuilder::new()
            .register_command_async_fn(move |_: Deposit| {
                let run = counted.fetch_add(1, Ordering::Relaxed);
                async move {
                    let transaction = transaction::<Database>().await;
                    let mut transaction = transaction.map_err(BusError::rejected::<Deposit>)?;
                    let raise = format!("do $$ begin raise sqlstate '{code}'; end $$");
                    let raise = sqlx::raw_sql(AssertSqlSafe(raise));
                    if run < 3 {
                        let raised = raise.execute(&mut *transaction).await;
                        raised.map_err(wrap)?;
                    }
                    Ok::<_, BusError>(())
                }
            })
            .build();
        let retries = RetryPolicy {
            max_attempts: 1,
            ..RetryPolicy::default()
        };
        let worker = Worker::new(transport.clone(), bus).command::<Deposit>();
        let worker = worker.retries(retries).start().await.unwrap();
        let remote = RemoteBus::connect(transport.clone()).await.unwrap();
        remote.execute_async(Deposit { amount: 1 }).await.unwrap();
        let observer = join(&transport, &command("bank.deposit"), "observer").await;
        eventually("it is settled", async || {
            observer.backlog().await.unwrap() == Backlog::default()
        })
        .await;
        let letters = transport.dead_letters(None, 10).await.unwrap().len();
        assert_eq!((runs.load(Ordering::Relaxed), letters), expected, "{code}");
        worker.shutdown(LONG).await;
    }
}

#[tokio::test]
async fn nor_does_one_of_an_event_whose_second_subscriber_meets_the_aborted_transaction() {
    /// The first three runs fail.
    async fn handle(run: u32, code: &str) -> Result<(), BusError> {
        let mut transaction = transaction::<Database>()
            .await
            .map_err(BusError::rejected::<Deposited>)?;
        let statement = match run {
            0..3 => format!("do $$ begin raise sqlstate '{code}'; end $$"),
            _ => "select 1".to_owned(),
        };
        let done = sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *transaction)
            .await;
        done.map_err(BusError::rejected::<Deposited>)?;
        Ok(())
    }

    for (code, expected) in [("40001", (4, 4, 0)), ("P0001", (1, 1, 1))] {
        let (_, transport) = fresh().await;
        let runs = [(); 2].map(|()| Arc::new(AtomicU32::new(0)));
        let [first, second] = runs
            .clone()
            .map(|runs| move |_: &Deposited| handle(runs.fetch_add(1, Ordering::Relaxed), code));
        let bus = BusBuilder::new()
            .subscribe_async_fn(first)
            .subscribe_async_fn(second)
            .build();
        let retries = RetryPolicy {
            max_attempts: 1,
            ..RetryPolicy::default()
        };
        let worker = Worker::new(transport.clone(), bus).event::<Deposited>("ledger");
        let worker = worker.retries(retries).start().await.unwrap();
        let remote = RemoteBus::connect(transport.clone()).await.unwrap();
        remote
            .publish_async(&Deposited { amount: 1 })
            .await
            .unwrap();
        let observer = Subscription::new(event("bank.deposited"), "ledger", "observer");
        let observer = transport.consume(observer).await.unwrap();
        eventually("it is settled", async || {
            observer.backlog().await.unwrap() == Backlog::default()
        })
        .await;
        let letters = transport.dead_letters(None, 10).await.unwrap().len();
        let [first, second] = runs.map(|runs| runs.load(Ordering::Relaxed));
        assert_eq!((first, second, letters), expected, "{code}");
        worker.shutdown(LONG).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_isolation_level_of_the_database_changes_nothing() {
    let url = format!(
        "{}?options=-c%20default_transaction_isolation%3Dserializable",
        Postgres::common().url()
    );
    let namespace = namespace();
    let builder = PostgresTransport::builder(url)
        .namespace(&namespace)
        .deadline(LONG);
    let transport = builder.connect().await.unwrap();
    let topic = command("orders.place");
    let mut members = Vec::new();
    for n in 0..4 {
        let member = join(&transport, &topic, &format!("member {n}")).await;
        members.push(tokio::spawn(async move {
            let mut came = Vec::new();
            loop {
                let got = member.receive(10, Duration::from_secs(3)).await.unwrap();
                if got.is_empty() {
                    return came;
                }
                acknowledge(&member, &got).await.unwrap();
                came.extend(bodies(&got));
            }
        }));
    }
    for from in (0..400).step_by(20) {
        let some = (from..from + 20).map(|n| keyed(&format!("key {}", n % 16), n));
        append(&transport, &topic, some).await.unwrap();
    }
    let mut came = Vec::new();
    for member in members {
        came.extend(member.await.unwrap());
    }
    let mut came: Vec<usize> = came.iter().map(|body| body.parse().unwrap()).collect();
    came.sort_unstable();
    assert!(came.iter().copied().eq(0..400), "{} came", came.len());
}

#[tokio::test]
async fn the_records_of_two_groups_are_removed_when_both_have_settled_them() {
    let (namespace, transport) = fresh().await;
    let topic = event("orders.placed");
    let group = async |name: &'static str| {
        let subscription = Subscription::new(topic.clone(), name, name);
        transport.consume(subscription).await.unwrap()
    };
    let (mail, stock) = (group("mail").await, group("stock").await);
    for n in 0..20 {
        append(&transport, &topic, (0..10).map(|m| record(10 * n + m)))
            .await
            .unwrap();
        let settle = async |member: &SqlConsumer<_>| {
            let got = member.receive(10, LONG).await.unwrap();
            acknowledge(member, &got).await.unwrap();
        };
        tokio::join!(settle(&mail), settle(&stock));
    }
    let left = format!("select count(*) from {namespace}.record");
    let left: i64 = sqlx::query_scalar(AssertSqlSafe(left))
        .fetch_one(&pool().await)
        .await
        .unwrap();
    assert_eq!(left, 0, "records that both groups have settled");
}
