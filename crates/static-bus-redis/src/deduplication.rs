//! Deduplication keys of a group: claimed by its members, and confirmed with the acknowledgement of their records.
//!
//! A claim is an element of a sorted set, with its end as the score. A confirmed key is an element of the set of
//! the window of time in which it was confirmed; sets of old windows are removed as a whole. Transactions of
//! variadic commands cost the server a third of a script. The script decides what they leave undecided, which is rare.

use std::sync::{Arc, Mutex, MutexGuard};

use foldhash::{HashMap, HashSet};
use redis::Value;
use tokio::time::Instant;

use super::{keys::GroupKeys, link::Link, scripts, transaction::Transaction};
use static_bus_remote::{
    lock::lock,
    time::millis,
    transport::{Claim, Subscription, TransportError},
};

/// The first element of each set of claims. An element of more than 64 bytes makes the server choose the encoding
/// in which additions cost a quarter.
const LARGE: &str = "(this name is longer than the sixty-four bytes that fit into a compact set)";

/// The deduplication keys of a group, as a member claims and confirms them.
pub(super) struct Deduplication {
    link: Link,
    keys: Arc<GroupKeys>,
    /// The length of a window in milliseconds; 0 without deduplication. Keys are remembered for one or two windows.
    window: u64,
    lease: u64,
    clock: Mutex<Clock>,
    /// The claims of this member, with their ends.
    held: Mutex<HashMap<Arc<str>, u64>>,
}

/// A key that this member has claimed, and the end of the claim by the server's clock. The end identifies the
/// claim: that of another member, or a later one of this member, has another.
pub(super) type HeldClaim = (Arc<str>, u64);

/// The clock of the server: a time in milliseconds, and the moment in which it was read.
struct Clock {
    time: u64,
    read: Instant,
}

/// The state of a key, as the transaction of a claim finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The transaction has claimed the key.
    Free,
    Claimed,
    /// A claim that has ended, which the transaction cannot replace.
    Expired,
    Confirmed,
    /// Confirmed, and claimed by the transaction for nothing.
    ConfirmedAndFree,
}

impl Deduplication {
    pub fn new(link: Link, keys: Arc<GroupKeys>, subscription: &Subscription) -> Self {
        let window = subscription.deduplication;
        Deduplication {
            link,
            keys,
            window: window.map_or(0, |window| millis(window).max(1)),
            lease: millis(subscription.lease),
            clock: Mutex::new(Clock {
                time: 0,
                read: Instant::now(),
            }),
            held: Mutex::default(),
        }
    }

    /// Claims keys for the length of a lease.
    pub async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        if self.window == 0 || keys.is_empty() {
            return Ok(vec![Claim::Granted; keys.len()]);
        }
        let now = self.now();
        let ends = now + self.lease;
        let found = self.claim_free(keys, now, ends).await?;
        let mut claims: Vec<_> = found.iter().map(|found| found.claim()).collect();
        let in_state = |state| {
            let places = (0..keys.len()).filter(|n| found[*n] == state);
            places.map(|n| (n, &*keys[n])).unzip()
        };
        let (_, surplus): (Vec<_>, Vec<_>) = in_state(Found::ConfirmedAndFree);
        let (places, expired): (Vec<_>, Vec<_>) = in_state(Found::Expired);
        if !surplus.is_empty() || !expired.is_empty() {
            let decided = self.decide(now, ends, &surplus, &expired).await?;
            for (place, claim) in places.into_iter().zip(decided) {
                claims[place] = claim;
            }
        }
        let granted = keys.iter().zip(&claims);
        let granted = granted.filter(|(_, claim)| **claim == Claim::Granted);
        self.held()
            .extend(granted.map(|(key, _)| (key.clone(), ends)));
        Ok(claims)
    }

    /// Claims those keys that have no claim, in a transaction that looks at all of them.
    async fn claim_free(
        &self,
        keys: &[Arc<str>],
        now: u64,
        ends: u64,
    ) -> Result<Vec<Found>, TransportError> {
        let claims = self.keys.claims();
        let mut transaction = Transaction::new();
        transaction.cmd("ZMSCORE").arg(claims).args(keys);
        let confirmed = self.confirmed_sets(now);
        for set in &confirmed {
            transaction.cmd("SMISMEMBER").arg(set).args(keys);
        }
        transaction.cmd("ZADD").arg(claims).arg("NX");
        transaction.arg("inf").arg(LARGE);
        for key in keys {
            transaction.arg(ends).arg(&**key);
        }
        transaction.cmd("PEXPIRE").arg(claims).arg(self.lease * 2);
        let answers = transaction.run(&self.link).await?;
        found(keys, answers, confirmed.len(), now)
            .ok_or_else(|| self.link.server().unexpected("a claim"))
    }

    /// Gives up the surplus claims, and claims the keys whose claim had ended, where they are free.
    async fn decide(
        &self,
        now: u64,
        ends: u64,
        surplus: &[&str],
        expired: &[&str],
    ) -> Result<Vec<Claim>, TransportError> {
        let confirmed = self.confirmed_sets(now);
        let keys = std::iter::once(self.keys.claims()).chain(confirmed.iter().map(String::as_str));
        let mut call = scripts::CLAIM.call(keys);
        call.arg(ends).arg(now);
        call.arg(surplus.len()).arg(surplus).arg(expired);
        let Value::BulkString(digits) = self.link.run(&scripts::CLAIM, &call).await? else {
            return Err(self.link.server().unexpected("a claim"));
        };
        let claim = |digit: &u8| match digit {
            b'0' => Claim::Granted,
            b'1' => Claim::Held,
            _ => Claim::Done,
        };
        Ok(digits.iter().map(claim).collect())
    }

    /// Adds the confirmation of keys to a transaction.
    pub fn confirm<'a>(
        &self,
        transaction: &mut Transaction,
        keys: impl Iterator<Item = &'a Arc<str>> + Clone,
    ) {
        if self.window == 0 || keys.clone().next().is_none() {
            return;
        }
        let set = self.keys.done(self.now() / self.window);
        transaction.cmd("SADD").arg(&set).args(keys.clone());
        let life = self.window * 2 + 60_000;
        transaction.cmd("PEXPIRE").arg(set).arg(life);
        // Claims that other members hold by now are removed too: they are of no use for a confirmed key.
        transaction.cmd("ZREM").arg(self.keys.claims()).args(keys);
    }

    /// The sets in which a confirmed key may be.
    fn confirmed_sets(&self, now: u64) -> Vec<String> {
        // The clocks of members differ by some milliseconds.
        let margin = (self.window / 4).min(1000);
        let last = (now + margin) / self.window;
        let first = (now / self.window).saturating_sub(1);
        (first..=last).rev().map(|n| self.keys.done(n)).collect()
    }

    /// The sets that no member uses any more, the last three of them. Members whose clock is late still use sets that have
    /// just ended.
    pub fn ended_sets(&self) -> Vec<String> {
        let time = self.now().saturating_sub(5000);
        let last = time.checked_div(self.window).and_then(|n| n.checked_sub(2));
        let ended = last.map(|last| last.saturating_sub(2)..=last);
        ended
            .into_iter()
            .flatten()
            .map(|n| self.keys.done(n))
            .collect()
    }

    /// The current time by the server's clock, in milliseconds.
    fn now(&self) -> u64 {
        let clock = lock(&self.clock);
        clock.time + millis(clock.read.elapsed())
    }

    /// Sets the server's clock.
    pub fn set_clock(&self, time: u64) {
        let read = Instant::now();
        *lock(&self.clock) = Clock { time, read };
    }

    // The claims of this member.

    fn held(&self) -> MutexGuard<'_, HashMap<Arc<str>, u64>> {
        lock(&self.held)
    }

    /// Those of the keys that this member has claimed.
    pub fn claims_of<'a>(&self, keys: impl Iterator<Item = &'a Arc<str>>) -> Vec<HeldClaim> {
        let held = self.held();
        keys.filter_map(|key| Some((key.clone(), *held.get(key)?)))
            .collect()
    }

    /// The end of a claim that is made or renewed now.
    pub fn next_end(&self) -> u64 {
        self.now() + self.lease
    }

    /// Sets the ends of the renewed ones of these claims, and forgets the others: they were lost, and those of their new
    /// holders may have the same ends. What was settled meanwhile stays forgotten.
    pub fn renewed(&self, claims: &[HeldClaim], renewed: &HashSet<String>, new_end: u64) {
        let mut held = self.held();
        for (key, old_end) in claims {
            if held.get(key) != Some(old_end) {
                continue;
            }
            match renewed.contains(&**key) {
                true => held.insert(key.clone(), new_end),
                false => held.remove(key),
            };
        }
    }

    /// Forgets claims that were confirmed or given up.
    pub fn forget<'a>(&self, keys: impl Iterator<Item = &'a Arc<str>>) {
        let mut held = self.held();
        keys.for_each(|key| _ = held.remove(key));
    }

    /// All claims of this member, which it forgets.
    pub fn take_all(&self) -> HashMap<Arc<str>, u64> {
        std::mem::take(&mut *self.held())
    }
}

impl Found {
    /// The result of the claim. An expired claim counts as held until it is decided.
    fn claim(self) -> Claim {
        match self {
            Found::Free => Claim::Granted,
            Found::Claimed | Found::Expired => Claim::Held,
            Found::Confirmed | Found::ConfirmedAndFree => Claim::Done,
        }
    }
}

/// The state of each key, from the scores of the claims and the membership in each set of confirmed keys. Of a key
/// that stands twice in one call, the second is claimed by the first.
fn found(keys: &[Arc<str>], answers: Vec<Value>, sets: usize, now: u64) -> Option<Vec<Found>> {
    let mut answers = answers.into_iter();
    let scores = array(answers.next()?, keys.len())?;
    let mut is_confirmed = vec![false; keys.len()];
    for answer in answers.take(sets) {
        let is_element = array(answer, keys.len())?;
        for (confirmed, is_element) in is_confirmed.iter_mut().zip(is_element) {
            *confirmed |= is_element == Value::Int(1);
        }
    }
    let mut seen = HashSet::default();
    let keys = keys.iter().zip(scores).zip(is_confirmed);
    let found = keys.map(|((key, score), is_confirmed)| {
        let is_first = seen.insert(key);
        match (is_confirmed, score_in(&score)) {
            (true, None) if is_first => Found::ConfirmedAndFree,
            (true, _) => Found::Confirmed,
            (false, _) if !is_first => Found::Claimed,
            (false, Some(ends)) if ends > now => Found::Claimed,
            (false, Some(_)) => Found::Expired,
            (false, None) => Found::Free,
        }
    });
    Some(found.collect())
}

fn array(answer: Value, length: usize) -> Option<Vec<Value>> {
    match answer {
        Value::Array(values) if values.len() == length => Some(values),
        _ => None,
    }
}

fn score_in(value: &Value) -> Option<u64> {
    match value {
        Value::Double(score) => Some(*score as u64),
        Value::BulkString(text) => {
            let score = str::from_utf8(text).ok()?.parse::<f64>();
            score.ok().map(|score| score as u64)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use redis::Value;

    use super::{Found, found};

    #[test]
    fn each_key_is_found_in_one_state() {
        let keys = ["a", "b", "c", "d", "e", "a", "d"].map(Arc::from);
        let score = |ends: f64| Value::Double(ends);
        let scores = [
            Value::Nil,
            score(101.0),
            score(100.0),
            Value::Nil,
            score(300.0),
            Value::Nil,
            Value::Nil,
        ];
        let elements = [0, 0, 0, 1, 1, 0, 1].map(Value::Int);
        let none = vec![Value::Int(0); 7];
        let answers = vec![
            Value::Array(scores.into()),
            Value::Array(elements.into()),
            Value::Array(none),
            Value::Int(3),
        ];
        let expected = [
            Found::Free,
            Found::Claimed,
            Found::Expired,
            Found::ConfirmedAndFree,
            Found::Confirmed,
            Found::Claimed,
            Found::Confirmed,
        ];
        assert_eq!(found(&keys, answers, 2, 100), Some(expected.into()));
        assert_eq!(found(&keys, vec![Value::Nil], 2, 100), None);
    }
}
