//! A search finds the seeds that fail, and reduces their faults.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// Fails if an order is placed more than once.
async fn placed_once(sim: SimBroker) -> Result<(), Failure> {
    let done = shop(&sim).await?;
    order(&sim, 6).await?;
    sim.until_quiet(LONG).await?;
    let times = done.placed.lock().unwrap().len();
    (times == 6)
        .then_some(())
        .ok_or_else(|| format!("6 orders were placed {times} times").into())
}

#[test]
fn a_failure_is_reduced_to_the_fault_that_it_needs() {
    let failure = sim::find(0..1000, placed_once).expect("the handler is not idempotent");
    let [fault] = failure.faults() else {
        panic!("{failure}")
    };
    // A sender that has no answer, or a worker that is killed or cut off, between the effect and its acknowledgement.
    assert!(
        !matches!(fault.fault, Fault::Duplicate | Fault::Delay(_)),
        "{failure}"
    );
    assert_eq!(failure.error(), "6 orders were placed 7 times");
    assert!(!failure.injected().is_empty());

    let text = failure.to_string();
    let seed = failure.seed();
    for part in [
        &format!(
            "the scenario fails with seed {seed}: 6 orders were placed 7 times\nIt needs 1 of the "
        ),
        &format!("- {fault}\n"),
        &format!(
            "To repeat it: `sim::search([{seed}], …)`, or `SimBroker::seed({seed})` in paused time."
        ),
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(failure.log().iter().any(|line| line.contains("FAULT")));

    // The seed alone finds the same failure.
    let again = sim::find([seed], placed_once).unwrap();
    assert_eq!(again.to_string(), text);
}

#[test]
fn a_failure_that_needs_two_faults_has_two_and_as_early_as_possible() {
    let two_duplicates = async |sim: SimBroker| {
        let sim = sim.clone();
        shop(&sim).await?;
        order(&sim, 12).await?;
        sim.until_quiet(LONG).await?;
        let faults = sim.faults();
        let duplicates = faults.iter().filter(|f| f.fault == Fault::Duplicate);
        match duplicates.count() {
            0 | 1 => Ok(()),
            _ => Err(Failure::from("two duplicates")),
        }
    };
    // The last seed has more faults than it needs.
    let failures = (0..1000).filter_map(|seed| sim::find([seed], two_duplicates));
    let mut failures = failures.filter(|failure| failure.injected().len() > 2);
    let failure = failures.next().expect("a seed with two duplicates");
    let faults = failure.faults();
    assert_eq!(faults.len(), 2, "{failure}");
    assert!(faults.iter().all(|fault| fault.fault == Fault::Duplicate));
    // No earlier message of their kind can be duplicated instead.
    let mut numbers: Vec<_> = faults.iter().map(|fault| fault.number).collect();
    if faults[0].call == faults[1].call {
        assert_eq!(numbers, [1, 2], "{failure}");
    } else {
        numbers.dedup();
        assert_eq!(numbers, [1], "{failure}");
    }
}

#[test]
fn a_scenario_that_fails_without_faults_says_so() {
    let failure = sim::find(0..10, async |_| Err::<(), _>("always")).unwrap();
    assert_eq!(failure.seed(), 0);
    assert_eq!(failure.faults(), []);
    let text = failure.to_string();
    assert!(
        text.starts_with("the scenario fails with seed 0: always\nIt fails without any fault.\n"),
        "{text}"
    );
}

#[test]
fn a_panic_is_a_failure_and_search_panics_with_its_text() {
    let search = || {
        sim::search(5..10, async |_| -> Result<(), String> {
            assert_eq!(1 + 1, 3, "arithmetic");
            Ok(())
        });
    };
    let panic = catch_unwind(AssertUnwindSafe(search)).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(
        text.starts_with("the scenario fails with seed 5: assertion"),
        "{text}"
    );
    assert!(text.contains("arithmetic"), "{text}");
}

#[test]
fn a_scenario_that_does_not_end_is_a_failure() {
    let failure = sim::find([0], async |sim| {
        shop(&sim).await?;
        std::future::pending::<Result<(), Failure>>().await
    });
    let error = "it has not ended after 3600s of simulated time";
    assert_eq!(failure.unwrap().error(), error);
}

#[test]
fn the_error_of_a_first_start_is_that_of_the_process() {
    in_paused_time(async {
        let sim = SimBroker::seed(0);
        let failed = sim.process("broken", async |_| Err::<(), _>("no database"));
        assert_eq!(failed.await, Err("no database"));
        sim.until_quiet(LONG).await.unwrap();
    });
}
