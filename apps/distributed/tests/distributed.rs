//! The same modules give the same outcome on every bus without a server.

mod support;

use support::{DEAD_LETTERS, OUTCOME, error, run, said_by_modules, said_by_the_driver};

#[test]
fn every_bus_gives_the_same_outcome() {
    let local = run(&["--bus", "local"]);
    assert_eq!(said_by_the_driver(&local), OUTCOME);
    let everything = said_by_modules(&local);
    for module in ["inventory:", "notifications:", "orders:", "users:"] {
        assert!(everything.iter().any(|line| line.starts_with(module)));
    }

    for arguments in [
        &["--bus", "memory"][..],
        &["--bus", "memory", "--extract-users"],
    ] {
        let output = run(arguments);
        let said = said_by_the_driver(&output);
        assert!(said.starts_with(OUTCOME), "{arguments:?}: {output}");
        assert_eq!(said_by_modules(&output), everything, "{arguments:?}");
    }
}

#[test]
fn a_refused_command_is_a_dead_letter_if_it_came_from_a_broker() {
    let said = |arguments: &[&str]| said_by_the_driver(&run(arguments));
    assert_eq!(
        said(&["--bus", "memory"]),
        format!("{OUTCOME}{DEAD_LETTERS}")
    );
    // Here the driver shares a bus with `orders`, so it gets the error.
    assert_eq!(said(&["--bus", "memory", "--extract-users"]), OUTCOME);
}

#[test]
fn a_bus_that_others_cannot_reach_is_not_served_in_part() {
    let text = error(&["--bus", "memory", "--serve", "orders"]);
    let buses = "need --bus sqlite (the default), postgres, redis or kafka";
    assert!(text.contains(buses), "{text}");
}

#[test]
#[cfg(not(feature = "sqlite"))]
fn the_feature_that_sqlite_needs_is_named() {
    let text = error(&["--drive"]);
    assert!(text.contains("needs the feature `sqlite`"), "{text}");
}

#[test]
#[cfg(not(feature = "postgres"))]
fn the_feature_that_postgres_needs_is_named() {
    let text = error(&["--bus", "postgres"]);
    assert!(text.contains("needs the feature `postgres`"), "{text}");
}

#[test]
#[cfg(not(feature = "redis"))]
fn the_feature_that_redis_needs_is_named() {
    let text = error(&["--bus", "redis"]);
    assert!(text.contains("needs the feature `redis`"), "{text}");
}

#[test]
#[cfg(not(feature = "kafka"))]
fn the_feature_that_kafka_needs_is_named() {
    let text = error(&["--bus", "kafka"]);
    assert!(text.contains("needs the feature `kafka`"), "{text}");
}

#[test]
#[cfg(not(feature = "otlp"))]
fn the_feature_that_traces_need_is_named() {
    let text = error(&["--traces", "http://localhost:4318"]);
    assert!(text.contains("needs the feature `otlp`"), "{text}");
}
