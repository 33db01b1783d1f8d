//! The number of instructions of a call through the bus, counted by `benches/instructions.rs` under valgrind.
//!
//! All counts are of one run on one machine, and are compared with each other. The mailbox does more than a
//! direct call: its own counts have bounds, because they must not rise.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::LazyLock;

/// The most instructions to post and settle one message: 57, rounded up, because the compiler's choices vary by one or two.
#[cfg(target_arch = "x86_64")]
const ONE_POSTED: u64 = 60;
/// The same for 1,000 messages that are all posted before they are settled: 73,982.
#[cfg(target_arch = "x86_64")]
const THOUSAND_POSTED: u64 = 74_000;

/// The same for three nested calls within the layer `Timed`, the calls included: 238 and 258. `nested_by_bus` is without.
#[cfg(target_arch = "x86_64")]
const THREE_TIMED: [(&str, u64); 2] = [("local", 240), ("shared", 260)];

/// The same for an input of three fields that a log records, on the thread of the bus: 315 and 319 in two builds of the
/// same source.
#[cfg(target_arch = "x86_64")]
const RECORDED: u64 = 330;

#[test]
#[ignore = "needs valgrind: run scripts/instructions"]
fn without_the_mailbox_a_call_takes_the_instructions_of_the_calls_by_hand() {
    for (pair, way) in [
        ("query", "call"),
        ("command", "call"),
        ("event_1", "call"),
        ("event_3", "call"),
        ("event_9", "call"),
        ("event_fallible", "succeeds"),
        ("event_fallible", "fails"),
        ("nested", "call"),
        ("counted", "call"),
        ("async_nested", "ready"),
        ("async_nested", "waits"),
    ] {
        let by_hand = count(&format!("{pair}_by_hand {way}"));
        let by_bus = count(&format!("{pair}_by_bus {way}"));
        assert_eq!(
            by_bus, by_hand,
            "{pair}: through the bus (left) and by hand (right)"
        );
    }
}

#[test]
#[ignore = "needs valgrind: run scripts/instructions"]
fn a_call_takes_the_same_on_a_bus_of_1_and_of_300_handlers() {
    let by_hand = count("handlers_none call");
    for handlers in [1, 10, 100, 300] {
        let by_bus = count(&format!("handlers_bus of_{handlers}"));
        assert_eq!(
            by_bus, by_hand,
            "{handlers} handlers (left) and none (right)"
        );
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
#[ignore = "needs valgrind: run scripts/instructions"]
fn a_posted_message_takes_no_more_than_it_did() {
    for (messages, bound) in [("one", ONE_POSTED), ("thousand", THOUSAND_POSTED)] {
        let posted = count(&format!("posted_and_settled {messages}"));
        assert!(
            posted <= bound,
            "{messages}: {posted} posted and settled, more than {bound}"
        );
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
#[ignore = "needs valgrind: run scripts/instructions"]
fn a_timed_call_takes_no_more_than_it_did() {
    for (counters, bound) in THREE_TIMED {
        let timed = count(&format!("timed_by_bus {counters}"));
        assert!(
            timed <= bound,
            "{counters}: {timed} for three calls, more than {bound}"
        );
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
#[ignore = "needs valgrind: run scripts/instructions"]
fn a_recorded_input_takes_no_more_than_it_did() {
    let recorded = count("recorded_input one");
    assert!(
        recorded <= RECORDED,
        "{recorded} to record an input, more than {RECORDED}"
    );
}

/// Callgrind's count for `function id`.
fn count(benchmark: &str) -> u64 {
    static COUNTS: LazyLock<BTreeMap<String, u64>> = LazyLock::new(run);
    let count = *COUNTS
        .get(benchmark)
        .unwrap_or_else(|| panic!("`{benchmark}` was not run, but {:?}", COUNTS.keys()));
    assert!(
        count > 5,
        "`{benchmark}` took {count} instructions: the call was optimised away"
    );
    count
}

/// Runs all benchmarks; prints and returns their counts.
fn run() -> BTreeMap<String, u64> {
    let output = Command::new(env!("CARGO"))
        .args([
            "bench",
            "--quiet",
            "--bench",
            "instructions",
            "--all-features",
            "--",
        ])
        .arg("--output-format=json")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "the benchmarks did not run; scripts/instructions installs missing programs:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut counts = BTreeMap::new();
    for line in output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| line.starts_with(b"{"))
    {
        let summary: serde_json::Value = serde_json::from_slice(line).unwrap();
        let name = [&summary["function_name"], &summary["id"]].map(|it| it.as_str().unwrap());
        let counted = &summary["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"];
        let counted = counted.as_u64().unwrap();
        println!("{counted:>6}  {} {}", name[0], name[1]);
        counts.insert(name.join(" "), counted);
    }
    counts
}
