//! `examples/distributed`: the same modules give the same outcome on every bus, and `orders` under
//! test, as its authors would test it (at the end of `orders.rs`).
#![allow(
    dead_code,
    reason = "the example's other modules lend their messages only"
)]

#[path = "../examples/distributed/inventory.rs"]
mod inventory;
#[path = "../examples/distributed/journal.rs"]
mod journal;
#[path = "../examples/distributed/orders.rs"]
mod orders;
mod support;
#[path = "../examples/distributed/users.rs"]
mod users;

/// What the driver says of four orders.
const OUTCOME: &str = "\
order 1: 2 × lamp for user 1
order 1: placed, 1 × lamp left, mailed “To ada@example.com: Ada, 2 × lamp”
order 2: 1 × lamp for user 9
order 2: refused, unknown user
order 3: 2 × lamp for user 2
order 3: refused, out of stock
order 4: 1 × lamp for user 2
order 4: placed, 0 × lamp left, mailed “To grace@example.com: Grace, 1 × lamp”
";

const DEAD_LETTERS: &str = "\
dead letter: command orders.place (orders.place: its handler failed: unknown user)
dead letter: command orders.place (orders.place: its handler failed: out of stock)
";

/// What the example prints.
fn run(arguments: &[&str]) -> String {
    let output = support::example("distributed")
        .args(arguments)
        .output()
        .expect("the example starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("examples print UTF-8")
}

fn error(arguments: &[&str]) -> String {
    let output = support::example("distributed")
        .args(arguments)
        .output()
        .expect("the example starts");
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).expect("examples print UTF-8")
}

/// The lines of the driver alone: what the modules say comes in any order.
fn said_by_the_driver(output: &str) -> String {
    let lines = output.lines().filter(|line| !line.starts_with("  "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The lines of the modules alone, sorted, without the processes.
fn said_by_modules(output: &str) -> Vec<String> {
    let lines = output.lines().filter(|line| line.starts_with("  "));
    let mut lines: Vec<_> = lines
        .map(|line| {
            let (module, rest) = line.split_once(" in process ").expect("a place");
            let (process, what) = rest.split_once(": ").expect("what happened");
            assert!(process.parse::<u32>().is_ok(), "{line}");
            format!("{}: {what}", module.trim())
        })
        .collect();
    lines.sort();
    lines
}

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
    // Here the driver is on one bus with `orders`, and gets the error.
    assert_eq!(said(&["--bus", "memory", "--extract-users"]), OUTCOME);
}

#[test]
fn a_bus_that_others_cannot_reach_is_not_served_in_part() {
    let text = error(&["--bus", "memory", "--serve", "orders"]);
    assert!(text.contains("need --bus redis or --bus kafka"), "{text}");
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

#[cfg(any(feature = "redis", feature = "kafka"))]
#[path = "brokers/mod.rs"]
mod brokers;

#[cfg(any(feature = "redis", feature = "kafka"))]
mod over_a_broker {
    use std::{
        io::{BufRead, BufReader, Read},
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// A process that serves some of the modules.
    struct Service {
        process: Child,
        said: BufReader<std::process::ChildStdout>,
    }

    impl Service {
        /// Returns when it serves.
        fn start(bus: &str, url: &str, modules: &str) -> Self {
            let mut process = support::example("distributed")
                .args(["--bus", bus, "--url", url, "--serve", modules])
                .stdout(Stdio::piped())
                .spawn()
                .expect("the example starts");
            let mut said = BufReader::new(process.stdout.take().expect("it is piped"));
            let mut line = String::new();
            said.read_line(&mut line).expect("it says something");
            assert!(line.starts_with("serving "), "{line}");
            Service { process, said }
        }

        /// Stops it as Ctrl-C does; gives what it said.
        fn interrupt(mut self) -> String {
            let status = Command::new("kill")
                .args(["-INT", &self.process.id().to_string()])
                .status()
                .expect("kill can be run");
            assert!(status.success());
            let mut said = String::new();
            self.said.read_to_string(&mut said).expect("UTF-8");
            let status = self.process.wait().expect("it ends");
            assert!(status.success(), "{status}");
            said
        }
    }
    impl Drop for Service {
        fn drop(&mut self) {
            // It is gone already unless a test has failed.
            _ = self.process.kill();
            _ = self.process.wait();
        }
    }

    fn one_process_gives_the_same_outcome(bus: &str, url: &str) {
        let output = run(&["--bus", bus, "--url", url, "--namespace", "one"]);
        let said = said_by_the_driver(&output);
        assert_eq!(said, format!("{OUTCOME}{DEAD_LETTERS}"));
    }

    fn three_processes_give_the_same_outcome(bus: &str, url: &str) {
        let services = ["orders", "notifications,inventory", "users"]
            .map(|modules| Service::start(bus, url, modules));
        let output = run(&["--bus", bus, "--url", url, "--drive"]);
        assert_eq!(said_by_the_driver(&output), OUTCOME);
        assert_eq!(said_by_modules(&output), [""; 0], "nobody is served there");

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
    #[cfg(feature = "redis")]
    fn redis_gives_the_same_outcome() {
        let redis = crate::brokers::redis::Redis::start();
        one_process_gives_the_same_outcome("redis", redis.url());
        three_processes_give_the_same_outcome("redis", redis.url());
    }

    #[test]
    #[cfg(feature = "kafka")]
    fn kafka_gives_the_same_outcome() {
        let kafka = crate::brokers::kafka::Kafka::start();
        one_process_gives_the_same_outcome("kafka", kafka.servers());
        three_processes_give_the_same_outcome("kafka", kafka.servers());
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
}
