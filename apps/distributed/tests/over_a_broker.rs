//! Over a broker the same modules give the same outcome, in one process and in several.

#![cfg(any(
    feature = "sqlite",
    feature = "postgres",
    feature = "redis",
    feature = "kafka"
))]

mod support;

use support::{
    DEAD_LETTERS, OUTCOME, Service, error, run, run_in, said_by_modules, said_by_the_driver,
};

fn one_process_gives_the_same_outcome(bus: &str, url: &str) {
    let output = run(&["--bus", bus, "--url", url, "--namespace", "one"]);
    let said = said_by_the_driver(&output);
    assert_eq!(said, format!("{OUTCOME}{DEAD_LETTERS}"));
}

fn three_processes_give_the_same_outcome(bus: &str, url: &str) {
    let services = ["orders", "notifications,inventory", "users"]
        .map(|modules| Service::start(&["--bus", bus, "--url", url, "--serve", modules]));
    let output = run(&["--bus", bus, "--url", url, "--drive"]);
    assert_eq!(said_by_the_driver(&output), OUTCOME);
    assert_eq!(
        said_by_modules(&output),
        [""; 0],
        "no module is served there"
    );

    let said = services.map(Service::interrupt);
    let modules = ["orders:", "inventory:", "users:"];
    for (said, module) in said.iter().zip(modules) {
        let lines = said_by_modules(said);
        assert!(lines.iter().any(|line| line.starts_with(module)), "{said}");
    }
    let together = said_by_modules(&said.concat());
    assert_eq!(together, said_by_modules(&run(&[])));
}

#[test]
#[cfg(feature = "sqlite")]
fn sqlite_gives_the_same_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite:{}", directory.path().join(name).display());
    one_process_gives_the_same_outcome("sqlite", &url("one.db"));
    three_processes_give_the_same_outcome("sqlite", &url("three.db"));
}

#[test]
#[cfg(feature = "sqlite")]
fn several_processes_use_a_file_without_being_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.db");
    let service = Service::start_in(directory.path(), &["--serve", "users,inventory"]);
    let rest = Service::start_in(directory.path(), &["--serve", "notifications,orders"]);
    let expected = format!("on sqlite:{}, ", path.display());
    assert!(service.serves.contains(&expected), "{}", service.serves);
    let output = run_in(directory.path(), &["--drive"]);
    assert_eq!(said_by_the_driver(&output), OUTCOME);
    service.interrupt();
    rest.interrupt();
}

#[test]
#[cfg(feature = "postgres")]
fn postgres_gives_the_same_outcome() {
    let postgres = test_brokers::postgres::Postgres::start();
    one_process_gives_the_same_outcome("postgres", &postgres.url());
    three_processes_give_the_same_outcome("postgres", &postgres.url());
}

#[test]
#[cfg(feature = "redis")]
fn redis_gives_the_same_outcome() {
    let redis = test_brokers::redis::Redis::start();
    one_process_gives_the_same_outcome("redis", redis.url());
    three_processes_give_the_same_outcome("redis", redis.url());
}

#[test]
#[cfg(feature = "kafka")]
fn kafka_gives_the_same_outcome() {
    let kafka = test_brokers::kafka::Kafka::start();
    one_process_gives_the_same_outcome("kafka", kafka.servers());
    three_processes_give_the_same_outcome("kafka", kafka.servers());
}

#[test]
#[cfg(feature = "sqlite")]
fn a_file_without_a_directory_is_named() {
    let text = error(&["--bus", "sqlite", "--url", "sqlite:/missing/shop.db"]);
    assert!(
        text.contains("sqlite:/missing/shop.db: unable to open"),
        "{text}"
    );
    assert!(text.contains("create the directory of the file"), "{text}");
}

#[test]
#[cfg(feature = "postgres")]
fn a_postgres_that_is_not_there_is_named() {
    let url = "postgres://shop:secret@127.0.0.1:1/shop";
    let text = error(&["--bus", "postgres", "--url", url]);
    assert!(text.contains("postgres://127.0.0.1:1/shop"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
#[cfg(feature = "redis")]
fn a_redis_that_is_not_there_is_named() {
    let text = error(&["--bus", "redis", "--url", "redis://:secret@127.0.0.1:1"]);
    assert!(text.contains("redis://127.0.0.1:1"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
#[cfg(feature = "kafka")]
fn a_kafka_that_is_not_there_is_named() {
    let text = error(&["--bus", "kafka", "--url", "127.0.0.1:1"]);
    assert!(text.contains("kafka://127.0.0.1:1"), "{text}");
}
