//! Readers that wait are woken by notifications, or find new records at their interval.

use std::time::{Duration, Instant};

use static_bus_remote::transport::{Consumer, Topic};
use static_bus_sql::PostgresTransport;
use test_brokers::postgres::Postgres;

use super::{
    again, namespace, pool,
    support::{LONG, acknowledge, append, bodies, command, join, record},
    through_a_tunnel,
};

/// Longer than each test.
const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_connection_wakes_a_member_by_a_notification() {
    let namespace = namespace();
    let builder = PostgresTransport::builder(Postgres::common().url()).namespace(&namespace);
    let here = builder.clone().poll(NEVER).connect().await.unwrap();
    let there = builder.connect().await.unwrap();
    let topic = command("orders.place");
    let member = join(&here, &topic, "member").await;
    for _ in 0..3 {
        receive_when_appended(&member, LONG, &there, &topic, Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_come_again_when_their_connection_was_lost() {
    let namespace = namespace();
    let builder = PostgresTransport::builder(Postgres::common().url()).namespace(&namespace);
    // The listener connects again by itself. The interval is longer than the test waits.
    let here = builder.clone().poll(NEVER).connect().await.unwrap();
    let there = builder.connect().await.unwrap();
    let topic = command("orders.place");
    let member = join(&here, &topic, "member").await;
    let end = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where query = 'LISTEN \"{namespace}\"'"
    );
    let ended = sqlx::raw_sql(sqlx::AssertSqlSafe(end))
        .fetch_all(&pool().await)
        .await
        .unwrap();
    assert!(!ended.is_empty(), "connections that listen");
    append(&there, &topic, [record("lost or not")])
        .await
        .unwrap();
    let got = member.receive(1, LONG).await.unwrap();
    assert_eq!(bodies(&got), ["lost or not"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_come_again_when_their_connection_never_answers() {
    let namespace = namespace();
    let (builder, tunnel) = through_a_tunnel(&namespace);
    let builder = builder.poll(NEVER).deadline(Duration::from_secs(10));
    let here = builder.connect().await.unwrap();
    let there = again(&namespace).await;
    let topic = command("orders.place");
    let member = join(&here, &topic, "member").await;
    tunnel.forget();
    let begin = Instant::now();
    // The connection of this call never answers either.
    while let Err(error) = member.receive(1, Duration::ZERO).await {
        assert!(begin.elapsed() < LONG, "{error}");
    }
    // Without a notification, the record is found when the wait is over.
    receive_when_appended(&member, 3 * LONG, &there, &topic, Duration::from_secs(1)).await;
    assert!(begin.elapsed() < 2 * LONG, "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interval_may_be_short() {
    let namespace = namespace();
    let builder = PostgresTransport::builder(Postgres::common().url()).namespace(&namespace);
    let builder = builder.notifications(false).poll(Duration::from_millis(10));
    let here = builder.clone().connect().await.unwrap();
    let there = builder.connect().await.unwrap();
    let topic = command("orders.place");
    let member = join(&here, &topic, "member").await;
    let begin = Instant::now();
    for _ in 0..200 {
        receive_when_appended(&member, LONG, &there, &topic, Duration::from_millis(20)).await;
    }
    // At half a second each, more than 90.
    assert!(begin.elapsed() < LONG, "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_notifications_records_are_found_at_the_interval() {
    let namespace = namespace();
    let builder = PostgresTransport::builder(Postgres::common().url()).namespace(&namespace);
    let here = builder
        .clone()
        .notifications(false)
        .poll(Duration::from_millis(600));
    let (here, there) = (
        here.connect().await.unwrap(),
        builder.connect().await.unwrap(),
    );
    let topic = command("orders.place");
    let member = join(&here, &topic, "member").await;
    let start = Instant::now();
    receive_when_appended(&member, LONG, &there, &topic, Duration::from_millis(300)).await;
    assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
}

/// Receives a record that another connection appends after a time, while the member waits.
async fn receive_when_appended(
    member: &impl Consumer,
    wait: Duration,
    there: &PostgresTransport,
    topic: &Topic,
    after: Duration,
) {
    let appending = async {
        tokio::time::sleep(after).await;
        append(there, topic, [record("later")]).await.unwrap();
    };
    let (got, ()) = tokio::join!(member.receive(1, wait), appending);
    let got = got.unwrap();
    assert_eq!(bodies(&got), ["later"]);
    acknowledge(member, &got).await.unwrap();
}
