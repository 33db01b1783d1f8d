//! A connection of a tool, which changes nothing.

use static_bus_remote::{TransportErrorKind, transport::Inspect as _};
use static_bus_sql::PostgresTransport;
use test_brokers::postgres::Postgres;

use super::{
    fresh, namespace, pool,
    support::{LONG, append, command, record},
};

#[tokio::test]
async fn a_tool_that_may_only_read_sees_what_services_store() {
    let (namespace, service) = fresh().await;
    let orders = command("orders.place");
    append(&service, &orders, [record("1")]).await.unwrap();
    let user = format!("reader_of_{namespace}");
    let grant = format!(
        "create user {user}; grant usage on schema {namespace} to {user}; \
         grant select on all tables in schema {namespace} to {user}"
    );
    let grant = sqlx::raw_sql(sqlx::AssertSqlSafe(grant));
    grant.execute(&pool().await).await.unwrap();

    let url = Postgres::common()
        .url()
        .replace("postgres@", &format!("{user}@"));
    let builder = PostgresTransport::builder(url).namespace(namespace);
    let tool = builder.deadline(LONG).attach().await.unwrap();
    let topics = tool.topics().await.unwrap();
    assert_eq!(topics, std::slice::from_ref(&orders));
    assert_eq!(tool.inspect(&topics).await.unwrap()[0].stored, 1);
    let error = append(&tool, &orders, [record("2")]).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unauthorized);
}

#[tokio::test]
async fn a_tool_makes_no_schema() {
    let namespace = namespace();
    let url = Postgres::common().url();
    let builder = PostgresTransport::builder(url).namespace(&namespace);
    let error = builder.deadline(LONG).attach().await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Refused);
    let expected = format!(
        "postgres://127.0.0.1:{}/postgres: there are no tables of the namespace `{namespace}`: correct the namespace, or \
         start a service, which makes them",
        Postgres::common().port()
    );
    assert_eq!(error.to_string(), expected);
    let schemas = sqlx::query_scalar("select count(*) from pg_namespace where nspname = $1");
    let schemas: i64 = schemas
        .bind(namespace)
        .fetch_one(&pool().await)
        .await
        .unwrap();
    assert_eq!(schemas, 0);
}
