//! The errors that cargo prints for each mistake in `tests/ui/fail` and `tests/ui/async` mention messages and handlers, and
//! rarely the types of the table.
//!
//! `tests/ui/cases.rs` compares the exact texts, with long types in full. Here they are as the user
//! sees them: rustc shortens `Bus<Node<…>>` to `Bus<...>` in most places. The remaining mentions of internal
//! types are counted. To see the counts:
//! `cargo test --test error_texts -- --nocapture`.
#![cfg(feature = "alloc")]

use std::{collections::BTreeMap, env, fs, path::Path, process::Command};

use serde_json::Value;

/// The types of a table.
const INTERNAL: [&str; 6] = ["Node<", "Within<", "Free", "Entry<", "Digits<", "Missing"];

/// Mentions in one error.
const LIMIT: usize = 10;

/// rustc prints the whole type of the bus if the trait of a handler or layer is not implemented: the bus is a parameter
/// of the missing trait, and no text of the library replaces it. It also prints two types that differ, and
/// a type that resembles one with an impl.
const WHOLE_BUS: [(&str, usize); 10] = [
    ("async_layer_for_synchronous_handlers", 20),
    ("async_not_an_async_handler", 20),
    ("async_pointer_to_a_bus", 20),
    ("branches_of_two_types", 25),
    ("bus_without_a_listed_message", 15),
    ("layer_for_another_kind", 20),
    ("module_with_mistakes", 20),
    ("not_a_handler_of_a_command", 20),
    ("not_a_handler_of_a_query", 20),
    ("not_a_handler_of_an_event", 20),
];

#[test]
fn errors_hardly_mention_the_table() {
    let mentions = mentions_by_case();
    assert!(mentions.len() > 30, "cases are missing: {mentions:?}");
    for (case, count) in &mentions {
        println!("{count:>3} {case}");
    }
    for (case, count) in mentions {
        let whole = WHOLE_BUS.iter().find(|(name, _)| *name == case);
        let limit = whole.map_or(LIMIT, |(_, limit)| *limit);
        assert!(
            count <= limit,
            "an error of {case} mentions the table {count} times, and may {limit} times"
        );
    }
}

/// The mentions of each case, of its error with the most.
fn mentions_by_case() -> BTreeMap<String, usize> {
    let mut mentions = BTreeMap::new();
    for line in check_all_cases().lines() {
        let message: Value = serde_json::from_str(line).expect("cargo prints JSON");
        let (Some(text), Some(case)) = (
            message["message"]["rendered"].as_str(),
            message["target"]["name"].as_str(),
        ) else {
            continue;
        };
        let count: usize = INTERNAL.iter().map(|name| text.matches(name).count()).sum();
        let most: &mut usize = mentions.entry(case.to_owned()).or_default();
        *most = count.max(*most);
    }
    mentions
}

/// The output of cargo for a package whose programs are the cases.
fn check_all_cases() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("error-texts");
    let bin = dir.join("src/bin");
    let _ = fs::remove_dir_all(&bin);
    fs::create_dir_all(&bin).expect("the target directory can be written");
    for (folder, prefix) in [("tests/ui/fail", ""), ("tests/ui/async", "async_")] {
        for case in fs::read_dir(root.join(folder)).expect("the cases are there") {
            let case = case.expect("the cases can be read").path();
            if case.extension().is_some_and(|extension| extension == "rs") {
                let name = case
                    .file_name()
                    .expect("a file has a name")
                    .to_string_lossy();
                let name = format!("{prefix}{name}");
                fs::copy(&case, bin.join(name)).expect("a case can be copied");
            }
        }
    }
    let manifest = format!(
        "[package]\nname = \"error-texts\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nstatic-bus = {{ path = {root:?}, features = [\"async\"] }}\n"
    );
    fs::write(dir.join("Cargo.toml"), manifest).expect("the manifest can be written");
    fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock")).expect("the lock can be copied");

    let output = Command::new(env!("CARGO"))
        .args(["check", "--keep-going", "--quiet", "--message-format=json"])
        .current_dir(&dir)
        .env("CARGO_TARGET_DIR", dir.join("target"))
        .env("RUSTFLAGS", "--cap-lints=allow")
        .output()
        .expect("cargo starts");
    assert!(!output.status.success(), "every case is a mistake");
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}
