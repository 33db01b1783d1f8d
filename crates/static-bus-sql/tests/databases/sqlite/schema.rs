//! The tables, their versions and their namespaces.

use std::time::Duration;

use static_bus_remote::{
    DeadLetters, TransportErrorKind,
    transport::{Consumer, Kind, Record},
};
use static_bus_sql::SqliteTransport;

use super::place::Place;
use super::support::{LONG, append, bodies, command, join, record, topic};

#[tokio::test]
async fn tables_of_a_newer_version_are_refused_by_name() {
    let place = Place::new();
    drop(place.connect().await);
    let newer = "insert into static_bus_schema_version (version) values (10)";
    sqlx::query(newer)
        .execute(&place.pool().await)
        .await
        .unwrap();
    let error = SqliteTransport::connect(&place.url()).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Refused);
    let expected = format!(
        "{}: the tables of the namespace `static_bus` have version 10, and this version of static-bus-sql knows versions up to 9: \
         upgrade static-bus-sql, or choose another namespace",
        place.url()
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn two_namespaces_of_one_file_share_nothing() {
    let place = Place::new();
    let topic = command("orders.place");
    let shop = SqliteTransport::builder(place.url())
        .namespace("shop")
        .connect()
        .await
        .unwrap();
    let other = SqliteTransport::builder(place.url())
        .namespace("other")
        .connect()
        .await
        .unwrap();
    append(&shop, &topic, [record("shop")]).await.unwrap();
    let member = join(&other, &topic, "member").await;
    let got = member
        .receive(10, Duration::from_millis(300))
        .await
        .unwrap();
    assert!(got.is_empty(), "{:?}", bodies(&got));
}

#[tokio::test]
async fn a_delivery_whose_record_is_gone_is_removed_and_the_others_come() {
    let place = Place::new();
    let transport = place.connect().await;
    let commands = command("orders.place");
    let member = join(&transport, &commands, "member").await;
    append(&transport, &commands, [record("gone"), record("there")])
        .await
        .unwrap();
    let pool = place.pool().await;
    let removed = sqlx::query("delete from static_bus_record where body = cast('gone' as blob)");
    assert_eq!(removed.execute(&pool).await.unwrap().rows_affected(), 1);
    assert_eq!(bodies(&member.receive(10, LONG).await.unwrap()), ["there"]);
    let left = sqlx::query_scalar("select count(*) from static_bus_delivery");
    let left: i64 = left.fetch_one(&pool).await.unwrap();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn dead_letters_can_be_searched_with_sql() {
    let place = Place::new();
    let transport = place.connect().await;
    let dead = topic(Kind::DeadLetter, "");
    let letter = |origin: &str, error: &str| Record {
        headers: [("origin", origin), ("group", "mail"), ("error", error)]
            .into_iter()
            .collect(),
        ..Record::default()
    };
    let letters = [
        letter("event orders.placed", "no address"),
        letter("event orders.placed", "no\0stock"),
        letter("command orders.place", "no stock"),
    ];
    append(&transport, &dead, letters).await.unwrap();
    let search = "select id from static_bus_dead_letter where origin = 'event orders.placed' and error like '%stock%'";
    let found: Vec<i64> = sqlx::query_scalar(search)
        .fetch_all(&place.pool().await)
        .await
        .unwrap();
    assert_eq!(found, [2]);
    let listed = DeadLetters::of(transport).list(None, 10).await.unwrap();
    assert_eq!(listed.len(), 3);
}
