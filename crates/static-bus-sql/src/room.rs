//! The bounds of the calls in which a member or a receiver takes records: all of their bodies arrive in time.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use static_bus_remote::lock::lock;

/// The number of records of the first call, whose sizes are unknown.
const FIRST: usize = 16;
/// The greatest number of bytes of one call, if its records are no larger than those of the call before. A link of 10 Mbit/s
/// carries as much within the default deadline.
const BYTES: usize = 4_000_000;
/// The greatest multiple of the deadline that a call may take.
pub(crate) const PATIENCE: u32 = 8;

/// The greatest number of records of the next call. It doubles as long as they are small, and is halved by a call that fails.
pub(crate) struct Room(Mutex<State>);

struct State {
    records: usize,
    /// The multiple of the deadline that the call may take. More than one when a single record takes longer.
    patience: u32,
}

/// The bounds of a call.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub max: usize,
    pub time: Duration,
    began: Instant,
}

impl Room {
    pub fn new() -> Self {
        Room(Mutex::new(State {
            records: FIRST,
            patience: 1,
        }))
    }

    /// The bounds of a call that begins now, for at most `max` records.
    pub fn bounds(&self, max: usize, deadline: Duration) -> Bounds {
        let state = lock(&self.0);
        Bounds {
            max: max.min(state.records),
            time: deadline.saturating_mul(state.patience),
            began: Instant::now(),
        }
    }

    /// Notes the sizes of the records of a call.
    pub fn answered(&self, bounds: Bounds, sizes: impl IntoIterator<Item = usize>) {
        let (mut taken, mut largest) = (0, 1);
        for size in sizes {
            taken += 1;
            largest = largest.max(size);
        }
        let mut state = lock(&self.0);
        let wanted = match taken < state.records {
            true => state.records,
            false => state.records.saturating_mul(2),
        };
        state.records = wanted.min(BYTES / largest).max(1);
        if taken > 0 && bounds.began.elapsed() < bounds.time / 4 {
            state.patience = (state.patience / 2).max(1);
        }
    }

    /// Notes the failure of a call.
    pub fn failed(&self, bounds: Bounds) {
        let mut state = lock(&self.0);
        // A database ends statements a little earlier.
        if bounds.max == 1 && bounds.began.elapsed() >= bounds.time * 3 / 4 {
            state.patience = (state.patience * 2).min(PATIENCE);
        }
        state.records = (state.records.min(bounds.max) / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(4);

    fn max(room: &Room) -> usize {
        room.bounds(usize::MAX, DEADLINE).max
    }

    fn take(room: &Room, taken: usize, size: usize) -> usize {
        room.answered(room.bounds(usize::MAX, DEADLINE), vec![size; taken]);
        max(room)
    }

    fn fail(room: &Room, asked: usize) -> usize {
        room.failed(room.bounds(asked, DEADLINE));
        max(room)
    }

    #[test]
    fn the_room_grows_while_records_are_small_and_shrinks_when_they_are_large_or_do_not_arrive() {
        let room = Room::new();
        for expected in [32, 64, 128] {
            assert_eq!(take(&room, max(&room), 300), expected);
        }
        assert_eq!(take(&room, 5, 300), 128, "fewer were there");
        assert_eq!(take(&room, 5, 1_000_000), 4);
        assert_eq!(fail(&room, 4), 2);
        assert_eq!((fail(&room, 100), fail(&room, 100)), (1, 1));
        assert_eq!(take(&room, 1, 60_000_000), 1, "one at least");
        assert_eq!(take(&room, 0, 0), 1);
        assert_eq!(take(&room, 1, 300), 2);
    }

    #[test]
    fn a_single_record_that_does_not_arrive_has_more_time_until_records_arrive_quickly() {
        let room = Room::new();
        let time = || room.bounds(1, DEADLINE).time / DEADLINE.as_secs() as u32;
        let after = |took: Duration, max| Bounds {
            began: Instant::now().checked_sub(took).unwrap(),
            ..room.bounds(max, DEADLINE)
        };
        let unanswered = |max| after(room.bounds(max, DEADLINE).time, max);
        room.failed(unanswered(16));
        room.failed(after(Duration::ZERO, 1));
        assert_eq!(
            time(),
            Duration::from_secs(1),
            "the next one has fewer records, or fails at once"
        );
        for seconds in [2, 4, 8, 8] {
            room.failed(unanswered(1));
            assert_eq!(time(), Duration::from_secs(seconds));
        }
        room.answered(after(DEADLINE * 7, 1), [60_000_000]);
        room.answered(after(Duration::ZERO, 1), []);
        assert_eq!(time(), Duration::from_secs(8), "the next one takes as long");
        for seconds in [4, 2, 1, 1] {
            room.answered(after(Duration::ZERO, 1), [300]);
            assert_eq!(time(), Duration::from_secs(seconds));
        }
    }
}
