//! The program, and its output.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::process::Command;

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
dead letter: command orders.place (orders.place: its handler failed: unknown user)
dead letter: command orders.place (orders.place: its handler failed: out of stock)
";

/// The output of the program.
pub fn run(arguments: &[&str]) -> String {
    let output = distributed()
        .args(arguments)
        .output()
        .expect("the program starts");
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

/// The lines of the driver alone: the order of the modules' lines varies.
pub fn said_by_the_driver(output: &str) -> String {
    let lines = output.lines().filter(|line| !line.starts_with("  "));
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
