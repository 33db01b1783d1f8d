//! Programs that must not compile, with the exact error texts, and programs that must compile.

use std::{collections::BTreeSet, fs, path::Path};

/// The folders of programs in which `cargo check` finds a mistake.
const CHECKED: [&str; 9] = [
    "async", "fail", "live", "log", "macros", "remote", "sim", "testing", "tokio",
];
/// The folder of those in which only `cargo build` finds it.
const BUILT: &str = "built";

#[test]
fn each_mistake_has_its_text() {
    let cases = trybuild::TestCases::new();
    for folder in CHECKED {
        cases.compile_fail(format!("{folder}/*.rs"));
    }
}

/// Without such cases and programs that compile, the others are checked all at once.
#[test]
fn programs_compile_and_calls_that_nest_too_deep_do_not() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail(format!("{BUILT}/*.rs"));
    cases.pass("pass/*.rs");
}

#[test]
fn each_headline_is_explained() {
    let explained: BTreeSet<String> = include_str!("../../docs/ERRORS.md")
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(without_names)
        .collect();
    let texts = CHECKED
        .into_iter()
        .chain([BUILT])
        .map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
        .flat_map(|folder| fs::read_dir(folder).expect("the cases are there"))
        .map(|entry| entry.expect("the cases can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "stderr"))
        .map(|path| fs::read_to_string(path).expect("a text can be read"));
    let mut met = BTreeSet::new();
    for text in texts {
        met.extend(text.lines().filter_map(headline).map(without_names));
    }
    assert_eq!(
        met, explained,
        "left: met in tests/ui; right: explained in docs/ERRORS.md"
    );
}

/// The text of a line that begins an error, without `error[E0277]: `.
fn headline(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("error")?;
    let rest = match rest.strip_prefix("[") {
        Some(code) => code.split_once(']')?.1,
        None => rest,
    };
    rest.strip_prefix(": ")
}

/// The headline with `_` for each type that it names.
fn without_names(headline: &str) -> String {
    let parts = headline.split('`').enumerate();
    parts
        .map(|(i, part)| match (i % 2, part) {
            (1, "()" | "Result<(), E>") => part,
            (1, _) => "_",
            _ => part,
        })
        .collect()
}
