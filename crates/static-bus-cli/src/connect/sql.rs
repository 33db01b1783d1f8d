//! Databases. The tool makes neither files nor tables.

use crate::{args::Connection, failure::Failure};

#[cfg(feature = "sqlite")]
pub async fn sqlite(
    connection: &Connection,
    namespace: &str,
    url: String,
) -> Result<static_bus_sql::SqliteTransport, Failure> {
    refuse_tls(
        connection,
        "for servers: a file of SQLite has no connection to encrypt",
    )?;
    let builder = static_bus_sql::SqliteTransport::builder(url);
    let builder = builder.namespace(namespace).deadline(connection.timeout);
    Ok(builder.attach().await?)
}

#[cfg(feature = "postgres")]
pub async fn postgres(
    connection: &Connection,
    namespace: &str,
    url: String,
) -> Result<static_bus_sql::PostgresTransport, Failure> {
    refuse_tls(
        connection,
        "for Kafka and Redis: the URL of a PostgreSQL with TLS ends with ?sslmode=verify-full, then &sslrootcert=FILE, \
         &sslcert=FILE and &sslkey=FILE as needed",
    )?;
    let builder = static_bus_sql::PostgresTransport::builder(url);
    let builder = builder.namespace(namespace).deadline(connection.timeout);
    Ok(builder.attach().await?)
}

/// # Errors
/// If the command line has one of the settings of TLS.
fn refuse_tls(connection: &Connection, purpose: &str) -> Result<(), Failure> {
    let Connection {
        tls,
        tls_ca,
        tls_key,
        ..
    } = connection;
    if !tls && tls_ca.is_none() && tls_key.is_none() {
        return Ok(());
    }
    let options = "--tls, --tls-ca, --tls-certificate and --tls-key";
    Err(Failure::Usage(format!("{options} are {purpose}")))
}
