//! Programs that must not compile, with the exact error texts, and programs that must compile.
#![cfg(feature = "alloc")]

use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn each_mistake_has_its_text() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/fail/*.rs");
    #[cfg(feature = "async")]
    cases.compile_fail("tests/ui/async/*.rs");
    #[cfg(feature = "live")]
    cases.compile_fail("tests/ui/live/*.rs");
    #[cfg(feature = "sim")]
    cases.compile_fail("tests/ui/sim/*.rs");
    #[cfg(feature = "log")]
    cases.compile_fail("tests/ui/log/*.rs");
    #[cfg(all(feature = "async", feature = "testing"))]
    cases.compile_fail("tests/ui/testing/*.rs");
    #[cfg(feature = "tokio")]
    cases.compile_fail("tests/ui/tokio/*.rs");
    cases.compile_fail("tests/ui/macros/*.rs");
}

/// What only a build finds: without such cases and programs that compile, the others are checked all at once.
#[test]
fn programs_compile_and_calls_that_nest_too_deep_do_not() {
    let cases = trybuild::TestCases::new();
    #[cfg(feature = "async")]
    cases.compile_fail("tests/ui/built/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}

#[test]
fn each_headline_is_explained() {
    let explained: BTreeSet<String> = include_str!("../docs/ERRORS.md")
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(without_names)
        .collect();
    let ui = Path::new("tests/ui");
    let texts = [
        "async", "built", "fail", "live", "log", "macros", "sim", "testing", "tokio",
    ]
    .map(|folder| ui.join(folder))
    .into_iter()
    .chain([Path::new("crates/static-bus-remote").join(ui)])
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
