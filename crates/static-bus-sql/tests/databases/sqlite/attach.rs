//! A connection of a tool, which changes nothing.

use std::fs;

use static_bus_remote::{
    TransportError, TransportErrorKind,
    transport::{Consumer as _, Inspect as _},
};
use static_bus_sql::SqliteTransport;

use super::place::Place;
use super::support::{LONG, append, bodies, command, join, record};

async fn attach(place: &Place) -> Result<SqliteTransport, TransportError> {
    SqliteTransport::builder(place.url())
        .deadline(LONG)
        .attach()
        .await
}

/// The text of a refusal, without the address.
async fn refusal(place: &Place) -> String {
    let error = attach(place).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Refused);
    let text = error.to_string();
    let reason = text.strip_prefix(&format!("{}: ", place.url()));
    reason.expect("the file is named").to_owned()
}

#[tokio::test]
async fn a_tool_sees_and_changes_what_services_store() {
    let place = Place::new();
    let service = place.connect().await;
    let orders = command("orders.place");
    append(&service, &orders, [record("1")]).await.unwrap();
    let tool = attach(&place).await.unwrap();
    let topics = tool.topics().await.unwrap();
    assert_eq!(topics, std::slice::from_ref(&orders));
    assert_eq!(tool.inspect(&topics).await.unwrap()[0].stored, 1);
    append(&tool, &orders, [record("2")]).await.unwrap();
    let member = join(&service, &orders, "member").await;
    let got = member.receive(10, LONG).await.unwrap();
    assert_eq!(bodies(&got), ["1", "2"]);
}

#[tokio::test]
async fn a_tool_makes_no_file() {
    let place = Place::new();
    let expected = "there is no such file: correct the path, or start a service, which makes it";
    assert_eq!(refusal(&place).await, expected);
    assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_tool_makes_no_tables_in_the_database_of_another_program() {
    let place = Place::new();
    let create = "pragma journal_mode = delete; create table orders (id integer)";
    let url = format!("{}?mode=rwc", place.url());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::raw_sql(create).execute(&pool).await.unwrap();
    pool.close().await;
    let before = fs::read(place.path()).unwrap();
    let expected = "there are no tables of the namespace `static_bus`: correct the namespace, or start a service, which makes \
                    them";
    assert_eq!(refusal(&place).await, expected);
    assert_eq!(fs::read(place.path()).unwrap(), before);
    assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn tables_of_another_version_stay_as_they_are() {
    let place = Place::new();
    drop(place.connect().await);
    let pool = place.pool().await;
    let known: i64 = sqlx::query_scalar("select max(version) from static_bus_schema_version")
        .fetch_one(&pool)
        .await
        .unwrap();
    let remove = "delete from static_bus_schema_version where version > 1";
    sqlx::query(remove).execute(&pool).await.unwrap();
    let expected = format!(
        "the tables of the namespace `static_bus` have version 1, and this version of static-bus-sql needs version {known}: a \
         service with this version brings them up to date when it connects"
    );
    assert_eq!(refusal(&place).await, expected);
    let newer = "insert into static_bus_schema_version (version) values (70)";
    sqlx::query(newer).execute(&pool).await.unwrap();
    let expected = format!(
        "the tables of the namespace `static_bus` have version 70, and this version of static-bus-sql knows versions up to \
         {known}: upgrade static-bus-sql, or choose another namespace"
    );
    assert_eq!(refusal(&place).await, expected);
    let versions: Vec<i64> = sqlx::query_scalar("select version from static_bus_schema_version")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(versions, [1, 70]);
}
