//! Features are additive: none adds a name to the prelude that a program is likely to have from another glob.

use std::collections::BTreeSet;
use std::{env, fs, path::Path, process::Command};

/// The names in the prelude: of every feature, and of features only.
fn names() -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    let source = include_str!("../src/lib.rs");
    let (_, prelude) = source.split_once("pub mod prelude {\n").unwrap();
    let (prelude, _) = prelude.split_once("\n}\n").unwrap();
    let (mut all, mut of_features) = (BTreeSet::new(), BTreeSet::new());
    for statement in prelude.split_inclusive(';') {
        let (before, path) = statement.split_once("pub use ").unwrap();
        let list = path.rsplit_once("::").unwrap().1;
        let list = list.trim_matches(['{', '}', ';', '\n', ' ']);
        for name in list
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            assert!(
                name.chars().all(|c| c.is_alphanumeric() || c == '_'),
                "a name: {name}"
            );
            all.insert(name);
            if before.contains("#[cfg(") {
                of_features.insert(name);
            }
        }
    }
    (all, of_features)
}

#[test]
fn a_feature_adds_only_names_with_async_in_them_to_the_prelude() {
    let (all, of_features) = names();
    for known in [
        "BusBuilder",
        "SendQuery",
        "mailbox",
        "query",
        "on_query_fn",
        "AsyncSendQuery",
    ] {
        assert!(all.contains(known), "{known} is missing among {all:?}");
    }
    assert!(of_features.contains("on_query_async"), "{of_features:?}");
    for name in of_features {
        assert!(
            name.to_lowercase().contains("async"),
            "a feature adds `{name}` to the prelude, which a program may have from another glob"
        );
    }
}

/// Checks a program against the library with some features; returns what the compiler says if it fails.
fn check(name: &str, features: &str, program: &str) -> Result<(), String> {
    let root = env!("CARGO_MANIFEST_DIR");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(dir.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"prelude\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         static-bus = {{ path = {root:?}, default-features = false, features = [{features}] }}\n"
    );
    fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    fs::copy(Path::new(root).join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    fs::write(dir.join("src/main.rs"), program).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["check", "--quiet"])
        .current_dir(&dir)
        .env("CARGO_TARGET_DIR", dir.join("target"))
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_program_with_two_globs_compiles_with_every_feature_if_it_does_with_none() {
    let program = "
        mod own {
            pub struct BusError;
            pub struct CascadeError;
            pub struct PublishError;
            pub struct Mailbox;
            pub struct Cascade;
            pub struct Timeline;
            pub struct Replay;
        }
        use own::*;
        use static_bus::prelude::*;
        struct Ping;
        query!(Ping -> u8);
        fn main() {
            let _ = (BusError, CascadeError, PublishError, Mailbox, Cascade, Timeline, Replay);
            let bus = BusBuilder::new().register_query_fn(|_: Ping| 1).build();
            bus.send(Ping);
        }
    ";
    for features in ["", "\"alloc\"", "\"async\", \"sim\", \"serde\""] {
        check("prelude-globs", features, program).unwrap();
    }
}

#[test]
fn without_alloc_the_macro_of_the_mailbox_names_the_feature() {
    let program = "
        use static_bus::prelude::*;
        struct Ping;
        event!(Ping);
        mailbox! { enum Posted { event Ping } }
        fn main() {}
    ";
    let error = check("prelude-mailbox", "", program).unwrap_err();
    let text = "error: `mailbox!` needs the feature `alloc` of `static-bus`, which is one of its default features";
    assert!(error.contains(text), "{error}");
    check("prelude-mailbox", "\"alloc\"", program).unwrap();
}
