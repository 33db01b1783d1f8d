//! The changes of an assignment that are committed.
//!
//! One commit is in progress at a time. Changes that are made meanwhile belong to the next commit. Changes are
//! numbered, and an acknowledgement waits until all changes up to its own are committed.

use std::time::{Duration, Instant};

use rdkafka::{
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode as Code,
};

/// The delay before the next commit after one that failed.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// The numbers of the changes and commits of an assignment.
pub(super) struct Commits {
    /// The number of the last change.
    changes: u64,
    /// The number of the last change that is committed.
    committed: u64,
    in_progress: Option<InProgress>,
    /// The earliest time of the next commit.
    not_before: Instant,
    last_failure: Option<Failure>,
    /// The number of commits that have ended.
    ended: u64,
}

/// A commit that is in progress.
pub(super) struct InProgress {
    change: u64,
    pub begun: Instant,
    /// The numbers and epochs of the partitions.
    pub partitions: Vec<(i32, u32)>,
}

struct Failure {
    /// The number of commits that have ended, this one included.
    ended: u64,
    change: u64,
    error: KafkaError,
}

/// A change whose commit is awaited.
#[derive(Clone, Copy)]
pub(in super::super) struct Ticket {
    change: u64,
    /// The number of commits that had ended when the ticket was made.
    ended: u64,
}

impl Commits {
    pub fn new() -> Self {
        Commits {
            changes: 0,
            committed: 0,
            in_progress: None,
            not_before: Instant::now(),
            last_failure: None,
            ended: 0,
        }
    }

    /// Counts a change.
    pub fn changed(&mut self) {
        self.changes += 1;
    }

    /// The ticket of all changes up to now.
    pub fn ticket(&self) -> Ticket {
        Ticket {
            change: self.changes,
            ended: self.ended,
        }
    }

    /// The outcome of the commit of a change, if it is known. A failure also after the change was [forgotten](Self::forget)
    /// with its partitions.
    pub fn outcome(&self, ticket: Ticket) -> Option<KafkaResult<()>> {
        let failure = self.last_failure.as_ref();
        let failure = failure.filter(|of| of.ended > ticket.ended && of.change >= ticket.change);
        match failure {
            Some(failure) => Some(Err(failure.error.clone())),
            None => (self.committed >= ticket.change).then_some(Ok(())),
        }
    }

    /// Returns `true` if there are changes to commit, and no commit is in progress.
    pub fn is_needed(&self) -> bool {
        self.in_progress.is_none() && self.committed < self.changes
    }

    /// Returns `true` if the last commit failed a moment ago.
    pub fn is_early(&self) -> bool {
        Instant::now() < self.not_before
    }

    /// Counts all changes as committed, because their partitions are gone.
    pub fn forget(&mut self) {
        self.committed = self.changes;
    }

    /// Begins a commit of all changes up to now.
    pub fn begin(&mut self, partitions: Vec<(i32, u32)>) {
        self.in_progress = Some(InProgress {
            change: self.changes,
            begun: Instant::now(),
            partitions,
        });
    }

    /// Ends the commit that is in progress. With `ends_leases`, a failure is one of all changes up to now: they are not
    /// committed by the next commit either.
    pub fn end(&mut self, result: &KafkaResult<()>, ends_leases: bool) -> Option<InProgress> {
        let ended = self.in_progress.take()?;
        self.ended += 1;
        match result {
            Ok(()) => self.committed = ended.change,
            Err(error) => {
                self.not_before = Instant::now() + RETRY_DELAY;
                // After a rebalance, the next commit or the loss of the partitions decides.
                if !has_moved(error) {
                    self.last_failure = Some(Failure {
                        ended: self.ended,
                        change: match ends_leases {
                            true => self.changes,
                            false => ended.change,
                        },
                        error: error.clone(),
                    });
                }
            }
        }
        Some(ended)
    }

    /// Returns `true` if the commit that is in progress contains one of these partitions.
    pub fn concerns(&self, numbers: &[i32]) -> bool {
        self.in_progress.as_ref().is_some_and(|commit| {
            let mut partitions = commit.partitions.iter();
            partitions.any(|(number, _)| numbers.contains(number))
        })
    }
}

/// Returns `true` if a commit failed because the group has moved the partitions.
fn has_moved(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::RebalanceInProgress
                | Code::AssignmentLost
        )
    )
}
