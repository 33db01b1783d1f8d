//! A message through the bus compiles to the code of the same calls written by hand.
//!
//! Each function of `zero_cost/through_the_bus.rs` has a counterpart with the same name in `zero_cost/by_hand.rs`. Each
//! file is compiled as a separate crate, so the compiler cannot merge a function with its counterpart.
//! Both are compiled in release mode, and the assembly of each function is compared with that of its counterpart.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::{env, fs};

#[path = "zero_cost/assembly.rs"]
mod assembly;

#[test]
fn a_query_is_the_handlers_code() {
    assert_identical("query");
}

#[test]
fn a_command_is_the_handlers_code_with_its_result() {
    assert_identical("command");
}

#[test]
fn an_event_with_one_subscriber_is_the_subscribers_code() {
    assert_identical("event_1");
}

#[test]
fn an_event_with_three_subscribers_is_their_code_in_a_row() {
    assert_identical("event_3");
}

/// More than one node of the list of subscribers.
#[test]
fn an_event_with_nine_subscribers_is_their_code_in_a_row() {
    assert_identical("event_9");
}

#[test]
fn a_query_nested_three_deep_is_the_code_of_three_calls() {
    assert_identical("nested");
}

#[test]
fn a_message_within_layers_that_only_pass_it_on_is_the_handlers_code() {
    for name in NAMES {
        if let Some(difference) = difference(name, &BY_HAND, &WITHIN_LAYERS) {
            panic!("`{name}` by hand (-) and within two layers (+) differ:\n{difference}");
        }
    }
}

/// Without this test, a comparison that never finds a difference would pass all tests above.
#[test]
fn a_call_that_is_one_counter_slower_is_told_apart() {
    for name in NAMES {
        let difference = difference(name, &BY_HAND, &SLOWER);
        assert!(
            difference.as_deref().is_some_and(|it| it.contains("\n+")),
            "the slower twin of `{name}` was not told apart: {difference:?}"
        );
    }
}

const NAMES: [&str; 6] = [
    "query", "command", "event_1", "event_3", "event_9", "nested",
];

static THROUGH_THE_BUS: LazyLock<String> = LazyLock::new(|| compile("through_the_bus", "built"));
static WITHIN_LAYERS: LazyLock<String> =
    LazyLock::new(|| compile("through_the_bus", "built_within_layers"));
static BY_HAND: LazyLock<String> = LazyLock::new(|| compile("by_hand", "built"));
static SLOWER: LazyLock<String> = LazyLock::new(|| compile("slower", "built"));

fn assert_identical(name: &str) {
    if let Some(difference) = difference(name, &BY_HAND, &THROUGH_THE_BUS) {
        panic!("`{name}` by hand (-) and through the bus (+) differ:\n{difference}");
    }
}

/// The difference between the functions `name` of two crates, or `None` if they are equal.
fn difference(name: &str, from: &str, to: &str) -> Option<String> {
    let [from, to] = [from, to].map(|text| {
        assembly::function(text, name)
            .unwrap_or_else(|| panic!("no function `{name}` in the assembly:\n{text}"))
    });
    (from != to).then(|| {
        similar::TextDiff::from_lines(&from, &to)
            .unified_diff()
            .to_string()
    })
}

/// The assembly of the crate of `zero_cost/{side}.rs` and the services. `built` is the file with the type of the bus.
fn compile(side: &str, built: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("zero-cost");
    let dir = all.join(format!("{side}-{built}"));
    let sources = root.join("tests/zero_cost");
    fs::create_dir_all(dir.join("src")).unwrap();
    fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    fs::write(
        dir.join("Cargo.toml"),
        format!(
            "[package]\nname = \"{side}\"\nedition = \"2024\"\n[workspace]\n\
             [dependencies]\nstatic-bus = {{ path = {root:?} }}\n"
        ),
    )
    .unwrap();
    fs::write(
        dir.join("src/lib.rs"),
        format!(
            "#[path = {:?}]\npub mod services;\n#[path = {:?}]\npub mod built;\n#[path = {:?}]\npub mod {side};\n",
            sources.join("services.rs"),
            sources.join(built).with_extension("rs"),
            sources.join(side).with_extension("rs"),
        ),
    )
    .unwrap();

    let text = dir.join("assembly.s");
    let output = Command::new(env!("CARGO"))
        .args(["rustc", "--release", "--quiet", "--lib", "--"])
        .arg(format!("--emit=asm={}", text.display()))
        // v0 names end with the function's own name. With one unit, the code does not depend on
        // rustc's division of a crate into units.
        .args(["-Csymbol-mangling-version=v0", "-Ccodegen-units=1"])
        .current_dir(&dir)
        .env("CARGO_TARGET_DIR", all.join("target"))
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{side} does not compile:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::read_to_string(text).unwrap()
}
