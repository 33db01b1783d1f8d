//! The address of the broker, exit status, and secrets.

use std::fs;

use static_bus_sql::{PostgresTransport, SqliteTransport};
use test_brokers::{
    kafka::{Kafka, KafkaOptions},
    postgres::{Postgres, PostgresOptions},
    redis::{Persistence, Redis, RedisOptions},
    redis_cluster::RedisCluster,
    sentinels::Sentinels,
};

use crate::support::{LONG, Tool, printed, sqlite, tool};

#[test]
fn a_wrong_command_line_ends_with_status_2() {
    for (arguments, error) in [
        (
            &["topics"][..],
            "error: no broker is named: set STATIC_BUS_URL, or pass --bus redis://host:port, --bus kafka://host:port, --bus sqlite:path or --bus postgres://host:port/database\n",
        ),
        (
            &["topics", "--bus", "amqp://:secret@host"],
            "error: the URL of the broker begins with redis://, redis+sentinel:// or redis-cluster://, or with rediss for TLS, or with kafka://, sqlite: or postgres://\n",
        ),
        (
            &["topics", "--bus", "kafka://secret@host:1"],
            "error: the user in the URL cannot be read: before the `@` are user and password with `:` between them, and special characters percent-encoded\n",
        ),
        (
            &["topics", "--bus", "redis://:secret@host", "--tls"],
            "error: --tls, --tls-certificate and --tls-key are for Kafka: the URL of a Redis with TLS begins with rediss://\n",
        ),
        (
            &[
                "topics",
                "--bus",
                "postgres://shop:secret@host/shop",
                "--tls-ca",
                "/ca.pem",
            ],
            "error: --tls, --tls-ca, --tls-certificate and --tls-key are for Kafka and Redis: the URL of a PostgreSQL with TLS ends with ?sslmode=verify-full, then &sslrootcert=FILE, &sslcert=FILE and &sslkey=FILE as needed\n",
        ),
        (
            &["topics", "--bus", "sqlite:/missing", "--tls"],
            "error: --tls, --tls-ca, --tls-certificate and --tls-key are for servers: a file of SQLite has no connection to encrypt\n",
        ),
        (
            &[
                "topics",
                "--bus",
                "rediss://:secret@host",
                "--tls-ca",
                "/missing",
            ],
            "error: --tls-ca /missing cannot be read: No such file or directory (os error 2)\n",
        ),
    ] {
        let printed = printed(tool().args(arguments).output().unwrap());
        assert_eq!((printed.status, &*printed.err), (2, error), "{arguments:?}");
        assert_eq!(printed.out, "");
    }
    for (arguments, part) in [
        (
            &["redis://:secret@host:1", "topics"][..],
            "unrecognized subcommand 'redis://host:1'",
        ),
        (
            &["redis://:my secret@host:1", "topics"],
            "unrecognized subcommand 'redis://host:1'",
        ),
        (
            &["topics", "--timeout=redis://:my secret@host:1"],
            "invalid value 'redis://host:1' for '--timeout <DURATION>'",
        ),
        (
            &["topics", "redis://:secret@host:1"],
            "unexpected argument 'redis://host:1' found",
        ),
        (
            &["topics", "postgres://shop:secret@host/shop?password=secret"],
            "unexpected argument 'postgres://host/shop' found",
        ),
        (
            &["dead-letters", "list", "--older-than", "soon"],
            "a duration is a number and a unit, such as 90s, 5m, 1h or 2d",
        ),
        (
            &["watch", "--interval", "1ms"],
            "the shortest interval is 100ms",
        ),
    ] {
        let printed = printed(tool().args(arguments).output().unwrap());
        assert_eq!(printed.status, 2, "{printed:?}");
        assert!(
            printed.err.contains(part) && !printed.err.contains("secret"),
            "{printed:?}"
        );
    }
}

#[test]
fn the_help_shows_no_password_of_the_environment() {
    let tool = Tool::new("redis://:secret@host", "shop");
    for arguments in [
        &["--help"][..],
        &["topics", "--help"],
        &["dead-letters", "replay", "--help"],
    ] {
        let help = tool.out(arguments);
        assert!(
            help.contains("STATIC_BUS_URL") && !help.contains("secret"),
            "{help}"
        );
    }
}

/// The error of an attempt to connect.
fn refused(url: &str) -> String {
    let tool = Tool::new(url, "shop");
    let arguments = ["topics"];
    let error = tool.error(1, &arguments);
    assert!(!error.contains("secret"), "{error}");
    error
}

#[test]
fn a_broker_that_is_gone_is_named_with_a_remedy() {
    assert_eq!(
        refused("redis://:secret@127.0.0.1:1"),
        "error: redis://127.0.0.1:1: connection refused: start the server, or correct the host and port of the URL\n"
    );
    assert_eq!(
        refused("postgres://shop:secret@127.0.0.1:1/shop"),
        "error: postgres://127.0.0.1:1/shop: error communicating with database: Connection refused (os error 111): start \
         the database, or correct the host and port of the URL\n"
    );
    let kafka = refused("kafka://127.0.0.1:1");
    assert!(
        kafka.starts_with("error: kafka://127.0.0.1:1: no server can be reached ("),
        "{kafka}"
    );
    assert!(kafka.contains("check the addresses"), "{kafka}");
}

#[test]
fn a_password_is_used_and_never_shown() {
    let server = Redis::with(RedisOptions {
        password: Some("secret".to_owned()),
        ..RedisOptions::default()
    });
    let tool = Tool::new(server.url(), "shop");
    assert_eq!(tool.out(&["topics"]), "no topics\n");
    let watch = tool.out(&["watch", "--count", "1"]);
    assert!(
        watch.starts_with(&format!("redis://{}, ", server.host_and_port())),
        "{watch}"
    );
    let error = refused(&format!("redis://:wrong-secret@{}", server.host_and_port()));
    assert!(
        error.contains("correct user and password in the URL"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_missing_is_named_and_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("bus.db").display());
    let expected = format!(
        "error: {url}: there is no such file: correct the path, or start a service, which makes it\n"
    );
    for arguments in [
        &["topics"][..],
        &["groups"],
        &["watch", "--count", "1"],
        &["dead-letters", "list"],
        &["dead-letters", "replay", "--all", "--yes"],
        &["serve"],
    ] {
        let tool = Tool::new(&url, "shop");
        assert_eq!(tool.error(1, arguments), expected, "{arguments:?}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "not a database ".repeat(100)).unwrap();
    let url = format!("sqlite:{}", file.path().display());
    assert_eq!(
        refused(&url),
        format!(
            "error: {url}: file is not a database: the file is damaged, or no database of SQLite: name another one, or \
             restore a backup\n"
        )
    );
}

#[tokio::test]
async fn a_namespace_without_tables_is_named_and_makes_none() {
    let (_directory, tool, _) = sqlite().await;
    let refused = tool.run(&["topics", "--namespace", "shops"]);
    assert_eq!(refused.status, 1);
    let expected = "there are no tables of the namespace `shops`: correct the namespace, or start a service, which makes them\n";
    assert!(refused.err.ends_with(expected), "{refused:?}");
    assert_eq!(tool.run(&["topics", "--namespace", "shops"]), refused);
    let invalid = tool.error(1, &["topics", "--namespace", "My-Shop"]);
    assert_eq!(
        invalid,
        "error: sqlite: the namespace \"My-Shop\" is not the name of tables: use up to 40 lower-case letters, digits and \
         underscores, no digit first, and not `_scheduled` at the end\n"
    );
}

#[tokio::test]
async fn a_database_has_the_namespace_of_its_services_by_default() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("bus.db").display());
    drop(SqliteTransport::connect(&url).await.unwrap());
    let printed = printed(tool().args(["topics", "--bus", &url]).output().unwrap());
    assert_eq!(
        (printed.status, &*printed.out),
        (0, "no topics\n"),
        "{printed:?}"
    );
}

#[tokio::test]
async fn a_password_of_postgres_is_used_and_never_shown() {
    let server = Postgres::with(PostgresOptions {
        password: Some("secret".to_owned()),
        ..PostgresOptions::default()
    });
    let address = format!("postgres://127.0.0.1:{}/postgres", server.port());
    let builder = PostgresTransport::builder(server.url()).namespace("shop");
    drop(builder.deadline(LONG).connect().await.unwrap());
    let url = server.url();
    let with_parameter = format!("{}?password=secret", url.replace(":secret", ""));
    for url in [&url, &with_parameter] {
        let tool = Tool::new(url, "shop");
        assert_eq!(tool.out(&["topics"]), "no topics\n");
        let watch = tool.out(&["watch", "--count", "1"]);
        assert!(watch.starts_with(&format!("{address}, ")), "{watch}");
        let missing = Tool::new(url, "shops").error(1, &["topics"]);
        assert!(
            missing.contains(&address) && !missing.contains("secret"),
            "{missing}"
        );
    }
    let error = refused(&url.replace("secret", "wrong-secret"));
    assert_eq!(
        error,
        format!(
            "error: {address}: password authentication failed for user \"postgres\": correct user and password of the URL, \
             or the server's pg_hba.conf\n"
        )
    );
}

/// The permissions of a service, as the guide names them.
const PERMISSIONS: &str =
    "ACL SETUSER shop on >secret ~shop:* +@all -@admin -@dangerous +info +client|unblock";

#[test]
fn sentinels_are_asked_with_their_password_of_the_environment() {
    let primary = Redis::with(RedisOptions::default());
    let sentinels = Sentinels::with_password(&primary, 0, "watch-secret");
    let tool = Tool::new(sentinels.url(), "shop");
    let with = |password: Option<&str>| {
        let mut command = tool.command(&["topics"]);
        let password = password.map(|password| ("STATIC_BUS_SENTINEL_PASSWORD", password));
        printed(command.envs(password).output().unwrap())
    };
    let right = with(Some("watch-secret"));
    assert_eq!((right.status, &*right.out), (0, "no topics\n"), "{right:?}");
    for password in [None, Some("wrong-secret"), Some("")] {
        let wrong = with(password);
        assert_eq!(wrong.status, 1, "{password:?}: {wrong:?}");
        assert!(wrong.err.contains(&sentinels.url()), "{wrong:?}");
        let remedy =
            "the password of the Sentinels themselves is in STATIC_BUS_SENTINEL_PASSWORD\n";
        assert!(wrong.err.ends_with(remedy), "{wrong:?}");
        assert!(!wrong.err.contains("secret"), "{wrong:?}");
    }
}

#[test]
fn the_permissions_of_a_service_are_sufficient() {
    let server = Redis::start();
    server.command(&PERMISSIONS.split(' ').collect::<Vec<_>>());
    let url = format!("redis://shop:secret@{}", server.host_and_port());
    let tool = Tool::new(url, "shop");
    let entry = ["*", "h", "type: a\n", "d", "{}"];
    for key in ["shop:{command:a}", "shop:dead-letter"] {
        server.command(&[&["XADD", key], &entry[..]].concat());
    }
    server.command(&["XGROUP", "CREATE", "shop:{command:a}", "handlers", "0"]);
    assert_eq!(tool.json(&["topics"]).len(), 2);
    assert_eq!(tool.json(&["groups"])[0]["lag"], 1);
    assert_eq!(tool.json(&["dead-letters", "list"]).len(), 1);
    let discard = ["dead-letters", "discard", "--all", "--yes"];
    assert_eq!(tool.out(&discard), "discarded 1 dead letter\n");
}

#[test]
fn the_topics_of_all_nodes_of_a_cluster_are_listed() {
    let cluster = RedisCluster::start(Persistence::None);
    for node in cluster.nodes() {
        node.command(&PERMISSIONS.split(' ').collect::<Vec<_>>());
    }
    for n in 0..20 {
        let key = format!("shop:{{command:topic-{n}}}");
        let node = &cluster.nodes()[cluster.owner(&key)];
        node.command(&["XADD", &key, "*", "h", "type: a\n", "d", "{}"]);
        node.command(&["XGROUP", "CREATE", &key, "handlers", "0"]);
    }
    let url = cluster.url().replace("://", "://shop:secret@");
    let tool = Tool::new(url, "shop");
    assert_eq!(tool.json(&["topics"]).len(), 20);
    let groups = tool.json(&["groups"]);
    assert_eq!(groups.len(), 20);
    assert!(groups.iter().all(|group| group["lag"] == 1), "{groups:?}");
}

#[test]
fn kafka_is_reached_with_tls_and_credentials() {
    let server = Kafka::with(KafkaOptions {
        secure: true,
        ..KafkaOptions::default()
    });
    let ca = server.ca();
    let ca = ca.to_str().unwrap();
    let with = |user: &str, arguments: &[&str]| {
        let tool = Tool::new(format!("kafka://{user}{}", server.sasl_tls()), "shop");
        tool.run(&[&["topics", "--tls-ca", ca, "--timeout", "60s"], arguments].concat())
    };
    let plain = with("alice:alice-secret@", &["--sasl", "plain"]);
    assert_eq!((plain.status, &*plain.out), (0, "no topics\n"), "{plain:?}");
    let wrong = with("alice:wrong-secret@", &["--sasl", "plain"]);
    assert_eq!(wrong.status, 1);
    assert!(
        wrong.err.contains("the credentials are refused"),
        "{wrong:?}"
    );
    assert!(!wrong.err.contains("secret"), "{wrong:?}");

    let tls = Tool::new(format!("kafka://{}", server.tls()), "shop");
    assert_eq!(tls.out(&["topics", "--tls-ca", ca]), "no topics\n");
}
