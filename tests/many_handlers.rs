//! A generated program with many handlers compiles under the default `recursion_limit`.

use std::fmt::Write;
use std::process::Command;
use std::{env, fs, path::PathBuf};

fn program(handlers: usize, modules: bool) -> String {
    let mut out = String::from("use static_bus::prelude::*;\n");
    for i in 0..handlers {
        let _ = writeln!(
            out,
            "struct Q{i}; query!(Q{i} -> usize); struct H{i};\n\
             impl<B> QueryHandler<Q{i}, B> for H{i} {{ fn handle(&self, _: Q{i}, _: &B) -> usize {{ {i} }} }}"
        );
    }
    out += "fn main() {\n let bus = BusBuilder::new()\n";
    for first in (0..handlers).step_by(if modules { 40 } else { 1 }) {
        if modules {
            out += "  .mount(hlist![";
            for i in first..handlers.min(first + 40) {
                let _ = write!(out, "on_query::<Q{i}, _>(H{i}), ");
            }
            out += "])\n";
        } else {
            let _ = writeln!(out, "  .register_query::<Q{first}, _>(H{first})");
        }
    }
    out += "  .build();\n let mut sum = 0;\n";
    for i in 0..handlers {
        let _ = writeln!(out, " sum += bus.send::<Q{i}>(Q{i});");
    }
    let _ = write!(
        out,
        " assert_eq!(sum, {});\n}}\n",
        handlers * (handlers - 1) / 2
    );
    out
}

fn check(handlers: usize, modules: bool, next_solver: bool) {
    let root = env!("CARGO_MANIFEST_DIR");
    let name = format!("many-{handlers}-{modules}-{next_solver}");
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&name);
    fs::create_dir_all(dir.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nstatic-bus = {{ path = {root:?} }}\n"
    );
    fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    fs::copy(
        PathBuf::from(root).join("Cargo.lock"),
        dir.join("Cargo.lock"),
    )
    .unwrap();
    fs::write(dir.join("src/main.rs"), program(handlers, modules)).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["check", "--quiet"])
        .current_dir(&dir)
        .env("CARGO_TARGET_DIR", dir.join("target"));
    if next_solver {
        cargo
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Znext-solver=globally -Awarnings");
    } else {
        cargo.env("RUSTFLAGS", "-Awarnings");
    }
    let output = cargo.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn three_hundred_in_modules() {
    check(300, true, false);
}
#[test]
fn three_hundred_in_one_chain() {
    check(300, false, false);
}
#[test]
fn three_hundred_in_modules_under_the_next_solver() {
    check(300, true, true);
}
#[test]
fn three_hundred_in_one_chain_under_the_next_solver() {
    check(300, false, true);
}
#[test]
#[ignore = "minutes: run with `cargo test --test many_handlers -- --ignored`"]
fn one_thousand() {
    for modules in [true, false] {
        for next_solver in [false, true] {
            check(1000, modules, next_solver);
        }
    }
}
