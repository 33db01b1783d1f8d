//! The bounds of answers with records, in bytes and in time.
//!
//! The server's commands bound the number of records of an answer, not its bytes. So the number follows from the size
//! of recent records, and grows slowly while their size is unknown. Scripts bound the bytes themselves.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use static_bus_remote::lock::lock;

/// The largest bound of the bytes of a call: a record may exceed it, two may not. Calls with other purposes do not
/// wait long behind it.
pub(super) const BYTES: usize = 1 << 20;
/// The smallest bound.
const LEAST: usize = 16 << 10;
/// The largest size of a small record.
const LARGE: usize = 8 << 10;
/// The number of small records of one stream that are always asked for.
const FEW: usize = 16;
/// The number of streams of a topic with the default number of partitions. After as many answers with records of one
/// stream, that one has the greatest share.
const STREAMS: usize = 9;
/// The greatest multiple of the deadline that an answer may take.
const PATIENCE: u32 = 8;

/// The bounds of the next answer: halved after an answer that did not come in time, and doubled after others.
pub(super) struct Budget(Mutex<State>);

struct State {
    bytes: usize,
    /// The greatest number of records.
    count: usize,
    /// The size of the largest record. It falls slowly: sizes may vary.
    largest: usize,
    /// The greatest number of streams that had records in recent answers. It falls slowly.
    active: usize,
    /// The multiple of the deadline that an answer may take. More than one when a single record takes longer.
    patience: u32,
}

impl Budget {
    pub fn new() -> Self {
        Budget(Mutex::new(State {
            bytes: BYTES,
            count: 1,
            largest: 0,
            active: usize::MAX,
            patience: 1,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// The bound of the bytes.
    pub fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// The number of records to ask for, at most `max`.
    pub fn count(&self, max: usize) -> usize {
        self.state().affordable().min(max)
    }

    /// The number of records to ask for of each of several streams, at most `max`: together they have twice the bytes at
    /// most. `None` if they are large or of unknown size, and a script must bound the bytes.
    pub fn share(&self, streams: usize, max: usize) -> Option<usize> {
        let state = self.state();
        let are_small = (1..=LARGE).contains(&state.largest);
        if streams > 1 && !are_small {
            return None;
        }
        let fitting = state.bytes.checked_div(state.largest);
        let fitting = fitting.unwrap_or(state.count);
        let active = state.active.min(streams).max(1);
        let most = (fitting * 2 / streams.max(1)).max(FEW);
        let share = (fitting / active).min(most).min(state.count).min(max);
        Some(share.max(1))
    }

    /// Notes the number of streams that had records for an answer.
    pub fn found(&self, streams: usize) {
        let mut state = self.state();
        if streams > 0 {
            state.active = streams.max(state.active.min(STREAMS) - 1);
        }
    }

    /// The time that an answer may take.
    pub fn limit(&self, deadline: Duration) -> Duration {
        deadline.saturating_mul(self.state().patience)
    }

    /// Notes an answer with records of these sizes, and the time that it took.
    pub fn answered(
        &self,
        sizes: impl IntoIterator<Item = usize>,
        took: Duration,
        limit: Duration,
    ) {
        let mut state = self.state();
        let mut count = 0;
        state.largest -= state.largest / 16;
        for size in sizes {
            count += 1;
            state.largest = state.largest.max(size);
        }
        if count == 0 {
            return;
        }
        state.count = state.count.max(count * 2);
        // An answer of twice the size would still come in time.
        if took < limit / 4 {
            state.bytes = (state.bytes * 2).min(BYTES);
            state.patience = (state.patience / 2).max(1);
        }
    }

    /// Notes that an answer did not come in time.
    pub fn unanswered(&self) {
        let mut state = self.state();
        if state.affordable() == 1 || state.bytes <= LEAST {
            state.patience = (state.patience * 2).min(PATIENCE);
        }
        state.bytes = (state.bytes / 2).max(LEAST);
        state.count = (state.count / 2).max(1);
    }
}

impl State {
    fn affordable(&self) -> usize {
        let fitting = self.bytes.checked_div(self.largest);
        fitting.unwrap_or(self.count).min(self.count).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BYTES, Budget, PATIENCE};

    const DEADLINE: Duration = Duration::from_secs(5);
    const QUICK: Duration = Duration::from_millis(1);

    fn after(reads: &[(usize, usize)]) -> Budget {
        let budget = Budget::new();
        for (count, size) in reads {
            budget.answered(vec![*size; *count], QUICK, DEADLINE);
        }
        budget
    }

    #[test]
    fn the_number_of_records_grows_while_they_are_small() {
        let budget = Budget::new();
        let mut counts = Vec::new();
        for _ in 0..11 {
            counts.push(budget.count(512));
            budget.answered(vec![100; budget.count(512)], QUICK, DEADLINE);
        }
        assert_eq!(counts, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512]);
    }

    #[test]
    fn the_number_of_records_fits_into_the_bytes_as_soon_as_one_is_large() {
        let budget = after(&[(300, 100), (1, BYTES / 4)]);
        assert_eq!(budget.count(512), 4);
        let budget = after(&[(300, 100), (1, BYTES * 9)]);
        assert_eq!(budget.count(512), 1, "one is always asked for");
        for _ in 0..400 {
            budget.answered([100], QUICK, DEADLINE);
        }
        assert_eq!(budget.count(512), 512, "large records do not come any more");
    }

    #[test]
    fn small_records_of_several_streams_fit_into_the_bytes_together() {
        let budget = Budget::new();
        assert_eq!(budget.share(9, 512), None, "of unknown size");
        for (size, share) in [
            (100, Some(512)),
            (1000, Some(116)),
            (8000, Some(14)),
            (9000, None),
        ] {
            assert_eq!(after(&[(300, size)]).share(9, 512), share, "{size}");
        }
        assert_eq!(after(&[(300, BYTES / 8)]).share(1, 512), Some(8));
        assert_eq!(after(&[(1, BYTES * 8)]).share(1, 512), Some(1));
    }

    #[test]
    fn streams_without_records_give_half_of_their_share_to_the_others_after_some_answers() {
        let budget = after(&[(300, 1000)]);
        let mut shares = Vec::new();
        for _ in 0..9 {
            budget.found(1);
            shares.push(budget.share(9, 2000).unwrap());
        }
        assert!(shares.is_sorted(), "{shares:?}");
        assert_eq!((shares[0], shares[8]), (131, 232));
        budget.found(9);
        assert_eq!(budget.share(9, 2000), Some(116));
        // Also with many streams, the active one is read in batches.
        assert_eq!(budget.share(1001, 2000), Some(16));
    }

    #[test]
    fn an_answer_that_does_not_come_halves_the_next_and_a_quick_one_doubles_it() {
        let budget = after(&[(300, 1000)]);
        let whole = budget.bytes();
        budget.unanswered();
        assert_eq!(budget.bytes(), whole / 2);
        assert_eq!(budget.count(512), 300);
        assert_eq!(budget.limit(DEADLINE), DEADLINE);
        budget.answered([1000; 100], QUICK, DEADLINE);
        assert_eq!(budget.bytes(), whole);
    }

    #[test]
    fn a_single_record_that_takes_longer_than_the_deadline_gets_more_time() {
        let budget = after(&[(1, BYTES * 4)]);
        budget.unanswered();
        assert_eq!(budget.limit(DEADLINE), DEADLINE * 2);
        budget.answered([BYTES * 4], DEADLINE * 3 / 2, DEADLINE * 2);
        assert_eq!(
            budget.limit(DEADLINE),
            DEADLINE * 2,
            "the next takes as long"
        );
        for _ in 0..9 {
            budget.unanswered();
        }
        assert_eq!(budget.limit(DEADLINE), DEADLINE * PATIENCE);
    }
}
