//! The number of records that a member takes in one call: all of their bodies arrive within its deadline.

use std::sync::atomic::{AtomicUsize, Ordering};

use static_bus_remote::transport::Delivery;

use super::{receipt::SqlReceipt, record::size};

/// The number of records of the first call, whose sizes are unknown.
const FIRST: usize = 16;
/// The greatest number of bytes of one call, if its records are no larger than those of the call before. A link of 10 Mbit/s
/// carries as much within the default deadline.
const BYTES: usize = 4_000_000;

/// The greatest number of records of the next call. It doubles as long as they are small, and is halved by a call that fails.
pub(crate) struct Room(AtomicUsize);

impl Room {
    pub fn new() -> Self {
        Room(AtomicUsize::new(FIRST))
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub fn answered(&self, taken: &[Delivery<SqlReceipt>]) {
        let sizes = taken.iter().map(|delivery| size(&delivery.record));
        self.adapt(taken.len(), sizes.max().unwrap_or(0));
    }

    /// Notes the failure of a call for this number of records.
    pub fn failed(&self, asked: usize) {
        let half = self.get().min(asked) / 2;
        self.0.store(half.max(1), Ordering::Relaxed);
    }

    fn adapt(&self, taken: usize, largest: usize) {
        let room = self.get();
        let wanted = match taken < room {
            true => room,
            false => room.saturating_mul(2),
        };
        let fitting = BYTES / largest.max(1);
        self.0.store(wanted.min(fitting).max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_grows_while_records_are_small_and_shrinks_when_they_are_large_or_do_not_arrive() {
        let room = Room::new();
        for expected in [32, 64, 128] {
            room.adapt(room.get(), 300);
            assert_eq!(room.get(), expected);
        }
        room.adapt(5, 300);
        assert_eq!(room.get(), 128, "fewer were there");
        room.adapt(5, 1_000_000);
        assert_eq!(room.get(), 4);
        room.failed(4);
        assert_eq!(room.get(), 2);
        room.failed(100);
        room.failed(100);
        assert_eq!(room.get(), 1);
        room.adapt(1, 60_000_000);
        assert_eq!(room.get(), 1, "one at least");
        room.adapt(0, 0);
        assert_eq!(room.get(), 1);
        room.adapt(1, 300);
        assert_eq!(room.get(), 2);
    }
}
