//! The deduplication keys of one group.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use tokio::time::Instant;

use crate::transport::Claim;

/// The claimed keys, and the keys of acknowledged records.
#[derive(Default)]
pub(super) struct Claims {
    held: HashMap<Arc<str>, Held>,
    /// The number of held keys at which those of vanished members are removed.
    sweep: usize,
    done: HashMap<Arc<str>, Instant>,
    /// The times at which keys of `done` are forgotten; a key that was confirmed again is in here twice.
    forget: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
}

struct Held {
    member: u64,
    until: Instant,
}

impl Claims {
    pub fn claim(&mut self, key: &Arc<str>, member: u64, until: Instant, now: Instant) -> Claim {
        self.forget(now);
        if self.done.contains_key(key) {
            return Claim::Done;
        }
        if self.held.get(key).is_some_and(|held| held.until > now) {
            return Claim::Held;
        }
        if self.held.len() >= self.sweep {
            self.held.retain(|_, held| held.until > now);
            self.sweep = 2 * self.held.len().max(64);
        }
        self.held.insert(key.clone(), Held { member, until });
        Claim::Granted
    }

    pub fn renew(&mut self, key: &str, member: u64, until: Instant) {
        if let Some(held) = self.held.get_mut(key)
            && held.member == member
        {
            held.until = until;
        }
    }

    /// Marks a key as done, whoever holds it.
    pub fn confirm(&mut self, key: &Arc<str>, until: Instant, now: Instant) {
        self.forget(now);
        self.held.remove(key);
        let known = self.done.entry(key.clone()).or_insert(until);
        *known = until.max(*known);
        self.forget.push(Reverse((until, key.clone())));
    }

    pub fn give_up(&mut self, key: &str, member: u64) {
        if self.held.get(key).is_some_and(|held| held.member == member) {
            self.held.remove(key);
        }
    }

    pub fn give_up_all(&mut self, member: u64) {
        self.held.retain(|_, held| held.member != member);
    }

    fn forget(&mut self, now: Instant) {
        while let Some(Reverse((until, _))) = self.forget.peek()
            && *until <= now
            && let Some(Reverse((_, key))) = self.forget.pop()
        {
            if self.done.get(&key).is_some_and(|until| *until <= now) {
                self.done.remove(&key);
            }
        }
    }
}
