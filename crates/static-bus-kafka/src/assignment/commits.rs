//! Which changes the broker has.
//!
//! One commit is on its way at a time; what changes meanwhile goes with the next. Each change has a number, and
//! whoever made it waits until the broker has all up to that.

use std::time::{Duration, Instant};

use rdkafka::{
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode as Code,
};

/// How long nothing is committed after that failed.
const AGAIN: Duration = Duration::from_millis(200);

/// The changes of a member's partitions.
pub(super) struct Commits {
    /// The number of the last change that is to be committed.
    changes: u64,
    /// Up to this number all is committed.
    committed: u64,
    on_its_way: Option<Committing>,
    again: Instant,
    failed: Option<Failed>,
    outcomes: u64,
}

/// A commit that is on its way.
pub(super) struct Committing {
    change: u64,
    pub begun: Instant,
    /// Partitions, each with which of the times it is that the member has it.
    pub partitions: Vec<(i32, u32)>,
}

struct Failed {
    outcome: u64,
    change: u64,
    error: KafkaError,
}

/// What an acknowledgement waits for.
#[derive(Clone, Copy)]
pub(in super::super) struct Wanted {
    change: u64,
    since: u64,
}

impl Commits {
    pub fn new() -> Self {
        Commits {
            changes: 0,
            committed: 0,
            on_its_way: None,
            again: Instant::now(),
            failed: None,
            outcomes: 0,
        }
    }

    /// Something is to be committed.
    pub fn changed(&mut self) {
        self.changes += 1;
    }

    /// What is to be waited for until all changes up to now are committed.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            change: self.changes,
            since: self.outcomes,
        }
    }

    /// Whether the broker has that.
    pub fn outcome(&self, wanted: Wanted) -> Option<Result<(), KafkaError>> {
        if self.committed >= wanted.change {
            return Some(Ok(()));
        }
        let failed = self.failed.as_ref()?;
        let of_this = failed.outcome > wanted.since && failed.change >= wanted.change;
        of_this.then(|| Err(failed.error.clone()))
    }

    /// Whether something is to be committed that is not on its way.
    pub fn is_needed(&self) -> bool {
        self.on_its_way.is_none() && self.committed < self.changes
    }

    /// Whether it is too early to try again.
    pub fn is_early(&self) -> bool {
        Instant::now() < self.again
    }

    /// What the changes were about has moved.
    pub fn forget(&mut self) {
        self.committed = self.changes;
    }

    /// All changes up to now are on their way.
    pub fn begin(&mut self, partitions: Vec<(i32, u32)>) {
        self.on_its_way = Some(Committing {
            change: self.changes,
            begun: Instant::now(),
            partitions,
        });
    }

    /// The end of the commit that was on its way.
    pub fn end(&mut self, result: &KafkaResult<()>) -> Option<Committing> {
        let ended = self.on_its_way.take()?;
        self.outcomes += 1;
        match result {
            Ok(()) => self.committed = ended.change,
            Err(error) => {
                self.again = Instant::now() + AGAIN;
                // Of partitions that are about to move it will be known soon whose they are.
                if !has_moved(error) {
                    self.failed = Some(Failed {
                        outcome: self.outcomes,
                        change: ended.change,
                        error: error.clone(),
                    });
                }
            }
        }
        Some(ended)
    }

    /// Whether one of these partitions is in the commit that is on its way.
    pub fn is_about(&self, numbers: &[i32]) -> bool {
        self.on_its_way.as_ref().is_some_and(|committing| {
            let mut partitions = committing.partitions.iter();
            partitions.any(|(number, _)| numbers.contains(number))
        })
    }
}

/// Whether a commit failed because partitions are no longer this member's.
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
