//! Generated programs with many handlers compile under the default `recursion_limit`, and what remains of limits.

use std::fmt::Write;
use std::process::{Command, Output};
use std::{env, fs, path::PathBuf};

/// A program with queries, registered in modules of this size, or without a size in one chain.
fn program(handlers: usize, module: Option<usize>) -> String {
    let mut out = String::from("use static_bus::prelude::*;\n");
    for i in 0..handlers {
        let _ = writeln!(
            out,
            "struct Q{i}; query!(Q{i} -> usize); struct H{i};\n\
             impl<B> QueryHandler<Q{i}, B> for H{i} {{ fn handle(&self, _: Q{i}, _: &B) -> usize {{ {i} }} }}"
        );
    }
    out += "fn main() {\n let bus = BusBuilder::new()\n";
    for first in (0..handlers).step_by(module.unwrap_or(1)) {
        if let Some(module) = module {
            out += "  .mount(hlist![";
            for i in first..handlers.min(first + module) {
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

/// A program with a chain of events: each subscriber of one publishes the next.
fn chain(events: usize, subscribers: usize) -> String {
    let mut out =
        String::from("use static_bus::{asynchronous::BusError, prelude::*};\nstruct H;\n");
    for i in 0..=events {
        let _ = writeln!(out, "struct E{i}; event!(E{i});");
    }
    for i in 0..events {
        let next = i + 1;
        let _ = writeln!(
            out,
            "impl<B: AsyncPublishEvent<E{next}>> AsyncEventHandler<E{i}, B> for H {{\n\
             async fn handle(&self, _: &E{i}, bus: &B) -> Result<(), BusError> {{\n\
             bus.publish_async(&E{next}).await }} }}"
        );
    }
    out += "fn main() {\n let bus = BusBuilder::new()\n";
    for i in 0..events * subscribers {
        let _ = writeln!(out, "  .subscribe_async::<E{}, _>(H)", i / subscribers);
    }
    out += "  .build();\n assert!(size_of_val(&bus.publish_async(&E0)) > 0);\n}\n";
    out
}

/// The output of `cargo check`, or of another command, for a program.
fn cargo(job: &str, name: &str, program: &str, next_solver: bool) -> Output {
    let root = env!("CARGO_MANIFEST_DIR");
    let programs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("many-handlers");
    let dir = programs.join(name);
    fs::create_dir_all(dir.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nstatic-bus = {{ path = {root:?}, features = [\"async\"] }}\n"
    );
    fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    fs::copy(
        PathBuf::from(root).join("Cargo.lock"),
        dir.join("Cargo.lock"),
    )
    .unwrap();
    fs::write(dir.join("src/main.rs"), program).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([job, "--quiet"]).current_dir(&dir).env(
        "CARGO_TARGET_DIR",
        programs.join(if next_solver { "next" } else { "target" }),
    );
    if next_solver {
        cargo
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Znext-solver=globally -Awarnings");
    } else {
        cargo.env("RUSTFLAGS", "-Awarnings");
    }
    cargo.output().unwrap()
}

fn check(handlers: usize, modules: bool, next_solver: bool) {
    let name = format!("many-{handlers}-{modules}-{next_solver}");
    let program = program(handlers, modules.then_some(40));
    assert_success(cargo("check", &name, &program, next_solver));
}
fn assert_success(output: Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
fn assert_error(output: Output, text: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains(text), "{stderr}");
    assert!(stderr.contains("#![recursion_limit = \"256\"]"), "{stderr}");
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
fn two_hundred_subscribers_of_one_event_under_the_next_solver() {
    assert_success(cargo("check", "event-of-200", &chain(1, 200), true));
}
#[test]
fn publishes_nest_ten_deep_and_deeper_with_a_higher_limit_or_a_box() {
    let build = |name, program: &str| cargo("build", name, program, false);
    assert_success(build("nested-10", &chain(10, 1)));
    assert_success(build("nested-6-of-8", &chain(6, 8)));
    assert_success(build("nested-4-of-64", &chain(4, 64)));
    let too_deep = chain(14, 1);
    let output = build("nested-14", &too_deep);
    assert_error(output, "queries overflow the depth limit!");
    let raised = format!("#![recursion_limit = \"256\"]\n{too_deep}");
    assert_success(build("nested-14-raised", &raised));
    let call = "bus.publish_async(&E8)";
    let boxed = too_deep.replace(call, &format!("Box::pin({call})"));
    assert_ne!(boxed, too_deep);
    assert_success(build("nested-14-boxed", &boxed));
}
#[test]
fn a_module_has_five_hundred_entries() {
    let module = program(500, Some(500));
    assert_success(cargo("check", "module-500", &module, false));
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
