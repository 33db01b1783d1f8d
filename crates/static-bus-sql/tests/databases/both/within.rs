//! Sending in a transaction: a message exists if and only if the transaction that sent it commits.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use static_bus::{asynchronous::BusError, prelude::*};
use static_bus_remote::{RemoteBus, Transport, TransportErrorKind, transport::Consumer};

use super::{
    begin, fresh, orders,
    support::{LONG, acknowledge, bodies, command, event, join},
};

#[derive(Serialize, Deserialize)]
struct PlaceOrder {
    shop: u32,
    order: i64,
}
command!(PlaceOrder, name = "orders.place", key = shop);

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order: i64,
}
event!(OrderPlaced, name = "orders.placed");

/// A module that does not know whether its bus is that of a transaction.
async fn place<B>(order: i64, bus: &B) -> Result<(), BusError>
where
    B: AsyncExecuteCommand<PlaceOrder> + AsyncPublishEvent<OrderPlaced>,
{
    bus.execute_async(PlaceOrder { shop: 7, order }).await?;
    bus.publish_async(&OrderPlaced { order }).await
}

async fn numbers<C: Consumer>(consumer: &C, number: usize) -> Vec<i64> {
    let mut came = Vec::new();
    while came.len() < number {
        let got = consumer.receive(100, LONG).await.unwrap();
        assert!(!got.is_empty(), "{came:?} of {number}");
        acknowledge(consumer, &got).await.unwrap();
        came.extend(bodies(&got));
    }
    let more = consumer
        .receive(100, Duration::from_millis(800))
        .await
        .unwrap();
    assert!(more.is_empty(), "{:?}", bodies(&more));
    let order = |body: &String| {
        let message: serde_json::Value = serde_json::from_str(body).unwrap();
        message["order"].as_i64().unwrap()
    };
    came.iter().map(order).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_exists_if_and_only_if_its_transaction_commits() {
    let (at, transport) = fresh().await;
    let remote = RemoteBus::connect(transport.clone()).await.unwrap();
    let commands = join(&transport, &command("orders.place"), "commands").await;
    let events = join(&transport, &event("orders.placed"), "events").await;
    let table = orders(&at);
    let statement = |text: String| sqlx::raw_sql(AssertSqlSafe(text));
    let mut transaction = begin(&at).await;
    let create = format!("create table {table} (id bigint primary key)");
    statement(create).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();

    for order in 0..20 {
        let mut transaction = begin(&at).await;
        let insert = format!("insert into {table} (id) values ({order})");
        statement(insert).execute(&mut *transaction).await.unwrap();
        place(order, &remote.within(&mut transaction))
            .await
            .unwrap();
        match order % 3 {
            0 => transaction.commit().await.unwrap(),
            1 => transaction.rollback().await.unwrap(),
            _ => drop(transaction),
        }
    }
    let committed: Vec<i64> = (0..20).step_by(3).collect();
    assert_eq!(numbers(&commands, committed.len()).await, committed);
    assert_eq!(numbers(&events, committed.len()).await, committed);
    let mut transaction = begin(&at).await;
    let rows = sqlx::query_scalar(AssertSqlSafe(format!("select id from {table} order by id")));
    let rows: Vec<i64> = rows.fetch_all(&mut *transaction).await.unwrap();
    assert_eq!(rows, committed, "the rows of the same transactions");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_not_received_before_its_transaction_commits() {
    let (at, transport) = fresh().await;
    let remote = RemoteBus::connect(transport.clone()).await.unwrap();
    let commands = join(&transport, &command("orders.place"), "commands").await;
    let mut transaction = begin(&at).await;
    place(1, &remote.within(&mut transaction)).await.unwrap();
    let early = commands.receive(10, Duration::from_secs(1)).await.unwrap();
    assert!(early.is_empty(), "{:?}", bodies(&early));
    let commit = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        transaction.commit().await.unwrap();
    };
    let (got, ()) = tokio::join!(commands.receive(10, LONG), commit);
    assert_eq!(bodies(&got.unwrap()), [r#"{"shop":7,"order":1}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_needs_no_change_to_send_in_a_transaction() {
    let (at, transport) = fresh().await;
    let remote = RemoteBus::connect(transport.clone()).await.unwrap();
    place(1, &remote).await.unwrap();
    let mut transaction = begin(&at).await;
    place(
        2,
        &remote.with_idempotency_key("two").within(&mut transaction),
    )
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    let commands = join(&transport, &command("orders.place"), "commands").await;
    assert_eq!(numbers(&commands, 2).await, [1, 2], "in order, of one key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_above_the_limit_is_refused_and_its_transaction_goes_on() {
    let (at, transport) = fresh().await;
    #[derive(Serialize)]
    struct Large(String);
    command!(Large, name = "orders.large");
    let remote = RemoteBus::connect(transport.clone()).await.unwrap();
    let mut transaction = begin(&at).await;
    let bus = remote.within(&mut transaction);
    let error = bus
        .execute_async(Large("x".repeat(65 << 20)))
        .await
        .unwrap_err();
    let BusError::Transport { source, .. } = error else {
        panic!("{error}");
    };
    let source = source
        .downcast_ref::<static_bus_remote::TransportError>()
        .unwrap();
    assert_eq!(source.kind(), TransportErrorKind::TooLarge);
    place(1, &bus).await.unwrap();
    drop(bus);
    transaction.commit().await.unwrap();
    let commands = join(&transport, &command("orders.place"), "commands").await;
    assert_eq!(numbers(&commands, 1).await, [1]);
    transport.check().await.unwrap();
}
