//! What several tests need.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Runs an example, which `cargo test` builds beside the tests.
pub fn run_example(name: &str, arguments: &[&str]) -> Output {
    Command::new(example(name))
        .args(arguments)
        .output()
        .expect("the example starts")
}

fn example(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests run in <profile>/deps");
    let binary = profile
        .join("examples")
        .join(name)
        .with_extension(env::consts::EXE_EXTENSION);
    assert!(
        binary.exists(),
        "{} is missing: run `cargo test`, or `cargo build --example {name}` first",
        binary.display()
    );
    binary
}
