//! The contract of broker engines, as tests. An engine that passes them supports everything that
//! is built on [`Transport`].
//!
//! A [`Harness`] connects to the broker, and [`conformance_tests!`] makes a test of each case:
//!
//! ```
//! use static_bus_remote::MemoryBroker;
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
//!         Capabilities::IN_PROCESS
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
//! [`cases`] returns all cases, for other ways to run them.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]

use std::{fmt, io::Write, panic, pin::Pin, time::Duration};

use static_bus_remote::Transport;

#[doc(hidden)]
pub mod backlog;
#[doc(hidden)]
pub mod callers;
mod capabilities;
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
#[doc(hidden)]
pub mod kinds;
#[doc(hidden)]
pub mod leases;
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
mod support;
#[doc(hidden)]
pub mod topics;
#[doc(hidden)]
pub mod waiting;

pub use capabilities::{Capabilities, Sharing};

/// A broker for one case, or a part of a broker that no other case uses.
pub trait Harness: Sync {
    /// The engine.
    type Transport: Transport;

    /// A further connection, as of another process. An engine within this process returns a
    /// handle to the same broker.
    fn connect(&self) -> impl Future<Output = Self::Transport> + Send;

    /// The capabilities of the engine.
    fn capabilities(&self) -> Capabilities;

    /// Whether [`restart`](Harness::restart) works. Default: `false`.
    fn restarts(&self) -> bool {
        false
    }

    /// Kills the broker, and starts it again with its stored records.
    fn restart(&self) -> impl Future<Output = ()> + Send {
        async { unreachable!("a harness whose broker restarts implements this") }
    }

    /// Whether a case may be skipped. If not, a skipped case fails. Default: `true`.
    fn may_skip(&self) -> bool {
        true
    }
}

/// The result of a case that did not panic.
pub type Outcome = Result<(), Skipped>;

/// The reason why a case was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped(pub &'static str);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped: {}", self.0)
    }
}

/// A promise and its test.
pub struct Case<H> {
    /// The promise.
    pub name: &'static str,
    run: for<'a> fn(&'a H) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>,
}

impl<H> Case<H> {
    /// Tests the promise, on tokio.
    ///
    /// # Panics
    /// If the promise is broken.
    ///
    /// # Errors
    /// [`Skipped`], if the engine does not have the capabilities for it.
    pub async fn run(&self, harness: &H) -> Outcome {
        (self.run)(harness).await
    }
}

impl<H> fmt::Debug for Case<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

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

/// Runs one case on its own runtime, as [`conformance_tests!`](crate::conformance_tests) does.
///
/// # Panics
/// If the promise is broken, or not checked within five minutes, or skipped by a harness that may not
/// [skip](Harness::may_skip).
pub fn run<H: Harness>(
    name: &str,
    harness: impl Future<Output = H>,
    case: impl AsyncFnOnce(&H) -> Outcome,
) {
    const TOO_LONG: Duration = Duration::from_secs(300);
    let runtime = Background(Some(
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .expect("a runtime"),
    ));
    let checked = async {
        let harness = harness.await;
        (case(&harness).await, harness.may_skip())
    };
    match runtime.block_on(async { tokio::time::timeout(TOO_LONG, checked).await }) {
        Ok((Ok(()), _)) => {}
        Ok((Err(skipped), false)) => panic!("{name} must not be skipped: {skipped}"),
        // Past the capture of tests' output, which would hide it.
        Ok((Err(skipped), true)) => {
            let _ = writeln!(std::io::stderr(), "{name}: {skipped}");
        }
        Err(_) => panic!("{name}: not checked after {TOO_LONG:?}"),
    }
}

/// A runtime that does not wait for tasks that hang.
struct Background(Option<tokio::runtime::Runtime>);

impl Background {
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.as_ref().expect("taken on drop").block_on(future)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
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
    ({ |$name:ident| $harness:expr } $($room:ident: $($case:ident)+;)+) => { $($(
        #[test]
        fn $case() {
            $crate::run(
                stringify!($case),
                async {
                    let $name: &str = stringify!($case);
                    $harness
                },
                $crate::$room::$case,
            );
        }
    )+)+ };
    ({ $harness:expr } $($room:ident: $($case:ident)+;)+) => { $($(
        #[test]
        fn $case() {
            $crate::run(
                stringify!($case),
                async { $harness },
                $crate::$room::$case,
            );
        }
    )+)+ };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    ({} $($room:ident: $($case:ident)+;)+) => {
        vec![$($(
            Case {
                name: stringify!($case),
                run: |harness| Box::pin($crate::$room::$case(harness)),
            },
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
                names_that_read_alike_when_joined_stay_apart;
            groups:
                fifty_members_share_five_thousand_records
                fifty_groups_each_get_five_thousand_records
                two_groups_each_get_everything
                a_group_of_an_event_begins_with_the_next_record
                a_group_of_a_command_begins_with_the_oldest_record
                a_group_without_members_misses_nothing;
            order:
                sixteen_keys_keep_their_order_over_ten_members
                a_record_that_is_given_back_comes_before_the_next_of_its_key
                a_key_goes_to_another_member_only_when_all_of_it_is_settled
                a_key_that_is_held_holds_up_no_other
                a_key_outlives_its_holder_in_order;
            leases:
                a_released_record_comes_again_at_once
                a_lease_that_runs_out_moves_the_record
                a_renewed_lease_keeps_the_record
                a_lost_lease_does_not_disturb_its_new_holder
                an_acknowledged_record_never_comes_again
                a_hundred_released_records_are_all_consumable;
            closing:
                a_member_that_closes_gives_back_what_it_held
                a_member_closed_and_reopened_mid_stream_loses_nothing
                ten_members_closing_at_once_lose_nothing;
            producers:
                producers_dropped_mid_flight_lose_nothing_confirmed
                records_outlive_their_producer;
            waiting:
                a_waiting_member_gets_a_record_at_once
                a_wait_ends_when_its_time_is_over
                no_more_is_received_than_was_asked_for
                dropping_a_receive_loses_nothing;
            claims:
                a_claim_is_granted_then_held_then_done
                of_many_who_claim_a_key_one_gets_it
                a_released_claim_is_free_again
                a_claim_that_runs_out_is_free_again
                a_renewed_claim_stays_held
                a_confirmed_key_is_forgotten_after_its_time
                without_deduplication_no_key_is_remembered
                each_group_claims_for_itself
                a_lost_claim_is_not_given_up_by_its_old_owner
                a_late_acknowledgement_confirms_the_key
                a_key_is_confirmed_no_later_than_its_record;
            queries:
                a_query_is_handed_out_once
                a_reply_reaches_its_own_process_once
                what_has_expired_is_not_handed_out;
            kinds:
                a_topic_of_another_kind_is_refused;
            dead_letters:
                dead_letters_are_listed_in_order_and_whole
                a_removed_dead_letter_is_gone_and_no_other;
            backlog:
                the_backlog_tells_what_is_pending_and_what_waits
                a_backlog_of_twenty_thousand_pending_is_taken_over;
            outage:
                a_broker_restarted_twice_loses_nothing_confirmed
                what_is_settled_stays_settled_over_a_restart;
            callers:
                a_query_that_nobody_answers_times_out
                a_late_reply_is_dropped
                a_query_without_a_handler_is_told_so
                a_handlers_panic_fails_its_query_alone;
            handlers:
                a_failed_message_comes_again_before_the_next_of_its_key
                a_hundred_failed_messages_are_all_handled
                what_runs_when_a_worker_closes_is_cancelled_and_handled_by_another
                a_message_that_cannot_be_read_is_buried_and_blocks_nobody
                a_dead_letter_is_whole_and_goes_back_to_the_group_that_failed
                a_message_sent_again_with_its_idempotency_key_runs_once
                a_handler_that_outlasts_its_lease_and_fails_is_tried_again
                ten_events_with_handlers_that_outlast_their_lease_run_ten_times
                trace_and_correlation_arrive;
        }
    };
}

#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/src/writing-an-engine.md")]
    mod writing_an_engine {}
}
