//! The lock table: the state of each key after the entries of the log.
//!
//! The table is a function of the entries, their order and the timestamps of the broker. It does not depend on a
//! local clock or on the member, so all members compute the same results.
//!
//! A table that begins in the middle of the log does not contain earlier claims and confirmations. Claims in use are
//! renewed within a lease, and confirmed keys are forgotten after some time; from then on, a key that is not in the
//! table is free. Until then, a key that is claimed or renewed is *in doubt*: the table contains the members that
//! may hold it, not the one that does. Such a key counts as held until it is confirmed or none of these members is
//! left. So a partial table may refuse a claim that other tables grant, and never grants one that others refuse.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
    sync::Arc,
};

use super::entry::Entry;
use static_bus_remote::transport::Claim;

/// The claimed keys, and the confirmed keys. All times are in milliseconds.
pub(super) struct Table {
    /// The greatest timestamp so far.
    now: u64,
    /// The time until which claims and confirmed keys may be missing from the table.
    complete_from: u64,
    claimed: Map<Claimed>,
    /// The confirmed keys, with the time at which they are forgotten.
    done: Map<u64>,
    /// The interval at which expired entries are removed. An expired entry has no effect.
    sweep_interval: u64,
    next_sweep: u64,
    hashers: [RandomState; 2],
}

/// A hash of a key with 128 bits, to save memory: there may be millions of long keys. The hashers are random, so
/// that keys cannot be chosen to collide.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fingerprint([u64; 2]);

/// A map whose hash is the first half of the fingerprint.
type Map<V> = HashMap<Fingerprint, V, BuildHasherDefault<FirstHalf>>;

#[derive(Default)]
struct FirstHalf(u64);

/// The holders of a key: at most one, or all that are possible if the key is in doubt.
struct Claimed {
    holders: Vec<Holder>,
    in_doubt: bool,
}

struct Holder {
    member: Arc<str>,
    number: u64,
    until: u64,
}

impl Table {
    /// A table of a whole log, for keys that are remembered for about `kept`.
    pub fn new(kept: u64) -> Self {
        Table {
            now: 0,
            complete_from: 0,
            claimed: Map::default(),
            done: Map::default(),
            sweep_interval: (kept / 8).clamp(1000, 60_000),
            next_sweep: 0,
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// A table of the entries from a time on, for leases and times of deduplication up to these.
    pub fn since(begin: u64, lease: u64, kept: u64) -> Self {
        Table {
            now: begin,
            complete_from: begin.saturating_add(lease.max(kept)),
            ..Table::new(kept)
        }
    }

    /// The length of the part of the log from which a complete table is computed.
    pub fn reach(lease: u64, kept: u64) -> u64 {
        kept.max(lease).saturating_add(lease)
    }

    /// Applies the next entry of the log. Returns the results of claims.
    pub fn apply(&mut self, entry: &Entry<'_>, timestamp: u64) -> Vec<Claim> {
        // The clock of a new leader may be behind.
        self.now = self.now.max(timestamp);
        self.sweep();
        match entry {
            Entry::Join { .. } => {}
            Entry::Claim {
                member,
                first,
                lease,
                keys,
            } => {
                let holder = self.holders(member, *lease);
                let numbered = keys.iter().zip(*first..);
                let claims = numbered.map(|(key, number)| self.claim(key, holder(number)));
                return claims.collect();
            }
            Entry::Renew {
                member,
                lease,
                claims,
            } => {
                let holder = self.holders(member, *lease);
                for (key, number) in claims.iter() {
                    self.renew(key, holder(*number));
                }
            }
            Entry::Release { member, claims } => {
                for (key, number) in claims.iter() {
                    let key = self.fingerprint(key);
                    if let Some(claimed) = self.claimed.get_mut(&key) {
                        claimed.remove(|holder| holder.is(member, *number));
                    }
                }
            }
            Entry::Confirm { kept, keys } => {
                let until = self.now.saturating_add(*kept);
                for key in keys.iter() {
                    let key = self.fingerprint(key);
                    // The claims of its holders are lost.
                    self.claimed.remove(&key);
                    let known = self.done.entry(key).or_insert(until);
                    *known = until.max(*known);
                }
            }
            Entry::Leave { member } => {
                for claimed in self.claimed.values_mut() {
                    claimed.remove(|holder| *holder.member == **member);
                }
            }
        }
        Vec::new()
    }

    /// Returns `true` if another claim holds this key, so that this claim is lost.
    pub fn is_lost(&self, key: &str, member: &str, number: u64) -> bool {
        let claimed = self.claimed.get(&self.fingerprint(key));
        claimed.is_some_and(|claimed| {
            let holders = &mut claimed.holders.iter();
            !claimed.in_doubt && holders.any(|h| h.until > self.now && !h.is(member, number))
        })
    }

    /// Returns `true` if this claim was refused here and may be granted in other tables.
    pub fn is_in_doubt(&self, key: &str, member: &str, number: u64) -> bool {
        let claimed = self.claimed.get(&self.fingerprint(key));
        claimed.is_some_and(|c| c.in_doubt && c.holders.iter().any(|h| h.is(member, number)))
    }

    fn claim(&mut self, key: &str, by: Holder) -> Claim {
        let key = self.fingerprint(key);
        if self.is_done(&key) {
            return Claim::Done;
        }
        let claimed = self.claimed(key);
        let claim = match claimed.holders.is_empty() && !claimed.in_doubt {
            true => Claim::Granted,
            false => Claim::Held,
        };
        if claim == Claim::Granted || claimed.in_doubt {
            claimed.holders.push(by);
        }
        claim
    }

    /// Renews a claim. One that has run out is renewed, too, if the key was not claimed since.
    fn renew(&mut self, key: &str, by: Holder) {
        let key = self.fingerprint(key);
        if self.is_done(&key) {
            return;
        }
        let claimed = self.claimed(key);
        claimed.remove(|holder| holder.is(&by.member, by.number));
        if claimed.holders.is_empty() || claimed.in_doubt {
            claimed.holders.push(by);
        }
    }

    /// The current holders of a key.
    fn claimed(&mut self, key: Fingerprint) -> &mut Claimed {
        let claimed = self.claimed.entry(key).or_insert_with(|| Claimed {
            holders: Vec::new(),
            in_doubt: true,
        });
        claimed.remove(|holder| holder.until <= self.now);
        if claimed.holders.is_empty() {
            claimed.in_doubt = self.now < self.complete_from;
        }
        claimed
    }

    /// A function from the numbers of a member's claims to holders.
    fn holders(&self, member: &str, lease: u64) -> impl Fn(u64) -> Holder + use<> {
        let (member, until) = (Arc::from(member), self.now.saturating_add(lease));
        move |number| Holder {
            member: Arc::clone(&member),
            number,
            until,
        }
    }

    fn is_done(&self, key: &Fingerprint) -> bool {
        self.done.get(key).is_some_and(|until| *until > self.now)
    }

    fn fingerprint(&self, key: &str) -> Fingerprint {
        Fingerprint(self.hashers.each_ref().map(|hasher| hasher.hash_one(key)))
    }

    /// Removes expired entries.
    fn sweep(&mut self) {
        if self.now < self.next_sweep {
            return;
        }
        self.next_sweep = self.now.saturating_add(self.sweep_interval);
        self.done.retain(|_, until| *until > self.now);
        self.claimed.retain(|_, claimed| {
            claimed.remove(|holder| holder.until <= self.now);
            !claimed.holders.is_empty()
        });
        self.done.shrink_to(self.done.len() * 2);
        self.claimed.shrink_to(self.claimed.len() * 2);
    }
}

impl Claimed {
    fn remove(&mut self, is_gone: impl Fn(&Holder) -> bool) {
        self.holders.retain(|holder| !is_gone(holder));
    }
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

impl Hasher for FirstHalf {
    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a fingerprint is hashed as an integer");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Holder {
    fn is(&self, member: &str, number: u64) -> bool {
        *self.member == *member && self.number == number
    }
}

#[cfg(test)]
mod tests;
