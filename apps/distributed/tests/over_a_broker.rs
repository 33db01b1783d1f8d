//! Over a broker the same modules give the same outcome, in one process and in several.

mod support;

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
};

use support::{
    DEAD_LETTERS, OUTCOME, distributed, error, run, said_by_modules, said_by_the_driver,
};
use test_brokers::signal_process;

/// A process that serves some of the modules.
struct Service {
    process: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Service {
    /// Returns when the process serves its modules.
    fn start(bus: &str, url: &str, modules: &str) -> Self {
        let mut process = distributed()
            .args(["--bus", bus, "--url", url, "--serve", modules])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut said = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("it prints a line");
        assert!(line.starts_with("serving "), "{line}");
        Service { process, said }
    }

    /// Stops the process like Ctrl-C. Returns its output.
    fn interrupt(mut self) -> String {
        signal_process("-INT", &self.process.id().to_string());
        let mut said = String::new();
        self.said.read_to_string(&mut said).expect("UTF-8");
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "{status}");
        said
    }
}
impl Drop for Service {
    fn drop(&mut self) {
        // The process has ended already unless a test has failed.
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
fn redis_gives_the_same_outcome() {
    let redis = test_brokers::redis::Redis::start();
    one_process_gives_the_same_outcome("redis", redis.url());
    three_processes_give_the_same_outcome("redis", redis.url());
}

#[test]
fn kafka_gives_the_same_outcome() {
    let kafka = test_brokers::kafka::Kafka::start();
    one_process_gives_the_same_outcome("kafka", kafka.servers());
    three_processes_give_the_same_outcome("kafka", kafka.servers());
}

#[test]
fn a_redis_that_is_not_there_is_named() {
    let text = error(&["--bus", "redis", "--url", "redis://:secret@127.0.0.1:1"]);
    assert!(text.contains("redis://127.0.0.1:1"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_kafka_that_is_not_there_is_named() {
    let text = error(&["--bus", "kafka", "--url", "127.0.0.1:1"]);
    assert!(text.contains("kafka://127.0.0.1:1"), "{text}");
}
