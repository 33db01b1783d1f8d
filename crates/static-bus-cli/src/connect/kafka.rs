//! Kafka.

use static_bus_kafka::{KafkaTransport, Sasl, Tls};

use crate::{
    args::{Connection, Mechanism},
    failure::Failure,
};

pub async fn connect(
    connection: &Connection,
    namespace: &str,
    servers: String,
    user: Option<(String, String)>,
) -> Result<KafkaTransport, Failure> {
    let mut builder = KafkaTransport::builder(servers)
        .namespace(namespace)
        .deadline(connection.timeout);
    if connection.tls || connection.tls_ca.is_some() || connection.tls_key.is_some() {
        builder = builder.tls(Tls {
            ca: connection.tls_ca.clone(),
            certificate: connection.tls_certificate.clone(),
            key: connection.tls_key.clone(),
            ..Tls::default()
        });
    }
    if let Some((user, password)) = user {
        builder = builder.sasl(match connection.sasl {
            Mechanism::Plain => Sasl::Plain { user, password },
            Mechanism::ScramSha256 => Sasl::ScramSha256 { user, password },
            Mechanism::ScramSha512 => Sasl::ScramSha512 { user, password },
        });
    }
    Ok(builder.connect().await?)
}
