//! Each case of the suite fails for at least one engine with a fault, with a text that names the fault, and no case
//! fails for an engine without faults.

mod broken;

use std::{any::Any, thread, time::Duration};

use broken::{
    Broken,
    Fault::{self, *},
};
use static_bus_conformance::{Case, inspection_cases, run, scheduling_cases};

/// A fault, a case that fails for it, and a part of the text of the failure.
const FAILURES: &[(Fault, &str, &str)] = &[
    (
        DecodesBodiesAsText,
        "a_record_arrives_as_it_was_appended",
        "every byte (command): the body is 512 bytes instead of 256",
    ),
    (
        ReturnsOneResult,
        "each_record_of_an_append_has_its_result",
        "one result for each record",
    ),
    (
        IgnoresKinds,
        "twenty_topics_do_not_mix",
        "got records of another topic: ",
    ),
    (
        TruncatesNames,
        "names_that_are_equal_when_joined_do_not_mix",
        "with \".\" between the names",
    ),
    (
        LosesOneInAHundred,
        "fifty_members_share_five_thousand_records",
        "lost 50 of 5000 records: 42, 142, 242",
    ),
    (
        DeliversTwice,
        "fifty_members_share_five_thousand_records",
        "delivered more than once: ",
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
        DeliversTwice,
        "two_groups_each_get_everything",
        "delivered more than once: ",
    ),
    (
        ReplaysEvents,
        "a_group_of_an_event_begins_with_the_next_record",
        "after the creation of the late group",
    ),
    (
        DropsCommandsWithoutGroup,
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
        ReleasesToTheEnd,
        "sixteen_keys_keep_their_order_while_members_release_and_leave",
        "the next record",
    ),
    (
        ReleasesToTheEnd,
        "a_released_record_comes_before_the_next_of_its_key",
        "after the first was released",
    ),
    (
        IgnoresKeys,
        "a_key_goes_to_another_member_only_when_all_of_it_is_settled",
        "though the holder has records of the key",
    ),
    (
        HasOneKey,
        "a_held_key_blocks_no_other",
        "other: waited 10s for 8 records, and none came",
    ),
    (
        KeepsLeasesForever,
        "the_keys_of_a_silent_member_move_in_order",
        "other: waited 30s for 1 records, and none came",
    ),
    (
        ReleasesNothing,
        "a_released_record_comes_again_at_once",
        "the records of the waiting member",
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
        ReleasesRecordsOfOthers,
        "a_lost_lease_does_not_disturb_its_new_holder",
        "a third member got record 1",
    ),
    (
        AcknowledgesNothing,
        "an_acknowledged_record_never_comes_again",
        "the even ones were released, and 0 to 49 came",
    ),
    (
        DropsReleasedRecords,
        "a_hundred_released_records_are_all_consumable",
        "lost 100 of 100 records: 0 to 99",
    ),
    (
        DropsRecordsOfClosingMembers,
        "a_member_that_closes_releases_its_records",
        "second: waited 10s for 15 records, and none came",
    ),
    (
        DropsRecordsOfClosingMembers,
        "a_member_closed_and_reopened_mid_stream_loses_nothing",
        "lost ",
    ),
    (
        DropsRecordsOfClosingMembers,
        "ten_members_closing_at_once_lose_nothing",
        "lost 200 of 1200 records: 20 to 39",
    ),
    (
        ConfirmsBufferedRecords,
        "producers_dropped_mid_flight_lose_nothing_confirmed",
        "lost ",
    ),
    (
        ConfirmsBufferedRecords,
        "records_outlive_their_producer",
        "reader: waited 30s for 100 records, and none came",
    ),
    (
        PollsRarely,
        "a_waiting_member_gets_a_record_at_once",
        "query: it took 1",
    ),
    (
        DoesNotWait,
        "a_wait_ends_when_its_time_is_over",
        "a wait of 400ms was over in",
    ),
    (
        WaitsForeverForZero,
        "a_wait_ends_when_its_time_is_over",
        "not done 30s after the end of its wait",
    ),
    (
        ReturnsMoreThanAsked,
        "no_more_is_received_than_was_asked_for",
        "modest receives: asked for 1, got 2",
    ),
    (
        LosesRecordsOfDroppedReceives,
        "dropping_a_receive_loses_nothing",
        "lost ",
    ),
    (
        LosesRecordsOfDroppedReceives,
        "dropping_a_receive_of_queries_loses_nothing",
        "lost ",
    ),
    (
        ConfirmsNoKeys,
        "a_claim_is_granted_then_held_then_done",
        "a and b, after a is acknowledged",
    ),
    (
        GrantsEverything,
        "of_many_members_that_claim_a_key_one_gets_it",
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
        "another member claimed a key whose lease was renewed",
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
        "no key is remembered",
    ),
    (
        ClaimsForAllGroups,
        "each_group_claims_for_itself",
        "billing",
    ),
    (
        ReleasesClaimsOfOthers,
        "a_lost_claim_is_not_released_by_its_old_holder",
        "a key that its new holder renews",
    ),
    (
        ConfirmsNoKeys,
        "a_late_acknowledgement_confirms_the_key",
        "record 1 was acknowledged late",
    ),
    (
        ConfirmsKeysLast,
        "a_key_is_confirmed_no_later_than_its_record",
        "record 0 was settled before its key",
    ),
    (
        DeliversQueriesAgain,
        "a_query_is_delivered_once",
        "though every query was delivered",
    ),
    (
        ConsumesEveryKind,
        "a_topic_of_another_kind_is_refused",
        "consume accepts query other",
    ),
    (
        ListensToEveryKind,
        "a_topic_of_another_kind_is_refused",
        "listen accepts command other",
    ),
    (
        HasOneReplyChannel,
        "a_reply_reaches_its_own_process_once",
        "got records of another topic: ",
    ),
    (
        KeepsExpiredRecords,
        "an_expired_query_or_reply_is_not_delivered",
        "every fifth query has not expired, and 0 to 19 came",
    ),
    (
        KeepsExpiredRecords,
        "a_received_query_has_the_time_that_is_left",
        "the first expires",
    ),
    (
        AcceptsQueriesWithoutReceiver,
        "a_query_without_a_receiver_is_refused",
        "query lonely has no receiver, and its query is accepted",
    ),
    (
        KnowsReceiversThatReceive,
        "a_query_is_accepted_when_its_receiver_has_opened",
        "append: memory: query opened-0 has no receiver",
    ),
    (
        HasNoGrace,
        "a_query_is_accepted_while_its_receiver_restarts",
        "append: memory: query restarting has no receiver",
    ),
    (
        AcceptsQueriesWithoutReceiver,
        "a_query_is_refused_when_its_receiver_has_been_gone_for_the_grace_time",
        "query closed has had no receiver for ",
    ),
    (
        AcceptsQueriesWithoutReceiver,
        "a_query_that_no_worker_serves_has_no_handler",
        "a query ends: not done after 30s",
    ),
    (
        RefusesWholeAppends,
        "a_record_above_the_limit_is_refused_and_no_other",
        "query large, 1 bytes",
    ),
    (
        TakesSizesForOutages,
        "a_message_below_the_limit_becomes_a_dead_letter_with_a_long_error",
        "both are handled: not done after 30s",
    ),
    (
        HasNoHeadroom,
        "a_message_below_the_limit_becomes_a_dead_letter_with_a_long_error",
        "0 bytes of the body are stored, and 2",
    ),
    (
        DropsLargeRecords,
        "an_answer_above_the_limit_fails_its_query",
        "not an error that names 2097154 bytes: ",
    ),
    (
        ListsDeadLettersBackwards,
        "dead_letters_are_listed_in_order_and_complete",
        "in pages of 10, of 0 to 24 came 9, 8, 7",
    ),
    (
        RemovesDeadLettersUpTo,
        "a_removed_dead_letter_is_gone_and_no_other",
        "0, 4, 5 and 9 are removed",
    ),
    (
        CountsNothing,
        "the_backlog_counts_pending_and_waiting_records",
        "one 1: 0 pending and 10 waiting, but the backlog is",
    ),
    (
        LosesRecordsOfDroppedReceives,
        "twenty_thousand_pending_records_are_taken_over",
        "lost 20000 of 20000 records: 0 to 19999",
    ),
    (
        ForgetsEverythingOnRestart,
        "a_broker_restarted_twice_loses_nothing_confirmed",
        "lost ",
    ),
    (
        ForgetsEverythingOnRestart,
        "settled_records_stay_settled_after_a_restart",
        "second: waited 30s for 50 records, and none came",
    ),
    (
        ConfirmsBufferedRecords,
        "a_late_reply_is_dropped",
        "slow: waited 30s for 1 records, and none came",
    ),
    (
        ConfirmsBufferedRecords,
        "a_query_without_a_handler_fails_with_no_handler",
        "lost: waited 30s for 1 records, and none came",
    ),
    (
        ConfirmsBufferedRecords,
        "a_panic_in_a_handler_fails_its_query_only",
        "not `Remote`: ",
    ),
    (
        ConfirmsBufferedRecords,
        "a_failed_message_comes_again_before_the_next_of_its_key",
        "the failed message and those behind it: not done after 30s",
    ),
    (
        ConfirmsBufferedRecords,
        "a_hundred_failed_messages_are_all_handled",
        "a hundred messages, twice: not done after 30s",
    ),
    (
        DropsReleasedRecords,
        "a_message_whose_handler_is_cancelled_at_shutdown_goes_to_another_worker",
        "ten messages on the other worker: not done after 30s",
    ),
    (
        ConfirmsBufferedRecords,
        "a_message_that_cannot_be_decoded_is_dead_lettered_and_blocks_no_other",
        "the messages behind it: not done after 30s",
    ),
    (
        ConfirmsBufferedRecords,
        "a_dead_letter_is_complete_and_replayed_to_its_group_only",
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
        "the number of running handlers when each attempt began",
    ),
    (
        RenewsNothing,
        "ten_events_with_handlers_that_outlast_their_lease_run_ten_times",
        "of ten events, ",
    ),
    (
        ConfirmsBufferedRecords,
        "trace_and_correlation_arrive",
        "the command: not done after 30s",
    ),
    (
        ListsReplies,
        "topics_are_listed_with_their_sizes",
        "the topics that exist",
    ),
    (
        CountsNothing,
        "a_group_has_its_backlog_and_its_members",
        "event inspected: 9 and 10 unsettled records, and a member are expected, and its state is",
    ),
    (
        HidesHolders,
        "the_oldest_unsettled_records_are_shown_with_their_holder",
        "record 2 is with None",
    ),
    (
        InspectsAsMember,
        "an_inspection_changes_nothing",
        "no group was created",
    ),
    (
        CreatesTopicToList,
        "an_inspection_changes_nothing",
        "no topic was created",
    ),
    (
        IgnoresDueTimes,
        "a_record_that_cannot_be_scheduled_is_refused",
        "a record of query scheduled that is due later",
    ),
    (
        IgnoresDueTimes,
        "a_scheduled_record_comes_when_it_is_due_and_within_a_second",
        "command due: record 0 came before it was due",
    ),
    (
        RoundsDueTimes,
        "a_scheduled_record_comes_when_it_is_due_and_within_a_second",
        "command due: records came late by",
    ),
    (
        WaitsForTimesInThePast,
        "a_record_that_was_due_before_comes_at_once",
        "member: waited 10s for 3 records, and 2 came",
    ),
    (
        DropsHeadersOfScheduledRecords,
        "a_scheduled_record_arrives_as_it_was_appended",
        "the record that arrives",
    ),
    (
        RoundsDueTimes,
        "scheduled_records_of_a_key_come_in_the_order_in_which_they_are_due",
        "the order of the key",
    ),
    (
        IgnoresCancellationKeys,
        "a_cancelled_record_is_not_delivered_and_no_other",
        "a record that is not due cannot be cancelled",
    ),
    (
        IgnoresCancellationKeys,
        "a_record_replaces_the_one_with_its_cancellation_key",
        "the next one with the key",
    ),
    (
        ReplaysEvents,
        "an_event_that_is_due_goes_to_the_groups_of_that_time",
        "late got 0, though its group was created after the event was due",
    ),
    (
        DropsCommandsWithoutGroup,
        "a_command_that_is_due_without_members_waits",
        "member: waited 10s for 2 records, and 0 came",
    ),
    (
        DeliversTwice,
        "five_thousand_records_that_are_due_at_once_come_once",
        "delivered more than once: ",
    ),
    (
        ForgetsEverythingOnRestart,
        "scheduled_records_survive_a_restart",
        "its record is lost",
    ),
    (
        CountsNothing,
        "scheduled_records_are_counted",
        "scheduled and stored",
    ),
];

/// Cases that depend on the client only: they fail for no fault of an engine.
const OF_THE_CLIENT: &[&str] = &["a_query_that_nobody_answers_times_out"];

#[test]
fn each_fault_fails_a_case_that_names_it() {
    let failures = FAILURES.iter().map(|(fault, case, text)| {
        let found = thread::spawn(move || failure(*fault, case_named(case)));
        (fault, case, text, found)
    });
    let mut unnoticed = Vec::new();
    for (fault, case, text, found) in failures.collect::<Vec<_>>() {
        match found.join().unwrap() {
            Some(found) if found.contains(text) => println!("{fault:?}: {case}: {found}"),
            Some(found) => unnoticed.push(format!(
                "{fault:?}: {case} fails with {found:?}, not {text:?}"
            )),
            None => unnoticed.push(format!("{fault:?}: {case} passes")),
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}

#[test]
fn every_case_can_fail() {
    let never = |case: &Case<Broken>| FAILURES.iter().all(|(_, name, _)| *name != case.name);
    let of_the_engine = |case: &Case<Broken>| !OF_THE_CLIENT.contains(&case.name);
    let never: Vec<_> = cases().filter(never).filter(of_the_engine).collect();
    assert!(never.is_empty(), "no fault fails {never:?}");
}

#[test]
fn an_engine_without_faults_passes_every_case() {
    let running = cases().map(|case| (case.name, thread::spawn(|| failure(Nothing, case))));
    let failed: Vec<_> = running
        .collect::<Vec<_>>()
        .into_iter()
        .filter_map(|(name, found)| Some(format!("{name}: {}", found.join().unwrap()?)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn cases() -> impl Iterator<Item = Case<Broken>> {
    let all = static_bus_conformance::cases();
    let all = all.into_iter().chain(inspection_cases());
    all.chain(scheduling_cases())
}

fn case_named(name: &str) -> Case<Broken> {
    cases()
        .find(|case| case.name == name)
        .unwrap_or_else(|| panic!("no case {name}"))
}

/// The text of the failure of a case; `None` if it passes. In paused time, except for cases by the wall clock.
fn failure(fault: Fault, case: Case<Broken>) -> Option<String> {
    let is_scheduling = scheduling_cases::<Broken>()
        .iter()
        .any(|scheduling| scheduling.name == case.name);
    let checked = thread::spawn(move || match is_scheduling {
        true => {
            let broken = async move { Broken::new(fault) };
            run(case.name, broken, async |broken| case.run(broken).await);
        }
        false => {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build().unwrap();
            let broken = Broken::new(fault);
            let ended = runtime.block_on(async {
                tokio::time::timeout(Duration::from_secs(3600), case.run(&broken)).await
            });
            ended.expect("the case ends").expect("no case is skipped");
        }
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
