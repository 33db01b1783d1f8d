//! The address of the broker, exit status, and secrets.

use test_brokers::{
    kafka::{Kafka, KafkaOptions},
    redis::{Redis, RedisOptions},
};

use crate::support::{Tool, printed, tool};

#[test]
fn a_wrong_command_line_ends_with_status_2() {
    for (arguments, error) in [
        (
            &["topics"][..],
            "error: no broker is named: set STATIC_BUS_URL, or pass --bus redis://host:port or --bus kafka://host:port\n",
        ),
        (
            &["topics", "--bus", "amqp://:secret@host"],
            "error: the URL of the broker begins with redis://, rediss://, redis+sentinel://, rediss+sentinel:// or kafka://\n",
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
            &["topics", "redis://:secret@host:1"],
            "unexpected argument 'redis://host:1' found",
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
fn the_permissions_of_a_service_are_sufficient() {
    let server = Redis::start();
    let permissions =
        "ACL SETUSER shop on >secret ~shop:* +@all -@admin -@dangerous +info +client|unblock";
    server.command(&permissions.split(' ').collect::<Vec<_>>());
    let url = format!("redis://shop:secret@{}", server.host_and_port());
    let tool = Tool::new(url, "shop");
    let entry = ["*", "h", "type: a\n", "d", "{}"];
    for key in ["shop:command:a", "shop:dead-letter"] {
        server.command(&[&["XADD", key], &entry[..]].concat());
    }
    server.command(&["XGROUP", "CREATE", "shop:command:a", "handlers", "0"]);
    assert_eq!(tool.json(&["topics"]).len(), 2);
    assert_eq!(tool.json(&["groups"])[0]["lag"], 1);
    assert_eq!(tool.json(&["dead-letters", "list"]).len(), 1);
    let discard = ["dead-letters", "discard", "--all", "--yes"];
    assert_eq!(tool.out(&discard), "discarded 1 dead letter\n");
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
