//! The engine that a URL names.

#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;

use super::{args::Cli, failure::Failure, output::Output};

/// The broker of a URL.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    /// The URL, as the engine takes it.
    Redis(String),
    Kafka {
        servers: String,
        user: Option<(String, String)>,
    },
    /// The URL, as the engine takes it.
    Sqlite(String),
    /// The URL, as the engine takes it.
    Postgres(String),
}

/// Connects to the broker, and runs the command.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let Cli {
        mut connection,
        json,
        command,
    } = cli;
    let Some(url) = &connection.bus else {
        return Err(Failure::Usage(
            "no broker is named: set STATIC_BUS_URL, or pass --bus redis://host:port, --bus kafka://host:port, \
             --bus sqlite:path or --bus postgres://host:port/database"
                .to_owned(),
        ));
    };
    let output = Output::new(json);
    let address = Address::parse(url)?;
    let namespace = connection.namespace.take();
    let namespace = &namespace.unwrap_or_else(|| address.namespace().to_owned());
    match address {
        #[cfg(feature = "redis")]
        Address::Redis(url) => {
            let redis = redis::connect(&connection, namespace, &url).await?;
            super::run(redis, namespace, command, output).await
        }
        #[cfg(not(feature = "redis"))]
        Address::Redis(_) => Err(built_without("Redis", "redis")),
        #[cfg(feature = "kafka")]
        Address::Kafka { servers, user } => {
            let kafka = kafka::connect(&connection, namespace, servers, user).await?;
            super::run(kafka, namespace, command, output).await
        }
        #[cfg(not(feature = "kafka"))]
        Address::Kafka { .. } => Err(built_without("Kafka", "kafka")),
        #[cfg(feature = "sqlite")]
        Address::Sqlite(url) => {
            let sqlite = sql::sqlite(&connection, namespace, url).await?;
            super::run(sqlite, namespace, command, output).await
        }
        #[cfg(not(feature = "sqlite"))]
        Address::Sqlite(_) => Err(built_without("SQLite", "sqlite")),
        #[cfg(feature = "postgres")]
        Address::Postgres(url) => {
            let postgres = sql::postgres(&connection, namespace, url).await?;
            super::run(postgres, namespace, command, output).await
        }
        #[cfg(not(feature = "postgres"))]
        Address::Postgres(_) => Err(built_without("PostgreSQL", "postgres")),
    }
}

#[cfg(not(all(
    feature = "redis",
    feature = "kafka",
    feature = "sqlite",
    feature = "postgres"
)))]
fn built_without(engine: &str, feature: &str) -> Failure {
    Failure::Usage(format!(
        "this tool was built without {engine}: cargo install static-bus-cli --features {feature}"
    ))
}

impl Address {
    /// The text of an error never contains the URL, which may have a password in any place.
    fn parse(url: &str) -> Result<Self, Failure> {
        if url.starts_with("sqlite:") {
            return Ok(Address::Sqlite(url.to_owned()));
        }
        match url.split_once("://") {
            Some((
                "redis" | "rediss" | "redis+sentinel" | "rediss+sentinel" | "redis-cluster"
                | "rediss-cluster",
                _,
            )) => Ok(Address::Redis(url.to_owned())),
            Some(("postgres" | "postgresql", _)) => Ok(Address::Postgres(url.to_owned())),
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
                "the URL of the broker begins with redis://, redis+sentinel:// or redis-cluster://, or with rediss for TLS, or \
                 with kafka://, sqlite: or postgres://"
                    .to_owned(),
            )),
        }
    }

    /// The namespace that the engine has by default.
    fn namespace(&self) -> &'static str {
        match self {
            Address::Redis(_) | Address::Kafka { .. } => "static-bus",
            // A name of tables.
            Address::Sqlite(_) | Address::Postgres(_) => "static_bus",
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
        for url in ["sqlite:bus.db", "sqlite:///var/bus.db?mode=ro"] {
            let sqlite = Address::parse(url).unwrap();
            assert_eq!(sqlite, Address::Sqlite(url.to_owned()));
        }
        for url in ["postgres://u:pw@host/db", "postgresql://host/db"] {
            let postgres = Address::parse(url).unwrap();
            assert_eq!(postgres, Address::Postgres(url.to_owned()));
        }
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
