use crate::market::{Entry, inputs, whole_journal_of};
use static_bus::time::Timeline;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::Command;

fn state_hash() -> u64 {
    let timeline = Timeline::new().shuffle_ties(7);
    let journal: Vec<Entry> = whole_journal_of(&timeline, inputs(20_000));
    let mut hasher = DefaultHasher::new(); // unlike `RandomState`, the same in every process
    journal.hash(&mut hasher);
    hasher.finish()
}

const MARK: &str = "state hash: ";

#[test]
#[ignore = "runs as the second process of `the_same_input_gives_the_same_state_in_any_process`"]
fn the_second_process() {
    println!("\n{MARK}{}", state_hash());
}

#[test]
fn the_same_input_gives_the_same_state_in_any_process() {
    let hash_elsewhere = || {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--nocapture",
                "--exact",
                "determinism::the_second_process",
            ])
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let hash = stdout.lines().find_map(|line| line.strip_prefix(MARK));
        hash.expect(&stdout).to_owned()
    };
    let (first, second) = (hash_elsewhere(), hash_elsewhere());
    assert_eq!(first, second);
    assert_eq!(first, state_hash().to_string());
}

#[test]
fn the_seed_of_the_ties_shows_in_the_state() {
    let journal_under =
        |seed| whole_journal_of(&Timeline::new().shuffle_ties(seed), inputs(20_000));
    assert_ne!(journal_under(7), journal_under(8));
}
