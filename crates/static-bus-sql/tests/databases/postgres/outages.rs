//! A server that is away.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use static_bus::prelude::*;
use static_bus_remote::{
    MemoryBroker, RemoteBus, Transport as _, TransportErrorKind, Worker,
    transport::{Consumer as _, Topic, Transactional as _, TransportError},
};
use static_bus_sql::{PostgresTransport, transaction};
use test_brokers::postgres::Postgres;
use tokio::task::JoinSet;

use super::{
    Database,
    inbox::{Deposit, Deposited, Entries, bank, eventually},
    namespace,
    support::{LONG, acknowledge, append, bodies, command, event, join, keyed, record},
    through_a_tunnel, told,
};

const AWAY: Duration = Duration::from_secs(30);

/// The deadline of each call.
const DEADLINE: Duration = Duration::from_secs(10);

/// The longest time for a call, on a busy machine.
const IN_TIME: Duration = Duration::from_secs(40);

/// A firewall that has forgotten the connections answers nothing, and they stay open for a quarter of an hour.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_never_answer_are_given_up() {
    let namespace = namespace();
    let (builder, tunnel) = through_a_tunnel(&namespace);
    let transport = builder.deadline(DEADLINE).connect().await.unwrap();
    let topic = command("orders.place");
    let member = join(&transport, &topic, "member").await;
    for _ in 0..3 {
        for result in calls(&transport, &topic).join_all().await {
            result.unwrap();
        }
        let begun = calls(&transport, &topic);
        tunnel.forget();
        for result in begun.join_all().await {
            if let Err(error) = result {
                assert_eq!(error.kind(), TransportErrorKind::Unreachable, "{error}");
            }
        }
        let start = Instant::now();
        append(&transport, &topic, [record("after")]).await.unwrap();
        transact(&transport).await.unwrap();
        let mut came = Vec::new();
        while !came.contains(&"after".to_owned()) {
            assert!(start.elapsed() < LONG, "{came:?}");
            let got = member.receive(100, LONG).await.unwrap();
            acknowledge(&member, &got).await.unwrap();
            came.extend(bodies(&got));
        }
    }
}

/// More calls than connections, each in a task: transactions of callers and others.
fn calls(transport: &PostgresTransport, topic: &Topic) -> JoinSet<Result<(), TransportError>> {
    let mut calls = JoinSet::new();
    for n in 0..10 {
        let (transport, topic) = (transport.clone(), topic.clone());
        calls.spawn({
            let transport = transport.clone();
            async move { transact(&transport).await }
        });
        calls.spawn(async move { append(&transport, &topic, [record(n)]).await });
    }
    calls
}

/// Runs a statement in a transaction of the caller.
async fn transact(transport: &PostgresTransport) -> Result<(), TransportError> {
    let transact = transport.transact(async {
        let mut transaction = transaction::<Database>().await?;
        let failed = |error: &dyn std::error::Error| {
            TransportError::new(TransportErrorKind::Unreachable, "test", error.to_string())
        };
        // As with the timeout of a handler.
        let statement = sqlx::query("select 1").execute(&mut *transaction);
        let result = tokio::time::timeout(DEADLINE, statement).await;
        let result = result.map_err(|error| failed(&error))?;
        result.map(drop).map_err(|error| failed(&error))
    });
    transact.await?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_for_thirty_seconds_loses_nothing_confirmed() {
    let mut postgres = Postgres::start();
    let builder = PostgresTransport::builder(postgres.url()).deadline(DEADLINE);
    let transport = builder.connect().await.unwrap();
    let topic = command("orders.place");
    let member = join(&transport, &topic, "member").await;
    append(&transport, &topic, (0..10).map(record))
        .await
        .unwrap();
    let held = member.receive(5, LONG).await.unwrap();

    postgres.kill();
    let away = Instant::now();
    let (mut confirmed, mut next) = ((0..10).collect::<BTreeSet<_>>(), 10);
    while away.elapsed() < AWAY {
        let start = Instant::now();
        let error = append(&transport, &topic, [record(next)])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Unreachable, "{error}");
        assert!(start.elapsed() < IN_TIME, "{:?}", start.elapsed());
        let error = member.receive(1, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Unreachable, "{error}");
        let error = acknowledge(&member, &held).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Unreachable, "{error}");
        next += 1;
    }
    postgres.launch();

    // The first call on each connection that was lost may fail.
    let start = Instant::now();
    while let Err(error) = append(&transport, &topic, [record(next)]).await {
        assert!(start.elapsed() < LONG, "{error}");
    }
    confirmed.insert(next);
    while let Err(error) = acknowledge(&member, &held).await {
        assert!(start.elapsed() < LONG, "{error}");
    }
    let mut came: BTreeSet<_> = numbers(&bodies(&held));
    while !confirmed.is_subset(&came) {
        assert!(start.elapsed() < LONG, "{came:?} of {confirmed:?}");
        if let Ok(got) = member.receive(10, Duration::from_secs(1)).await {
            came.extend(numbers(&bodies(&got)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_and_a_relay_go_on_after_thirty_seconds_and_each_effect_is_there_once() {
    const MESSAGES: i64 = 300;
    let mut postgres = Postgres::start();
    let told = told(&postgres.url());
    let (url, namespace) = told.split_once(' ').unwrap();
    let builder = PostgresTransport::builder(url).namespace(namespace);
    let transport = builder.deadline(DEADLINE).connect().await.unwrap();
    let entries = Entries::new((), &told).await;
    let remote = RemoteBus::connect(transport.clone()).await.unwrap();
    let audit = join(&transport, &event("bank.deposited"), "audit").await;
    let bus = BusBuilder::new()
        .register_command_async::<Deposit, _>(bank(0))
        .subscribe_async::<Deposited, _>(remote.clone())
        .build();
    let worker = Worker::new(transport.clone(), bus).command::<Deposit>();
    let worker = worker.start().await.unwrap();
    let broker = MemoryBroker::new();
    let outbox = transport.clone().outbox(broker.clone());
    let relayed = join(&broker, &command("billing.pay"), "member").await;
    let relay = outbox.relay().start().await.unwrap();

    let deposits = (0..MESSAGES).map(|amount| Deposit { amount });
    remote.execute_many(deposits).await.unwrap();
    let mut transaction = entries.begin().await;
    let payments = (0..MESSAGES).map(|n| (command("billing.pay"), keyed("a", n)));
    let payments = payments.collect();
    outbox
        .append_within(&mut transaction, payments)
        .await
        .unwrap();
    eventually("the worker works", async || !entries.all().await.is_empty()).await;
    transaction.commit().await.unwrap();

    postgres.kill();
    let away = Instant::now();
    let names_the_outage = |reasons: &[String]| {
        let mut reasons = reasons.iter();
        reasons.any(|it| it.starts_with(transport.address()) && it.contains("the database"))
    };
    eventually("the worker names the outage", async || {
        let health = worker.health().await;
        assert!(health.live);
        !health.ready && names_the_outage(&health.reasons)
    })
    .await;
    eventually("the relay names the outage", async || {
        let health = relay.health().await;
        assert!(health.live);
        !health.ready && names_the_outage(&health.reasons)
    })
    .await;
    tokio::time::sleep(AWAY.saturating_sub(away.elapsed())).await;
    postgres.launch();

    let all: Vec<_> = (0..MESSAGES).collect();
    eventually("all are handled", async || {
        entries.all().await.len() >= all.len()
    })
    .await;
    let mut came = BTreeSet::new();
    while came.len() < all.len() {
        assert!(away.elapsed() < AWAY + LONG, "{came:?}");
        let got = relayed.receive(1000, Duration::from_secs(1)).await.unwrap();
        acknowledge(&relayed, &got).await.unwrap();
        came.extend(numbers(&bodies(&got)));
    }
    eventually("both are well", async || {
        worker.health().await.ready && relay.health().await.ready
    })
    .await;
    worker.shutdown(LONG).await;
    relay.shutdown().await.unwrap();
    assert_eq!(entries.all().await, all);
    let events = audit.backlog().await.unwrap();
    assert_eq!(events.lag + events.pending, all.len() as u64, "events");
}

fn numbers(bodies: &[String]) -> BTreeSet<usize> {
    bodies.iter().map(|body| body.parse().unwrap()).collect()
}
