//! The engine that a URL names.

use static_bus_remote::transport::TransportError;

use super::{
    args::{Cli, Connection},
    failure::Failure,
    output::Output,
};

/// The broker of a URL.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    /// The URL, as the engine takes it.
    Redis(String),
    Kafka {
        servers: String,
        user: Option<(String, String)>,
    },
}

/// Connects to the broker, and runs the command.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let Cli {
        connection,
        json,
        command,
    } = cli;
    let Some(url) = &connection.bus else {
        return Err(Failure::Usage(
            "no broker is named: set STATIC_BUS_URL, or pass --bus redis://host:port or --bus kafka://host:port"
                .to_owned(),
        ));
    };
    let output = Output::new(json);
    match Address::parse(url)? {
        Address::Redis(url) => {
            let redis = redis(&connection, &url).await?;
            super::run(redis, &connection.namespace, command, output).await
        }
        Address::Kafka { servers, user } => {
            let kafka = kafka(&connection, servers, user).await?;
            super::run(kafka, &connection.namespace, command, output).await
        }
    }
}

impl Address {
    /// The text of an error never contains the URL, which may have a password in any place.
    fn parse(url: &str) -> Result<Self, Failure> {
        match url.split_once("://") {
            Some(("redis" | "rediss" | "redis+sentinel" | "rediss+sentinel", _)) => Ok(Address::Redis(url.to_owned())),
            Some(("kafka", rest)) => {
                let rest = rest.trim_end_matches('/');
                let (user, servers) = match rest.rsplit_once('@') {
                    Some((user, servers)) => (Some(credentials(user)?), servers),
                    None => (None, rest),
                };
                let servers = servers.to_owned();
                Ok(Address::Kafka { servers, user })
            }
            _ => Err(Failure::Usage(
                "the URL of the broker begins with redis://, rediss://, redis+sentinel://, rediss+sentinel:// or kafka://".to_owned(),
            )),
        }
    }
}

/// The user and the password in `user:password`.
fn credentials(text: &str) -> Result<(String, String), Failure> {
    let decode = |text| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8()
            .ok()
    };
    let parts = text.split_once(':');
    let parts = parts.and_then(|(user, password)| Some((decode(user)?, decode(password)?)));
    match parts {
        Some((user, password)) => Ok((user.into_owned(), password.into_owned())),
        None => Err(Failure::Usage(
            "the user in the URL cannot be read: before the `@` are user and password with `:` between them, and special \
             characters percent-encoded"
                .to_owned(),
        )),
    }
}

#[cfg(feature = "redis")]
async fn redis(
    connection: &Connection,
    url: &str,
) -> Result<static_bus_redis::RedisTransport, Failure> {
    let only_kafka = connection.tls || connection.tls_key.is_some();
    if only_kafka {
        return Err(Failure::Usage(
            "--tls, --tls-certificate and --tls-key are for Kafka: the URL of a Redis with TLS begins with rediss://"
                .to_owned(),
        ));
    }
    let mut builder = static_bus_redis::RedisTransport::builder(url)
        .namespace(&connection.namespace)
        .deadline(connection.timeout);
    if let Some(path) = &connection.tls_ca {
        let pem = std::fs::read(path).map_err(|e| {
            let path = path.display();
            Failure::Usage(format!("--tls-ca {path} cannot be read: {e}"))
        })?;
        builder = builder.root_certificate(pem);
    }
    connected(builder.connect().await)
}

#[cfg(not(feature = "redis"))]
async fn redis(_: &Connection, _: &str) -> Result<static_bus_kafka::KafkaTransport, Failure> {
    Err(Failure::Usage(
        "this tool was built without Redis: cargo install static-bus-cli --features redis"
            .to_owned(),
    ))
}

#[cfg(feature = "kafka")]
async fn kafka(
    connection: &Connection,
    servers: String,
    user: Option<(String, String)>,
) -> Result<static_bus_kafka::KafkaTransport, Failure> {
    use static_bus_kafka::{Sasl, Tls};

    use super::args::Mechanism;

    let mut builder = static_bus_kafka::KafkaTransport::builder(servers)
        .namespace(&connection.namespace)
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
    connected(builder.connect().await)
}

#[cfg(not(feature = "kafka"))]
async fn kafka(
    _: &Connection,
    _: String,
    _: Option<(String, String)>,
) -> Result<static_bus_redis::RedisTransport, Failure> {
    Err(Failure::Usage(
        "this tool was built without Kafka: cargo install static-bus-cli --features kafka"
            .to_owned(),
    ))
}

fn connected<T>(result: Result<T, TransportError>) -> Result<T, Failure> {
    Ok(result?)
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn the_scheme_selects_the_engine() {
        let redis = Address::parse("rediss://:pw@host:1/0").unwrap();
        assert_eq!(redis, Address::Redis("rediss://:pw@host:1/0".to_owned()));
        let kafka = Address::parse("kafka://a%40b:p%3Aw@h-1:9092,h-2:9092/").unwrap();
        let expected = Address::Kafka {
            servers: "h-1:9092,h-2:9092".to_owned(),
            user: Some(("a@b".to_owned(), "p:w".to_owned())),
        };
        assert_eq!(kafka, expected);
    }

    #[test]
    fn an_invalid_url_is_refused_without_its_secrets() {
        for url in [
            "http://:secret@h",
            "secret",
            "kafka://secret@h:1",
            "kafka://a:%ffsecret@h",
        ] {
            let text = Address::parse(url).unwrap_err().to_string();
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
