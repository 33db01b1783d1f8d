//! Helpers of several tests.

use std::{env, path::Path, process::Command};

/// The program of an example, which `cargo test` builds with the tests.
pub fn example(name: &str) -> Command {
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
    Command::new(binary)
}
