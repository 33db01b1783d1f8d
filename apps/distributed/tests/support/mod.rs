//! The program, and its output.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

/// The program.
pub fn distributed() -> Command {
    Command::new(env!("CARGO_BIN_EXE_distributed"))
}

/// The driver's output about four orders.
pub const OUTCOME: &str = "\
order 1: 2 × lamp for user 1
order 1: placed, 1 × lamp left, mailed “To ada@example.com: Ada, 2 × lamp”
order 2: 1 × lamp for user 9
order 2: refused, unknown user
order 3: 2 × lamp for user 2
order 3: refused, out of stock
order 4: 1 × lamp for user 2
order 4: placed, 0 × lamp left, mailed “To grace@example.com: Grace, 1 × lamp”
";

pub const DEAD_LETTERS: &str = "\
dead letter: command orders.place (orders.place: its handler failed: out of stock)
dead letter: command orders.place (orders.place: its handler failed: unknown user)
";

/// The output of the program.
pub fn run(arguments: &[&str]) -> String {
    output(distributed().args(arguments))
}

/// The output of the program with this directory for temporary files.
pub fn run_in(directory: &Path, arguments: &[&str]) -> String {
    output(distributed().env("TMPDIR", directory).args(arguments))
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("examples print UTF-8")
}

pub fn error(arguments: &[&str]) -> String {
    let output = distributed()
        .args(arguments)
        .output()
        .expect("the program starts");
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).expect("examples print UTF-8")
}

/// The lines of the driver alone: the order of the modules' lines varies. So does that of the dead letters, which come last, sorted.
pub fn said_by_the_driver(output: &str) -> String {
    let lines = output.lines().filter(|line| !line.starts_with("  "));
    let (mut dead_letters, orders): (Vec<_>, Vec<_>) =
        lines.partition(|line| line.starts_with("dead letter: "));
    dead_letters.sort();
    let lines = orders.into_iter().chain(dead_letters);
    lines.map(|line| format!("{line}\n")).collect()
}

/// The lines of the modules alone, sorted, without the processes.
pub fn said_by_modules(output: &str) -> Vec<String> {
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

/// A process that serves some of the modules.
pub struct Service {
    process: Child,
    /// The line about what it serves.
    pub serves: String,
    said: BufReader<ChildStdout>,
}

impl Service {
    /// Returns when the process serves its modules.
    pub fn start(arguments: &[&str]) -> Self {
        Service::spawn(distributed().args(arguments))
    }

    /// The same, with this directory for temporary files.
    pub fn start_in(directory: &Path, arguments: &[&str]) -> Self {
        Service::spawn(distributed().env("TMPDIR", directory).args(arguments))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut said = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut serves = String::new();
        said.read_line(&mut serves).expect("it prints a line");
        assert!(serves.starts_with("serving "), "{serves}");
        Service {
            process,
            serves,
            said,
        }
    }

    /// Stops the process like Ctrl-C. Returns its output.
    pub fn interrupt(mut self) -> String {
        test_brokers::signal_process("-INT", &self.process.id().to_string());
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
