//! The time of the callees of the current call, for each thread and each `Timed`.

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The number of slots. Two `Timed` share a slot if this many are made between them; if calls are then nested within
/// both, each subtracts the callees of the other.
const SLOTS: usize = 64;

std::thread_local! {
    // Neither allocated nor dropped, so an access is that of a static.
    static NESTED: [Cell<u64>; SLOTS] = const { [const { Cell::new(0) }; SLOTS] };
}

/// The slot of one `Timed`.
#[derive(Clone, Copy)]
pub(super) struct Slot(usize);

impl Slot {
    pub(super) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Slot(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Sets the ticks of the callees of the current call, and returns what they were.
    #[inline]
    pub(super) fn replace(self, ticks: u64) -> u64 {
        NESTED.with(|slots| slots[self.0 % SLOTS].replace(ticks))
    }
}
