//! Without faults, `SimBroker` keeps every promise that an engine within one process can keep. With the faults of
//! messages it keeps those that do not say when a record arrives, and, for duplicates, those of workers, which recognise
//! them.

use std::time::Duration;

use static_bus_conformance::{Capabilities, Case, Harness, Outcome, cases, inspection_cases};
use static_bus_remote::{
    testing::{Faults, SimBroker},
    transport::RECEIVER_GRACE,
};

struct Simulated(SimBroker);

impl Harness for Simulated {
    type Transport = SimBroker;

    async fn connect(&self) -> SimBroker {
        self.0.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::IN_PROCESS.with_receiver_grace(RECEIVER_GRACE)
    }
}

mod without_faults {
    use super::*;

    // By the wall clock.
    static_bus_conformance::scheduling_tests!(Simulated(
        SimBroker::seed(0).with_faults(Faults::none())
    ));
}

#[test]
fn without_faults_every_promise_is_kept() {
    for case in all_cases() {
        if let (Err(skipped), _) = run(&case, 0, Faults::none()) {
            eprintln!("{}: {skipped}", case.name);
        }
    }
}

/// The promises to handlers.
const HANDLERS: [&str; 9] = [
    "a_failed_message_comes_again_before_the_next_of_its_key",
    "a_hundred_failed_messages_are_all_handled",
    "a_message_whose_handler_is_cancelled_at_shutdown_goes_to_another_worker",
    "a_message_that_cannot_be_decoded_is_dead_lettered_and_blocks_no_other",
    "a_dead_letter_is_complete_and_replayed_to_its_group_only",
    "a_message_sent_again_with_its_idempotency_key_runs_once",
    "a_handler_that_outlasts_its_lease_and_fails_is_tried_again",
    "ten_events_with_handlers_that_outlast_their_lease_run_ten_times",
    "trace_and_correlation_arrive",
];

/// Promises about which records arrive, in which order, and not when.
const ORDER: [&str; 10] = [
    "a_record_arrives_as_it_was_appended",
    "twenty_topics_do_not_mix",
    "fifty_members_share_five_thousand_records",
    "two_groups_each_get_everything",
    "sixteen_keys_keep_their_order_over_ten_members",
    "sixteen_keys_keep_their_order_while_members_release_and_leave",
    "a_released_record_comes_before_the_next_of_its_key",
    "the_keys_of_a_silent_member_move_in_order",
    "ten_members_closing_at_once_lose_nothing",
    "producers_dropped_mid_flight_lose_nothing_confirmed",
];

#[test]
fn with_delays_nothing_is_lost_doubled_or_out_of_order() {
    let faults = Faults::none().with_delays(true).at_most(1000);
    let names = ORDER.into_iter().chain(HANDLERS);
    hold_with(faults, names);
}

#[test]
fn with_duplicates_workers_handle_each_message_once() {
    let faults = Faults::none().with_duplicates(true).at_most(1000);
    // The duplicate of a dead letter is a dead letter: its key is given up, so that it can be replayed. The other case
    // counts the records that a worker holds.
    let names = HANDLERS.into_iter().filter(|name| {
        !name.contains("dead_letter") && !name.contains("outlasts_its_lease_and_fails")
    });
    hold_with(faults, names);
}

fn all_cases() -> Vec<Case<Simulated>> {
    cases().into_iter().chain(inspection_cases()).collect()
}

/// Runs cases with seeds of their own.
fn hold_with(faults: Faults, names: impl Iterator<Item = &'static str>) {
    let cases = all_cases();
    let mut injected = 0;
    for name in names {
        let case = cases.iter().find(|case| case.name == name);
        let case = case.unwrap_or_else(|| panic!("no case is named {name}"));
        for seed in 0..5 {
            let (outcome, count) = run(case, seed, faults);
            assert!(outcome.is_ok(), "{name}, seed {seed}: {outcome:?}");
            injected += count;
        }
    }
    assert!(injected > 20, "{injected} faults");
}

/// Runs a case in paused time. Returns its outcome, and the number of faults.
fn run(case: &Case<Simulated>, seed: u64, faults: Faults) -> (Outcome, usize) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let sim = SimBroker::seed(seed).with_faults(faults);
        let harness = Simulated(sim.clone());
        let ended = tokio::time::timeout(Duration::from_secs(3600), case.run(&harness)).await;
        let outcome =
            ended.unwrap_or_else(|_| panic!("{}, seed {seed}: it does not end", case.name));
        (outcome, sim.faults().len())
    })
}
