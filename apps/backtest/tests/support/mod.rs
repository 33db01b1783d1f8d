//! The program, its files, and a model of it in exact arithmetic.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod model;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// Five good bars; each bad file of the tests changes one thing.
pub const GOOD: &str = "\
date,open,high,low,close
2000-01-03,1.0,2.0,0.5,1.5
2000-01-04,1.0,2.0,0.5,1.6
2000-01-05,1.0,2.0,0.5,1.7
2000-01-06,1.0,2.0,0.5,1.6
2000-01-07,1.0,2.0,0.5,1.5
";

/// The program.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_backtest"))
}

pub fn backtest(arguments: &[&str]) -> Output {
    program()
        .args(arguments)
        .output()
        .expect("the program starts")
}

/// The standard output of a run that succeeds and prints nothing on stderr.
#[track_caller]
pub fn stdout(arguments: &[&str]) -> String {
    let output = backtest(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.is_empty(),
        "{arguments:?}: {stderr}"
    );
    String::from_utf8(output.stdout).expect("stdout is UTF-8")
}

#[track_caller]
pub fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(arguments)).expect("stdout is one JSON value")
}

/// Exit code 2, nothing on stdout, and one line on stderr that contains all of these texts.
#[track_caller]
pub fn assert_refused(arguments: &[&str], says: &[&str]) {
    assert_fails(program().args(arguments), says);
}

/// As [`assert_refused`], for any command that runs the program.
#[track_caller]
pub fn assert_fails(command: &mut Command, says: &[&str]) {
    let output = command.output().expect("the program starts");
    let stderr = String::from_utf8(output.stderr).expect("stderr is UTF-8");
    assert_eq!(output.status.code(), Some(2), "{command:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{command:?} printed to stdout");
    assert!(
        stderr.ends_with('\n') && stderr.lines().count() == 1,
        "not one line: {stderr:?}"
    );
    for part in says {
        assert!(stderr.contains(part), "no {part:?} in {stderr:?}");
    }
}

/// The path of a file of this test run.
pub fn path(name: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("backtest-{name}"));
    path.to_str()
        .expect("the target directory is UTF-8")
        .to_owned()
}

/// A CSV file of this test run.
pub fn file(name: &str, text: &str) -> String {
    let path = path(&format!("{name}.csv"));
    fs::write(&path, text).expect("the target directory can be written");
    path
}

/// A path for an output file. A file of an earlier run is removed.
pub fn output(name: &str) -> String {
    let path = path(name);
    let _ = fs::remove_file(&path);
    path
}
