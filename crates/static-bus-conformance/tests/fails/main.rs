//! The conformance suite notices what an engine does wrong, and says what: each case fails for at least one
//! engine that breaks its promise, and none for an engine that keeps them all.

mod broken;

use std::{any::Any, thread};

use broken::{
    Broken,
    Fault::{self, *},
};
use static_bus_conformance::{Case, cases, run};

/// An engine's fault, a case that fails of it, and a part of what the case says then.
const FAILURES: &[(Fault, &str, &str)] = &[
    (
        TakesBodiesForText,
        "a_record_arrives_as_it_was_appended",
        "every byte (command): the body is 512 bytes instead of 256",
    ),
    (
        AnswersForTheBatch,
        "each_record_of_an_append_has_its_result",
        "one result for each record",
    ),
    (
        ForgetsTheKind,
        "twenty_topics_do_not_mix",
        "got records that belong elsewhere: ",
    ),
    (
        CutsNames,
        "names_that_read_alike_when_joined_stay_apart",
        "with \".\" between",
    ),
    (
        LosesOneInAHundred,
        "fifty_members_share_five_thousand_records",
        "lost 50 of 5000 records: 42, 142, 242",
    ),
    (
        HandsOutTwice,
        "fifty_members_share_five_thousand_records",
        "handed out more than once: ",
    ),
    (
        LosesOneInAHundred,
        "fifty_groups_each_get_five_thousand_records",
        "lost 50 of 5000 records: 42, 142, 242",
    ),
    (
        HasOneGroup,
        "two_groups_each_get_everything",
        "lost 500 of 500 records: 0 to 499",
    ),
    (
        HandsOutTwice,
        "two_groups_each_get_everything",
        "handed out more than once: ",
    ),
    (
        ReplaysEvents,
        "a_group_of_an_event_begins_with_the_next_record",
        "since the late group existed",
    ),
    (
        CommandsForThoseWhoListen,
        "a_group_of_a_command_begins_with_the_oldest_record",
        "first: waited 30s for 100 records, and none came",
    ),
    (
        ForgetsGroupsWithoutMembers,
        "a_group_without_members_misses_nothing",
        "second: waited 30s for 95 records, and none came",
    ),
    (
        IgnoresKeys,
        "sixteen_keys_keep_their_order_over_ten_members",
        "key ",
    ),
    (
        PutsBackAtTheEnd,
        "a_record_that_is_given_back_comes_before_the_next_of_its_key",
        "after the first was given back",
    ),
    (
        IgnoresKeys,
        "a_key_goes_to_another_member_only_when_all_of_it_is_settled",
        "though the holder has records of the key",
    ),
    (
        HasOneKey,
        "a_key_that_is_held_holds_up_no_other",
        "other: waited 10s for 17 records, and none came",
    ),
    (
        KeepsLeasesForever,
        "a_key_outlives_its_holder_in_order",
        "other: waited 30s for 1 records, and none came",
    ),
    (
        ReleasesNothing,
        "a_released_record_comes_again_at_once",
        "what the waiting member got",
    ),
    (
        KeepsLeasesForever,
        "a_lease_that_runs_out_moves_the_record",
        "other: waited 30s for 1 records, and none came",
    ),
    (
        RenewsNothing,
        "a_renewed_lease_keeps_the_record",
        "another member got 1 to 3, though its lease was renewed",
    ),
    (
        ReleasesForOthers,
        "a_lost_lease_does_not_disturb_its_new_holder",
        "a third member got record 1",
    ),
    (
        AcknowledgesNothing,
        "an_acknowledged_record_never_comes_again",
        "the even ones were given back, and 0 to 49 came",
    ),
    (
        DropsReleased,
        "a_hundred_released_records_are_all_consumable",
        "lost 100 of 100 records: 0 to 99",
    ),
    (
        DropsWhatClosingMembersHold,
        "a_member_that_closes_gives_back_what_it_held",
        "second: waited 10s for 15 records, and none came",
    ),
    (
        DropsWhatClosingMembersHold,
        "a_member_closed_and_reopened_mid_stream_loses_nothing",
        "lost ",
    ),
    (
        DropsWhatClosingMembersHold,
        "ten_members_closing_at_once_lose_nothing",
        "lost 200 of 1200 records: 20 to 39",
    ),
    (
        ConfirmsWhatIsInABuffer,
        "producers_dropped_mid_flight_lose_nothing_confirmed",
        "lost ",
    ),
    (
        ConfirmsWhatIsInABuffer,
        "records_outlive_their_producer",
        "reader: waited 30s for 100 records, and none came",
    ),
    (
        LooksEverySoOften,
        "a_waiting_member_gets_a_record_at_once",
        "query: it took 1",
    ),
    (
        DoesNotWait,
        "a_wait_ends_when_its_time_is_over",
        "a wait of 400ms was over in",
    ),
    (
        TakesZeroForEver,
        "a_wait_ends_when_its_time_is_over",
        "still waiting 30s after its time was over",
    ),
    (
        FetchesAhead,
        "no_more_is_received_than_was_asked_for",
        "modest receives: asked for 1, got 2",
    ),
    (
        LosesWhatIsOnItsWay,
        "dropping_a_receive_loses_nothing",
        "lost ",
    ),
    (
        ConfirmsNoKeys,
        "a_claim_is_granted_then_held_then_done",
        "a and b, when a is acknowledged",
    ),
    (
        GrantsEverything,
        "of_many_who_claim_a_key_one_gets_it",
        "key 0 is granted to 50 members",
    ),
    (
        ClaimsForAllGroups,
        "a_released_claim_is_free_again",
        "it was released",
    ),
    (
        ClaimsForAllGroups,
        "a_claim_that_runs_out_is_free_again",
        "key was confirmed, though no record of it was done",
    ),
    (
        RenewsRecordsAlone,
        "a_renewed_claim_stays_held",
        "another claimed a key whose lease was renewed",
    ),
    (
        ConfirmsNoKeys,
        "a_confirmed_key_is_forgotten_after_its_time",
        "a confirmed key is done or forgotten, not held",
    ),
    (
        RemembersForever,
        "a_confirmed_key_is_forgotten_after_its_time",
        "still remembered after",
    ),
    (
        RemembersForever,
        "without_deduplication_no_key_is_remembered",
        "nothing is remembered",
    ),
    (
        ClaimsForAllGroups,
        "each_group_claims_for_itself",
        "billing",
    ),
    (
        GivesUpByKeyAlone,
        "a_lost_claim_is_not_given_up_by_its_old_owner",
        "a key that its new owner renews",
    ),
    (
        ConfirmsNoKeys,
        "a_late_acknowledgement_confirms_the_key",
        "record 1 was handled, if late",
    ),
    (
        ConfirmsKeysLast,
        "a_key_is_confirmed_no_later_than_its_record",
        "record 0 was settled before its key",
    ),
    (
        DeliversQueriesAgain,
        "a_query_is_handed_out_once",
        "though every query was received",
    ),
    (
        ReadsEveryKind,
        "a_topic_of_another_kind_is_refused",
        "a consumer of query other",
    ),
    (
        HasOneReplyChannel,
        "a_reply_reaches_its_own_process_once",
        "got records that belong elsewhere: ",
    ),
    (
        KeepsWhatHasExpired,
        "what_has_expired_is_not_handed_out",
        "every fifth query is alive, and 0 to 19 came",
    ),
    (
        ListsDeadLettersBackwards,
        "dead_letters_are_listed_in_order_and_whole",
        "in pages of 10, of 0 to 24 came 9, 8, 7",
    ),
    (
        RemovesDeadLettersUpTo,
        "a_removed_dead_letter_is_gone_and_no_other",
        "0, 4, 5 and 9 are removed",
    ),
    (
        CountsNothing,
        "the_backlog_tells_what_is_pending_and_what_waits",
        "one 1: 0 pending and 10 waiting, but the backlog is",
    ),
    (
        LosesWhatIsOnItsWay,
        "a_backlog_of_twenty_thousand_pending_is_taken_over",
        "lost 20000 of 20000 records: 0 to 19999",
    ),
    (
        ForgetsEverythingOnRestart,
        "a_broker_restarted_twice_loses_nothing_confirmed",
        "lost ",
    ),
    (
        ForgetsEverythingOnRestart,
        "what_is_settled_stays_settled_over_a_restart",
        "second: waited 30s for 50 records, and none came",
    ),
    (
        ConfirmsWhatIsInABuffer,
        "a_late_reply_is_dropped",
        "slow: waited 30s for 1 records, and none came",
    ),
    (
        ConfirmsWhatIsInABuffer,
        "a_query_without_a_handler_is_told_so",
        "lost: waited 30s for 1 records, and none came",
    ),
    (
        ConfirmsWhatIsInABuffer,
        "a_handlers_panic_fails_its_query_alone",
        "instead of remote: ",
    ),
    (
        ConfirmsWhatIsInABuffer,
        "a_failed_message_comes_again_before_the_next_of_its_key",
        "the failed one and those behind it: not done after 30s",
    ),
    (
        ConfirmsWhatIsInABuffer,
        "a_hundred_failed_messages_are_all_handled",
        "a hundred messages, twice: not done after 30s",
    ),
    (
        DropsReleased,
        "what_runs_when_a_worker_closes_is_cancelled_and_handled_by_another",
        "the other handles all: not done after 30s",
    ),
    (
        ConfirmsWhatIsInABuffer,
        "a_message_that_cannot_be_read_is_buried_and_blocks_nobody",
        "those behind it: not done after 30s",
    ),
    (
        ConfirmsWhatIsInABuffer,
        "a_dead_letter_is_whole_and_goes_back_to_the_group_that_failed",
        "three attempts: not done after 30s",
    ),
    (
        GrantsEverything,
        "a_message_sent_again_with_its_idempotency_key_runs_once",
        "[(1, 1), (1, 1)]",
    ),
    (
        RenewsNothing,
        "a_handler_that_outlasts_its_lease_and_fails_is_tried_again",
        "how many ran when each attempt began",
    ),
    (
        RenewsNothing,
        "ten_events_with_handlers_that_outlast_their_lease_run_ten_times",
        "ten events, and ",
    ),
    (
        ConfirmsWhatIsInABuffer,
        "trace_and_correlation_arrive",
        "the command: not done after 30s",
    ),
];

/// Kept by the caller alone, whatever the engine does: a query is over when its time is.
const OF_THE_CALLER: &[&str] = &["a_query_that_nobody_answers_times_out"];

#[test]
fn each_broken_promise_is_noticed_and_named() {
    let failures = FAILURES.iter().map(|(fault, case, text)| {
        let said = thread::spawn(move || said(*fault, case_named(case)));
        (fault, case, text, said)
    });
    let mut unnoticed = Vec::new();
    for (fault, case, text, said) in failures.collect::<Vec<_>>() {
        match said.join().unwrap() {
            Some(said) if said.contains(text) => println!("{fault:?}: {case}: {said}"),
            Some(said) => unnoticed.push(format!("{fault:?}: {case} says {said:?}, not {text:?}")),
            None => unnoticed.push(format!("{fault:?}: {case} passes")),
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}

#[test]
fn every_case_can_fail() {
    let never = |case: &Case<Broken>| FAILURES.iter().all(|(_, name, _)| *name != case.name);
    let of_the_engine = |case: &Case<Broken>| !OF_THE_CALLER.contains(&case.name);
    let never: Vec<_> = cases()
        .into_iter()
        .filter(never)
        .filter(of_the_engine)
        .collect();
    assert!(never.is_empty(), "no engine fails {never:?}");
}

#[test]
fn an_engine_that_does_nothing_wrong_passes_them_all() {
    let running = cases()
        .into_iter()
        .map(|case| (case.name, thread::spawn(|| said(Nothing, case))));
    let failed: Vec<_> = running
        .collect::<Vec<_>>()
        .into_iter()
        .filter_map(|(name, said)| Some(format!("{name}: {}", said.join().unwrap()?)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn case_named(name: &str) -> Case<Broken> {
    let mut cases = cases().into_iter();
    cases
        .find(|case| case.name == name)
        .unwrap_or_else(|| panic!("no case {name}"))
}

/// What the case says if it fails.
fn said(fault: Fault, case: Case<Broken>) -> Option<String> {
    let checked = thread::spawn(move || {
        let broken = async move { Broken::new(fault) };
        run(case.name, broken, async |broken| case.run(broken).await);
    });
    checked.join().err().map(text)
}

fn text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map_or_else(String::new, |text| text.to_string()),
    }
}
