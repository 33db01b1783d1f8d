//! The examples print the expected output.
#![cfg(feature = "alloc")]

mod support;

use std::fs;

const README: &str = include_str!("../README.md");
const QUICKSTART: &str = include_str!("../examples/quickstart.rs");

fn stdout(example: &str, arguments: &[&str]) -> String {
    let output = support::example(example)
        .args(arguments)
        .output()
        .expect("the example starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("examples print UTF-8")
}

/// Compares with a file of `tests/snapshots`. With `SNAPSHOTS=overwrite` in the environment it is
/// overwritten: check the difference before you commit it.
#[track_caller]
fn assert_snapshot(name: &str, actual: &str) {
    let path = format!("{}/tests/snapshots/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var("SNAPSHOTS").is_ok_and(|mode| mode == "overwrite") {
        fs::write(&path, actual).expect("the snapshot can be written");
    }
    let expected = fs::read_to_string(&path).expect("the snapshot is there");
    assert_eq!(actual, expected, "{name} differs");
}

#[test]
fn the_quick_start_is_the_code_of_the_readme() {
    let (_, code) = QUICKSTART.split_once("\n\n").expect("a header, then code");
    assert!(README.contains(&format!("```rust\n{code}```\n")));
}

#[test]
fn the_quick_start_tells_every_subscriber_in_order() {
    assert_eq!(
        stdout("quickstart", &[]),
        "order 1\nmail: order 1 is on its way\ninvoice for order 1\n"
    );
}

#[test]
fn the_monolith_prints_its_wiring_and_what_was_mailed() {
    assert_snapshot("monolith.txt", &stdout("monolith", &[]));
}

#[test]
fn the_monolith_draws_its_wiring_for_mermaid() {
    assert_snapshot("monolith.mmd", &stdout("monolith", &["--mermaid"]));
}

#[test]
fn the_monolith_draws_its_wiring_for_graphviz() {
    assert_snapshot("monolith.dot", &stdout("monolith", &["--dot"]));
}
