//! The members of a group that wait for records.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tokio::{sync::Notify, time::Instant};

/// The members that wait, in order, with the times at which they stop.
///
/// A record wakes one member. If that member leaves a record behind, or stops waiting, the
/// group wakes the next, after every change.
///
/// A lease that ends wakes a member as well: the member with the earliest time to stop has to wake no later than
/// the first lease ends.
#[derive(Default)]
pub(super) struct Waiters {
    members: HashMap<u64, Waiter>,
    /// In the order in which they began to wait.
    queue: BTreeMap<u64, u64>,
    by_time: BTreeSet<(Instant, u64)>,
    added: u64,
}

struct Waiter {
    wake: Arc<Notify>,
    /// Its place in the queue, and the time at which it wakes by itself; `None` if it does not wait.
    waits: Option<(u64, Instant)>,
}

impl Waiters {
    pub fn join(&mut self, member: u64, wake: Arc<Notify>) {
        let waits = None;
        self.members.insert(member, Waiter { wake, waits });
    }

    pub fn leave(&mut self, member: u64) {
        self.remove(member);
        if let Some(waiter) = self.members.remove(&member) {
            waiter.wake.notify_one();
        }
    }

    pub fn add(&mut self, member: u64, wakes: Instant) {
        self.remove(member);
        if let Some(waiter) = self.members.get_mut(&member) {
            self.added += 1;
            waiter.waits = Some((self.added, wakes));
            self.queue.insert(self.added, member);
            self.by_time.insert((wakes, member));
        }
    }

    /// Returns whether the member waited.
    pub fn remove(&mut self, member: u64) -> bool {
        let waiter = self.members.get_mut(&member);
        let Some((place, wakes)) = waiter.and_then(|waiter| waiter.waits.take()) else {
            return false;
        };
        self.queue.remove(&place);
        self.by_time.remove(&(wakes, member));
        true
    }

    /// Wakes a member if it waits.
    pub fn wake(&mut self, member: u64) {
        if self.remove(member)
            && let Some(waiter) = self.members.get(&member)
        {
            waiter.wake.notify_one();
        }
    }

    pub fn wake_one(&mut self) {
        if let Some((_, member)) = self.queue.first_key_value() {
            self.wake(*member);
        }
    }

    /// Wakes a member if all wait longer than to this end of a lease.
    pub fn watch(&mut self, end: Instant) {
        if let Some((wakes, member)) = self.by_time.first()
            && *wakes > end
        {
            self.wake(*member);
        }
    }
}
