//! TLS.

use static_bus_remote::{Transport as _, TransportErrorKind};
use static_bus_sql::PostgresTransport;
use test_brokers::postgres::{Postgres, PostgresOptions};

fn secure() -> Postgres {
    Postgres::with(PostgresOptions {
        tls: true,
        ..PostgresOptions::default()
    })
}

#[tokio::test]
async fn with_the_certificate_authority_the_connection_is_encrypted_and_others_are_refused() {
    let postgres = secure();
    let url = format!(
        "{}?sslmode=verify-full",
        postgres.url_at("localhost", postgres.port())
    );
    let trusted = format!("{url}&sslrootcert={}", postgres.ca().display());
    let transport = PostgresTransport::connect(&trusted).await.unwrap();
    transport.check().await.unwrap();
    let encrypted = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) \
         where ssl and datname = 'postgres' and pid <> pg_backend_pid()";
    let pool = sqlx::PgPool::connect(&postgres.url()).await.unwrap();
    let encrypted: i64 = sqlx::query_scalar(encrypted)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(encrypted > 0, "no connection is encrypted");

    let error = PostgresTransport::connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unreachable);
    let remedy = "check that the server speaks TLS, and that its certificate is valid for this host and trusted by this machine";
    assert!(error.reason().ends_with(remedy), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let url = format!("{}?sslmode=require", Postgres::common().url());
    let error = PostgresTransport::connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unreachable);
    let expected = "error occurred while attempting to establish a TLS connection: server does not support TLS: check that the \
                    server speaks TLS, and that its certificate is valid for this host and trusted by this machine";
    assert_eq!(error.reason(), expected);
}
