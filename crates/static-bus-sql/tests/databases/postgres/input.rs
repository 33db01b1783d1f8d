//! Wrong input and missing rights: errors that name the thing and the remedy.

use std::time::Duration;

use static_bus_remote::{Transport as _, TransportErrorKind, transport::Consumer as _};
use static_bus_sql::PostgresTransport;
use test_brokers::postgres::{Postgres, PostgresOptions};

use super::{
    namespace, pool,
    support::{LONG, acknowledge, append, bodies, command, join, keyed, record},
};

async fn refusal(url: &str) -> (TransportErrorKind, String) {
    let builder = PostgresTransport::builder(url).deadline(LONG);
    let error = builder.connect().await.unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn a_url_of_another_scheme_is_refused_and_not_shown() {
    let (kind, text) = refusal("mysql://shop:secret@localhost/shop").await;
    assert_eq!(kind, TransportErrorKind::Refused);
    let expected = "postgres: the URL is postgres://user:password@host:port/database, with special characters of user and \
                    password percent-encoded";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_url_that_cannot_be_read_is_refused_without_its_password() {
    for url in [
        "postgres://shop:secret@host:port/shop",
        "postgres://shop:secret@host/shop?sslmode=perhaps",
    ] {
        let (kind, text) = refusal(url).await;
        assert_eq!(kind, TransportErrorKind::Refused, "{url}: {text}");
        assert!(text.ends_with(": correct the URL"), "{url}: {text}");
        assert!(!text.contains("secret"), "{url}: {text}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_run_is_named_with_the_remedy() {
    let (kind, text) = refusal("postgres://shop:secret@127.0.0.1:1/shop").await;
    assert_eq!(kind, TransportErrorKind::Unreachable);
    let expected = "postgres://127.0.0.1:1/shop: error communicating with database: Connection refused (os error 111): start \
                    the database, or correct the host and port of the URL";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_missing_database_is_named_with_the_remedy() {
    let port = Postgres::common().port();
    let (kind, text) = refusal(&format!("postgres://postgres@127.0.0.1:{port}/shop")).await;
    assert_eq!(kind, TransportErrorKind::Refused);
    let expected = format!(
        "postgres://127.0.0.1:{port}/shop: database \"shop\" does not exist: create the database, or correct its name in the URL"
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_wrong_password_is_named_with_the_remedy_and_not_shown() {
    let postgres = Postgres::with(PostgresOptions {
        password: Some("correct".to_owned()),
        ..PostgresOptions::default()
    });
    let builder = PostgresTransport::builder(postgres.url()).deadline(LONG);
    assert!(!format!("{builder:?}").contains("correct"));
    let transport = builder.connect().await.unwrap();
    assert!(!format!("{transport:?}").contains("correct"));

    let (kind, text) = refusal(&postgres.url().replace("correct", "wrong")).await;
    assert_eq!(kind, TransportErrorKind::Unauthorized);
    let expected = format!(
        "postgres://127.0.0.1:{}/postgres: password authentication failed for user \"postgres\": correct user and password of \
         the URL, or the server's pg_hba.conf",
        postgres.port()
    );
    assert_eq!(text, expected);
}

const RIGHTS: &str = "grant the user of the URL the right: CREATE on the database for the first start, then USAGE on the schema, \
     and SELECT, INSERT, UPDATE and DELETE on its tables. Tables of an older version are changed by the user that owns them";

#[tokio::test]
async fn a_user_without_rights_is_refused_and_one_with_those_of_the_text_is_not() {
    let (pool, namespace) = (pool().await, namespace());
    let user = format!("user_of_{namespace}");
    let run = async |statement: String| {
        let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
        statement.execute(&pool).await.unwrap();
    };
    run(format!("create role {user} login")).await;
    let url = Postgres::common()
        .url()
        .replace("//postgres@", &format!("//{user}@"));
    let connect = || {
        PostgresTransport::builder(&url)
            .namespace(&namespace)
            .deadline(LONG)
            .connect()
    };

    let error = connect().await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unauthorized);
    let expected = format!("permission denied for database postgres: {RIGHTS}");
    assert_eq!(error.reason(), expected);

    let owner = PostgresTransport::builder(Postgres::common().url());
    drop(owner.namespace(&namespace).connect().await.unwrap());
    let error = connect().await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unauthorized);
    assert!(error.reason().ends_with(RIGHTS), "{error}");

    run(format!("grant usage on schema {namespace} to {user}")).await;
    run(format!(
        "grant select, insert, update, delete on all tables in schema {namespace} to {user}"
    ))
    .await;
    let transport = connect().await.unwrap();
    let topic = command("orders.place");
    append(&transport, &topic, [record(1), keyed("key", 2)])
        .await
        .unwrap();
    let member = join(&transport, &topic, "member").await;
    let got = member.receive(2, LONG).await.unwrap();
    acknowledge(&member, &got).await.unwrap();
    member.close().await.unwrap();

    run(format!(
        "delete from {namespace}.schema_version where version > 1"
    ))
    .await;
    let error = connect().await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unauthorized);
    assert!(error.reason().ends_with(RIGHTS), "{error}");
}

#[tokio::test]
async fn a_read_only_database_is_named_with_the_remedy() {
    let url = format!(
        "{}?options=-c%20default_transaction_read_only%3Don",
        Postgres::common().url()
    );
    let builder = PostgresTransport::builder(url).namespace(namespace());
    let error = builder.connect().await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unreachable);
    let expected = "cannot execute CREATE SCHEMA in a read-only transaction: this is a replica, or read-only: the URL must name the \
                    primary";
    assert_eq!(error.reason(), expected);
}

#[tokio::test]
async fn a_server_with_too_few_connections_is_named_with_the_remedy() {
    let postgres = Postgres::with(PostgresOptions {
        settings: [
            "max_connections=4",
            "superuser_reserved_connections=0",
            "max_wal_senders=0",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..PostgresOptions::default()
    });
    let mut taken = Vec::new();
    for _ in 0..4 {
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1);
        taken.push(pool.connect(&postgres.url()).await.unwrap());
    }
    let (kind, text) = refusal(&postgres.url()).await;
    assert_eq!(kind, TransportErrorKind::Unreachable);
    let expected = format!(
        "postgres://127.0.0.1:{}/postgres: sorry, too many clients already: raise `max_connections` of the server, or lower \
         `connections`",
        postgres.port()
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn functions_of_an_older_version_are_replaced() {
    let (namespace, transport) = super::fresh().await;
    transport.check().await.unwrap();
    let older = format!(
        "delete from {namespace}.schema_version where version > 6; \
         create or replace function {namespace}.append(kinds text[], names text[], places bigint[], strands bigint[], \
         keys bytea[], headers bytea[], bodies bytea[], expires bigint[], dropped bigint[], is_durable bigint, \
         deadline bigint) returns setof bigint language plpgsql as $$ begin raise 'older'; end $$"
    );
    let older = sqlx::raw_sql(sqlx::AssertSqlSafe(older));
    older.execute(&pool().await).await.unwrap();
    let commands = command("orders.place");
    let refused = append(&transport, &commands, [record("first")]).await;
    assert!(refused.unwrap_err().to_string().contains("older"));
    let builder = PostgresTransport::builder(Postgres::common().url()).namespace(&namespace);
    let transport = builder.deadline(LONG).connect().await.unwrap();
    append(&transport, &commands, [record("second")])
        .await
        .unwrap();
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused_by_name() {
    let (namespace, transport) = super::fresh().await;
    transport.check().await.unwrap();
    let newer = format!("insert into {namespace}.schema_version (version) values (10)");
    sqlx::raw_sql(sqlx::AssertSqlSafe(newer))
        .execute(&pool().await)
        .await
        .unwrap();
    let builder = PostgresTransport::builder(Postgres::common().url()).namespace(&namespace);
    let error = builder
        .deadline(Duration::from_secs(30))
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Refused);
    let expected = format!(
        "the tables of the namespace `{namespace}` have version 10, and this version of static-bus-sql knows versions up to 9: \
         upgrade static-bus-sql, or choose another namespace"
    );
    assert_eq!(error.reason(), expected);
}

#[tokio::test]
async fn a_full_disk_is_named_with_the_remedy_and_loses_nothing_confirmed() {
    // The last page that fits is written in part.
    let mut postgres = Postgres::with(PostgresOptions {
        largest_file: Some((4 << 20) + 512),
        ..PostgresOptions::default()
    });
    let connect = async |url: String| {
        let builder = PostgresTransport::builder(url).deadline(LONG);
        builder.connect().await.unwrap()
    };
    let transport = connect(postgres.url()).await;
    let topic = command("orders.place");
    let mut confirmed = Vec::new();
    let error = loop {
        // The server compresses what it can.
        let noise: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(100_000)
            .collect();
        let body = format!("{} {noise}", confirmed.len());
        match append(&transport, &topic, [record(&body)]).await {
            Ok(()) => confirmed.push(body),
            Err(error) => break error,
        }
        assert!(confirmed.len() < 100, "files cannot grow");
    };
    assert_eq!(error.kind(), TransportErrorKind::Unreachable);
    let reason = error.reason();
    assert!(
        reason.starts_with("could not extend file \"base/"),
        "{reason}"
    );
    assert!(
        reason.ends_with(": make room on the disk of the server"),
        "{reason}"
    );
    assert!(!confirmed.is_empty());

    postgres.restart_with_room();
    let transport = connect(postgres.url()).await;
    append(&transport, &topic, [record("later")]).await.unwrap();
    confirmed.push("later".to_owned());
    let member = join(&transport, &topic, "member").await;
    let mut came = Vec::new();
    while came.len() < confirmed.len() {
        let got = member.receive(1000, LONG).await.unwrap();
        assert!(!got.is_empty(), "{} of {}", came.len(), confirmed.len());
        acknowledge(&member, &got).await.unwrap();
        came.extend(bodies(&got));
    }
    assert!(came == confirmed, "what was confirmed, and no more");
}

#[tokio::test]
async fn the_longest_deadline_is_accepted() {
    let builder = PostgresTransport::builder(Postgres::common().url()).namespace(namespace());
    let transport = builder.deadline(Duration::MAX).connect().await.unwrap();
    let topic = command("orders.place");
    let member = join(&transport, &topic, "member").await;
    append(&transport, &topic, [record(1)]).await.unwrap();
    let got = member.receive(1, LONG).await.unwrap();
    assert_eq!(bodies(&got), ["1"]);
}
