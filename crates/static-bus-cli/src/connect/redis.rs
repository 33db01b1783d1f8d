//! Redis.

use std::{
    env::{self, VarError},
    fs,
};

use static_bus_redis::RedisTransport;
use static_bus_remote::TransportErrorKind;

use crate::{args::Connection, failure::Failure};

/// The environment variable with the password of the Sentinels. There is no argument for it, which other users of the
/// machine would see.
const SENTINEL_PASSWORD: &str = "STATIC_BUS_SENTINEL_PASSWORD";

pub async fn connect(
    connection: &Connection,
    namespace: &str,
    url: &str,
) -> Result<RedisTransport, Failure> {
    let only_kafka = connection.tls || connection.tls_key.is_some();
    if only_kafka {
        return Err(Failure::Usage(
            "--tls, --tls-certificate and --tls-key are for Kafka: the URL of a Redis with TLS begins with rediss://"
                .to_owned(),
        ));
    }
    let mut builder = RedisTransport::builder(url)
        .namespace(namespace)
        .deadline(connection.timeout);
    if let Some(path) = &connection.tls_ca {
        let pem = fs::read(path).map_err(|e| {
            let path = path.display();
            Failure::Usage(format!("--tls-ca {path} cannot be read: {e}"))
        })?;
        builder = builder.root_certificate(pem);
    }
    match env::var(SENTINEL_PASSWORD) {
        Ok(password) => builder = builder.sentinel_password(password),
        Err(VarError::NotPresent) => {}
        Err(VarError::NotUnicode(_)) => {
            return Err(Failure::Usage(format!("{SENTINEL_PASSWORD} is not UTF-8")));
        }
    }
    match builder.connect().await {
        Err(e) if e.kind() == TransportErrorKind::Unauthorized && url.contains("+sentinel://") => {
            Err(Failure::Incomplete(format!(
                "{e}; the password of the Sentinels themselves is in {SENTINEL_PASSWORD}"
            )))
        }
        connected => Ok(connected?),
    }
}
