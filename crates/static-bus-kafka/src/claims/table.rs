//! The lock table: what became of each key, if this is what the log says.
//!
//! It is a function of the entries, their order and the broker's timestamps, and of nothing else: no
//! clock, and not whose table it is. So all members come to the same answers.
//!
//! A table that begins in the middle of the log does not know what was claimed and confirmed before. What is
//! still wanted is renewed within a lease, and what was confirmed is forgotten in the end; after that, what
//! the table has not heard of is free. Of a key that was claimed or renewed until then it knows who may have
//! it, not who has it: the key is *in doubt*, and held, until it is confirmed or nobody is left who may
//! have it. So such a table may hold what others grant, and never grants what others hold.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
    sync::Arc,
};

use super::entry::Entry;
use static_bus_remote::transport::Claim;

/// Keys that are claimed, and keys of records that were handled. All times are milliseconds.
pub struct Table {
    /// The latest timestamp.
    now: u64,
    /// Until then there may be claims and confirmed keys that the table has not heard of.
    complete_from: u64,
    claimed: Map<Claimed>,
    /// Until when they are remembered.
    done: Map<u64>,
    /// How often what has run out is removed, and when next. Until then it counts for nothing.
    pause: u64,
    sweep_at: u64,
    hashers: [RandomState; 2],
}

/// Stands for a key: there may be millions of them, and they may be long. That two keys have the same one
/// is out of the question, because whoever chooses the keys does not know the hashers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fingerprint([u64; 2]);

/// A fingerprint needs no other hash than its first half.
type Map<V> = HashMap<Fingerprint, V, BuildHasherDefault<FirstHalf>>;

#[derive(Default)]
struct FirstHalf(u64);

/// Who has a key: one, or nobody. If that is in doubt, one of these, or nobody.
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
    /// A table that begins with the log, for keys that are remembered for about `kept`.
    pub fn new(kept: u64) -> Self {
        Table {
            now: 0,
            complete_from: 0,
            claimed: Map::default(),
            done: Map::default(),
            pause: (kept / 8).clamp(1000, 60_000),
            sweep_at: 0,
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// A table that is given what was written from a time on, where leases and memories are no longer than
    /// these.
    pub fn since(begin: u64, lease: u64, kept: u64) -> Self {
        Table {
            now: begin,
            complete_from: begin.saturating_add(lease.max(kept)),
            ..Table::new(kept)
        }
    }

    /// How far back a table has to begin to be of use now.
    pub fn reach(lease: u64, kept: u64) -> u64 {
        kept.max(lease).saturating_add(lease)
    }

    /// Takes in the next entry of the log. Of claims, says what becomes of each.
    pub fn apply(&mut self, entry: &Entry<'_>, timestamp: u64) -> Vec<Claim> {
        // A new leader's clock may be behind. Time does not go backwards here.
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
            Entry::GiveUp { member, claims } => {
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
                    // Whoever holds it has come too late.
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

    /// Whether another has this key by now, so that this claim is lost.
    pub fn is_lost(&self, key: &str, member: &str, number: u64) -> bool {
        let claimed = self.claimed.get(&self.fingerprint(key));
        claimed.is_some_and(|claimed| {
            let holders = &mut claimed.holders.iter();
            !claimed.in_doubt && holders.any(|h| h.until > self.now && !h.is(member, number))
        })
    }

    /// Whether this claim was not granted here, but may have been as others see it.
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

    /// A claim that has run out, and that nobody else has claimed since, is as good as kept.
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

    /// Who has this key now.
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

    /// Makes holders of a member's claims.
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

    /// Removes what has run out.
    fn sweep(&mut self) {
        if self.now < self.sweep_at {
            return;
        }
        self.sweep_at = self.now.saturating_add(self.pause);
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
        unreachable!("a fingerprint is hashed as a number");
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
