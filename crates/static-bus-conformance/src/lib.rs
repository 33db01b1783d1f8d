//! The contract of broker engines, as tests. Client and worker of `static-bus-remote` work on every engine that
//! passes them.
//!
//! A [`Harness`] connects to the broker, and [`conformance_tests!`] makes a test of each case:
//!
//! ```
//! use static_bus_remote::{MemoryBroker, transport::RECEIVER_GRACE};
//! use static_bus_conformance::{Capabilities, Harness};
//!
//! struct Fresh(MemoryBroker);
//!
//! impl Harness for Fresh {
//!     type Transport = MemoryBroker;
//!
//!     async fn connect(&self) -> MemoryBroker {
//!         self.0.clone()
//!     }
//!
//!     fn capabilities(&self) -> Capabilities {
//!         Capabilities::IN_PROCESS.with_receiver_grace(RECEIVER_GRACE)
//!     }
//! }
//!
//! static_bus_conformance::conformance_tests!(Fresh(MemoryBroker::new()));
//! ```
//!
//! The text of a failed case names the records that were lost, doubled or out of order. A case that needs
//! [capabilities](Capabilities) that the engine does not have is skipped, with a line on standard error. No case
//! waits forever: one in which the engine hangs fails with the name of the call that did not end.
//!
//! [`cases`] returns all cases, for other ways to run them. Those of [`Inspect`], which an engine need not implement, are
//! apart: [`inspection_tests!`] and [`inspection_cases`]. So are those of engines that keep records until they are due:
//! [`scheduling_tests!`] and [`scheduling_cases`].
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]

#[doc(hidden)]
pub mod backlog;
#[doc(hidden)]
pub mod callers;
mod capabilities;
mod case;
#[doc(hidden)]
pub mod claims;
#[doc(hidden)]
pub mod closing;
#[doc(hidden)]
pub mod dead_letters;
#[doc(hidden)]
pub mod groups;
#[doc(hidden)]
pub mod handlers;
mod harness;
#[doc(hidden)]
pub mod inspection;
#[doc(hidden)]
pub mod kinds;
#[doc(hidden)]
pub mod leases;
#[doc(hidden)]
pub mod limits;
#[doc(hidden)]
pub mod order;
#[doc(hidden)]
pub mod outage;
#[doc(hidden)]
pub mod payload;
#[doc(hidden)]
pub mod producers;
#[doc(hidden)]
pub mod queries;
#[doc(hidden)]
pub mod scheduling;
mod support;
#[doc(hidden)]
pub mod topics;
#[doc(hidden)]
pub mod waiting;

pub use capabilities::{Capabilities, Sharing};
pub use case::{Case, Outcome, Skipped, run};
pub use harness::Harness;

use static_bus_remote::transport::Inspect;

/// All cases, for other ways to run them than [`conformance_tests!`](crate::conformance_tests).
///
/// ```no_run
/// # use static_bus_conformance::{Harness, cases};
/// # async fn shown<H: Harness>(start: impl AsyncFn() -> H) {
/// for case in cases() {
///     match case.run(&start().await).await {
///         Ok(()) => println!("{}: kept", case.name),
///         Err(skipped) => println!("{}: {skipped}", case.name),
///     }
/// }
/// # }
/// ```
pub fn cases<H: Harness>() -> Vec<Case<H>> {
    crate::__conformance_cases!(__conformance_list)
}

/// The cases of [`Inspect`], which an engine need not implement, for other ways to
/// run them than [`inspection_tests!`](crate::inspection_tests).
pub fn inspection_cases<H: Harness<Transport: Inspect>>() -> Vec<Case<H>> {
    crate::__inspection_cases!(__conformance_list)
}

/// The cases of an engine that keeps records until they are [due](static_bus_remote::transport::Record::due), for other
/// ways to run them than [`scheduling_tests!`](crate::scheduling_tests).
pub fn scheduling_cases<H: Harness>() -> Vec<Case<H>> {
    crate::__scheduling_cases!(__conformance_list)
}

/// Returns `true` if the case with this name restarts the broker, which other cases must not share then.
pub fn restarts(case: &str) -> bool {
    let mut restarting = outage::RESTARTING.iter().chain(&scheduling::RESTARTING);
    restarting.any(|name| *name == case)
}

/// Makes a test of each case of an engine that keeps records until they are
/// [due](static_bus_remote::transport::Record::due).
///
/// The argument is that of [`conformance_tests!`](crate::conformance_tests).
#[macro_export]
macro_rules! scheduling_tests {
    (|$case:ident| $harness:expr) => {
        $crate::__scheduling_cases! { __conformance_tests |$case| $harness }
    };
    ($harness:expr) => {
        $crate::__scheduling_cases! { __conformance_tests $harness }
    };
}

/// Makes a test of each case of [`Inspect`].
///
/// The argument is that of [`conformance_tests!`](crate::conformance_tests).
#[macro_export]
macro_rules! inspection_tests {
    (|$case:ident| $harness:expr) => {
        $crate::__inspection_cases! { __conformance_tests |$case| $harness }
    };
    ($harness:expr) => {
        $crate::__inspection_cases! { __conformance_tests $harness }
    };
}

/// Makes a test of each case of the [conformance suite](crate).
///
/// The argument is an expression for a [`Harness`](crate::Harness). Each test evaluates it in an async block: it may
/// `.await` the start of a broker. In the form `|case| expression` it gets the name of the case, for brokers that
/// cases share.
#[macro_export]
macro_rules! conformance_tests {
    (|$case:ident| $harness:expr) => {
        $crate::__conformance_cases! { __conformance_tests |$case| $harness }
    };
    ($harness:expr) => {
        $crate::__conformance_cases! { __conformance_tests $harness }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ({ |$name:ident| $harness:expr } $($module:ident: $($case:ident)+;)+) => { $($(
        #[::core::prelude::v1::test]
        fn $case() {
            $crate::run(
                ::core::stringify!($case),
                async {
                    let $name: &::core::primitive::str = ::core::stringify!($case);
                    $harness
                },
                $crate::$module::$case,
            );
        }
    )+)+ };
    ({ $harness:expr } $($module:ident: $($case:ident)+;)+) => { $($(
        #[::core::prelude::v1::test]
        fn $case() {
            $crate::run(
                ::core::stringify!($case),
                async { $harness },
                $crate::$module::$case,
            );
        }
    )+)+ };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    ({} $($module:ident: $($case:ident)+;)+) => {
        vec![$($(
            Case::new(stringify!($case), |harness| Box::pin($crate::$module::$case(harness))),
        )+)+]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($then:ident $($input:tt)*) => {
        $crate::$then! {
            { $($input)* }
            payload:
                a_record_arrives_as_it_was_appended
                each_record_of_an_append_has_its_result;
            topics:
                twenty_topics_do_not_mix
                names_that_are_equal_when_joined_do_not_mix;
            groups:
                fifty_members_share_five_thousand_records
                fifty_groups_each_get_five_thousand_records
                two_groups_each_get_everything
                a_group_of_an_event_begins_with_the_next_record
                a_group_of_a_command_begins_with_the_oldest_record
                a_group_without_members_misses_nothing;
            order:
                sixteen_keys_keep_their_order_over_ten_members
                sixteen_keys_keep_their_order_while_members_release_and_leave
                a_released_record_comes_before_the_next_of_its_key
                a_key_goes_to_another_member_only_when_all_of_it_is_settled
                a_held_key_blocks_no_other
                the_keys_of_a_silent_member_move_in_order;
            leases:
                a_released_record_comes_again_at_once
                a_lease_that_runs_out_moves_the_record
                a_renewed_lease_keeps_the_record
                a_lost_lease_does_not_disturb_its_new_holder
                an_acknowledged_record_never_comes_again
                a_hundred_released_records_are_all_consumable;
            closing:
                a_member_that_closes_releases_its_records
                a_member_closed_and_reopened_mid_stream_loses_nothing
                ten_members_closing_at_once_lose_nothing;
            producers:
                producers_dropped_mid_flight_lose_nothing_confirmed
                records_outlive_their_producer;
            waiting:
                a_waiting_member_gets_a_record_at_once
                a_wait_ends_when_its_time_is_over
                no_more_is_received_than_was_asked_for
                dropping_a_receive_loses_nothing
                dropping_a_receive_of_queries_loses_nothing;
            claims:
                a_claim_is_granted_then_held_then_done
                of_many_members_that_claim_a_key_one_gets_it
                a_released_claim_is_free_again
                a_claim_that_runs_out_is_free_again
                a_renewed_claim_stays_held
                a_confirmed_key_is_forgotten_after_its_time
                without_deduplication_no_key_is_remembered
                each_group_claims_for_itself
                a_lost_claim_is_not_released_by_its_old_holder
                a_late_acknowledgement_confirms_the_key
                a_key_is_confirmed_no_later_than_its_record;
            queries:
                a_query_is_delivered_once
                a_reply_reaches_its_own_process_once
                an_expired_query_or_reply_is_not_delivered
                a_received_query_has_the_time_that_is_left
                a_query_without_a_receiver_is_refused
                a_query_is_accepted_when_its_receiver_has_opened
                a_query_is_accepted_while_its_receiver_restarts
                a_query_is_refused_when_its_receiver_has_been_gone_for_the_grace_time;
            limits:
                a_record_above_the_limit_is_refused_and_no_other
                a_message_below_the_limit_becomes_a_dead_letter_with_a_long_error
                an_answer_above_the_limit_fails_its_query;
            kinds:
                a_topic_of_another_kind_is_refused
                a_record_that_cannot_be_scheduled_is_refused;
            dead_letters:
                dead_letters_are_listed_in_order_and_complete
                a_removed_dead_letter_is_gone_and_no_other;
            backlog:
                the_backlog_counts_pending_and_waiting_records
                twenty_thousand_pending_records_are_taken_over;
            outage:
                a_broker_restarted_twice_loses_nothing_confirmed
                settled_records_stay_settled_after_a_restart;
            callers:
                a_query_that_nobody_answers_times_out
                a_query_that_no_worker_serves_has_no_handler
                a_late_reply_is_dropped
                a_query_without_a_handler_fails_with_no_handler
                a_panic_in_a_handler_fails_its_query_only;
            handlers:
                a_failed_message_comes_again_before_the_next_of_its_key
                a_hundred_failed_messages_are_all_handled
                a_message_whose_handler_is_cancelled_at_shutdown_goes_to_another_worker
                a_message_that_cannot_be_decoded_is_dead_lettered_and_blocks_no_other
                a_message_sent_again_with_its_idempotency_key_runs_once
                a_handler_that_outlasts_its_lease_and_fails_is_tried_again
                ten_events_with_handlers_that_outlast_their_lease_run_ten_times
                trace_and_correlation_arrive;
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __inspection_cases {
    ($then:ident $($input:tt)*) => {
        $crate::$then! {
            { $($input)* }
            inspection:
                topics_are_listed_with_their_sizes
                a_group_has_its_backlog_and_its_members
                the_oldest_unsettled_records_are_shown_with_their_holder
                an_inspection_changes_nothing
                scheduled_records_are_counted;
            handlers:
                a_dead_letter_is_complete_and_replayed_to_its_group_only;
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __scheduling_cases {
    ($then:ident $($input:tt)*) => {
        $crate::$then! {
            { $($input)* }
            scheduling:
                a_scheduled_record_comes_when_it_is_due_and_within_a_second
                a_record_that_was_due_before_comes_at_once
                a_scheduled_record_arrives_as_it_was_appended
                scheduled_records_of_a_key_come_in_the_order_in_which_they_are_due
                a_cancelled_record_is_not_delivered_and_no_other
                a_record_replaces_the_one_with_its_cancellation_key
                an_event_that_is_due_goes_to_the_groups_of_that_time
                a_command_that_is_due_without_members_waits
                five_thousand_records_that_are_due_at_once_come_once
                scheduled_records_survive_a_restart;
        }
    };
}

#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/src/writing-an-engine.md")]
    mod writing_an_engine {}
}
