//! Single cases, all orders of a few operations, and long random logs.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const LEASE: u64 = 300;
const KEPT: u64 = 1000;

/// A log, and the complete table of it.
struct Log {
    table: Table,
    now: u64,
    numbers: u64,
    written: Vec<(u64, Entry<'static>)>,
}

impl Log {
    fn new() -> Self {
        Log {
            table: Table::new(KEPT),
            now: 10_000,
            numbers: 0,
            written: Vec::new(),
        }
    }

    fn write(&mut self, entry: Entry<'static>) -> Vec<Claim> {
        let claims = self.table.apply(&entry, self.now);
        self.written.push((self.now, entry));
        claims
    }

    /// Claims a key. Returns the result and the number of the claim.
    fn claim(&mut self, member: &'static str, key: &str) -> (Claim, u64) {
        self.numbers += 1;
        let claims = self.write(claim(member, self.numbers, &[key]));
        (claims[0], self.numbers)
    }

    fn renew(&mut self, member: &'static str, key: &str, number: u64) {
        self.write(Entry::Renew {
            member: member.into(),
            lease: LEASE,
            claims: vec![(key.to_owned().into(), number)],
        });
    }

    fn release(&mut self, member: &'static str, key: &str, number: u64) {
        self.write(Entry::Release {
            member: member.into(),
            claims: vec![(key.to_owned().into(), number)],
        });
    }

    fn confirm(&mut self, key: &str) {
        self.write(Entry::Confirm {
            kept: KEPT,
            keys: vec![key.to_owned().into()],
        });
    }

    fn leave(&mut self, member: &'static str) {
        self.write(Entry::Leave {
            member: member.into(),
        });
    }
}

fn claim(member: &'static str, first: u64, keys: &[&str]) -> Entry<'static> {
    Entry::Claim {
        member: member.into(),
        first,
        lease: LEASE,
        keys: keys.iter().map(|key| (*key).to_owned().into()).collect(),
    }
}

#[test]
fn a_key_is_granted_then_held_then_done_then_forgotten() {
    let mut log = Log::new();
    assert_eq!(log.claim("one", "k").0, Claim::Granted);
    assert_eq!(log.claim("two", "k").0, Claim::Held);
    assert_eq!(log.claim("one", "k").0, Claim::Held, "by the same member");
    log.confirm("k");
    assert_eq!(log.claim("one", "k").0, Claim::Done);
    log.now += KEPT - 1;
    assert_eq!(log.claim("two", "k").0, Claim::Done);
    log.now += 1;
    assert_eq!(log.claim("two", "k").0, Claim::Granted);
}

#[test]
fn each_key_of_a_call_is_claimed_in_order() {
    let mut log = Log::new();
    let claims = log.write(claim("one", 1, &["a", "b", "a", ""]));
    let (granted, held) = (Claim::Granted, Claim::Held);
    assert_eq!(claims, [granted, granted, held, granted]);
    log.release("one", "a", 3);
    assert_eq!(
        log.claim("two", "a").0,
        Claim::Held,
        "claim 3 was not granted"
    );
    log.release("one", "a", 1);
    assert_eq!(log.claim("two", "a").0, Claim::Granted);
}

#[test]
fn a_claim_ends_with_its_lease_unless_it_is_renewed() {
    let mut log = Log::new();
    let (_, number) = log.claim("one", "k");
    log.now += LEASE - 1;
    assert_eq!(log.claim("two", "k").0, Claim::Held);
    log.renew("one", "k", number);
    log.now += LEASE - 1;
    assert_eq!(log.claim("two", "k").0, Claim::Held);
    log.now += 1;
    assert_eq!(log.claim("two", "k").0, Claim::Granted);
}

#[test]
fn a_late_operation_on_a_lost_claim_has_no_effect() {
    let mut log = Log::new();
    let (_, old) = log.claim("one", "k");
    log.now += LEASE;
    let (claim, new) = log.claim("two", "k");
    assert_eq!(claim, Claim::Granted);
    log.renew("one", "k", old);
    log.release("one", "k", old);
    log.leave("one");
    assert_eq!(log.claim("three", "k").0, Claim::Held);
    assert!(log.table.is_lost("k", "one", old));
    assert!(!log.table.is_lost("k", "two", new));
    // Another claim of the same member.
    log.release("two", "k", old);
    assert_eq!(log.claim("three", "k").0, Claim::Held);
    log.now += LEASE;
    assert_eq!(log.claim("three", "k").0, Claim::Granted);
}

#[test]
fn a_late_renewal_holds_a_key_that_was_not_claimed_since() {
    for wait in [LEASE, 100 * LEASE] {
        let mut log = Log::new();
        let (_, number) = log.claim("one", "k");
        log.now += wait;
        log.claim("somebody", "another key");
        log.renew("one", "k", number);
        assert_eq!(log.claim("two", "k").0, Claim::Held, "after {wait}");
    }
}

#[test]
fn a_late_confirmation_confirms_a_key_that_another_member_holds() {
    let mut log = Log::new();
    let (_, old) = log.claim("one", "k");
    log.now += LEASE;
    let (_, new) = log.claim("two", "k");
    log.confirm("k");
    log.renew("one", "k", old);
    log.renew("two", "k", new);
    log.release("two", "k", new);
    assert_eq!(log.claim("three", "k").0, Claim::Done);
}

#[test]
fn the_longest_of_two_confirmations_counts() {
    let mut log = Log::new();
    log.confirm("k");
    log.write(Entry::Confirm {
        kept: 1,
        keys: vec!["k".into()],
    });
    log.now += KEPT - 1;
    assert_eq!(log.claim("one", "k").0, Claim::Done);
}

#[test]
fn a_member_that_leaves_holds_no_key() {
    let mut log = Log::new();
    log.write(claim("one", 1, &["a", "b"]));
    log.claim("two", "c");
    log.confirm("b");
    log.leave("one");
    let claims = log.write(claim("three", 10, &["a", "b", "c"]));
    assert_eq!(claims, [Claim::Granted, Claim::Done, Claim::Held]);
}

#[test]
fn timestamps_do_not_go_backwards() {
    let mut log = Log::new();
    log.claim("one", "k");
    log.now += LEASE;
    log.claim("one", "another");
    log.now -= LEASE;
    assert_eq!(log.claim("two", "k").0, Claim::Granted);
}

#[test]
fn expired_entries_are_removed() {
    let mut log = Log::new();
    for n in 0..10_000 {
        log.claim("one", &format!("claimed {n}"));
        log.confirm(&format!("confirmed {n}"));
        log.now += 1;
    }
    let size = log.table.claimed.len() + log.table.done.len();
    let in_time = (LEASE + KEPT + 2 * log.table.sweep_interval) as usize;
    assert!(size <= in_time, "{size} keys, at most {in_time} expected");
    let room = log.table.claimed.capacity() + log.table.done.capacity();
    assert!(room <= 4 * in_time, "capacity {room}, for {in_time} keys");
}

/// A partial table, of the entries from `begin` on.
fn late(log: &Log, begin: usize, begin_at: u64) -> Table {
    let mut table = Table::since(begin_at, LEASE, KEPT);
    for (at, entry) in &log.written[begin..] {
        table.apply(entry, *at);
    }
    table
}

#[test]
fn a_partial_table_does_not_grant_a_key_that_may_be_held() {
    let mut log = Log::new();
    let (_, number) = log.claim("one", "k");
    log.claim("one", "lost");
    let begin = (log.written.len(), log.now + 1);
    for _ in 0..9 {
        log.now += LEASE / 2;
        log.renew("one", "k", number);
    }
    let mut late = late(&log, begin.0, begin.1);
    let claims = late.apply(&claim("two", 7, &["k", "lost", "new"]), log.now);
    assert_eq!(claims, [Claim::Held, Claim::Granted, Claim::Granted]);
    assert!(late.is_in_doubt("k", "two", 7) && !late.is_in_doubt("new", "two", 9));
    // The complete table refuses it, too.
    assert_eq!(log.claim("two", "k").0, Claim::Held);
}

/// A member that repeats its claim must not keep the key in doubt.
#[test]
fn a_doubt_ends_with_the_last_lease() {
    let mut log = Log::new();
    let (_, number) = log.claim("one", "k");
    let begin = (log.written.len(), log.now + 1);
    for _ in 0..9 {
        log.now += LEASE / 2;
        log.renew("one", "k", number);
    }
    let mut late = late(&log, begin.0, begin.1);
    let mut tries = 0;
    loop {
        let claims = late.apply(&claim("two", tries, &["k"]), log.now);
        if claims == [Claim::Granted] {
            break;
        }
        assert!(late.is_in_doubt("k", "two", tries));
        let given_up = Entry::Release {
            member: "two".into(),
            claims: vec![("k".into(), tries)],
        };
        late.apply(&given_up, log.now);
        log.now += LEASE / 10;
        tries += 1;
    }
    assert_eq!(tries, 10);
}

#[test]
fn a_confirmed_key_is_not_in_doubt() {
    let mut log = Log::new();
    let mut late = Table::since(log.now, LEASE, KEPT);
    assert_eq!(late.apply(&claim("two", 7, &["k"]), log.now), [Claim::Held]);
    log.confirm("k");
    late.apply(&log.written[0].1, log.now);
    assert_eq!(late.apply(&claim("two", 8, &["k"]), log.now), [Claim::Done]);
    log.now += KEPT;
    let claims = late.apply(&claim("two", 9, &["k"]), log.now);
    assert_eq!(claims, [Claim::Granted]);
}

/// A step of a random log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A member claims the key, or performs an operation on the claim that it has.
    Act(usize, Operation),
    Wait(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Confirm,
    Release,
    Renew,
    Leave,
}

const MEMBERS: [&str; 3] = ["one", "two", "three"];

/// A group that follows the results of the complete table, and an independent model of one key.
struct Group {
    log: Log,
    key: &'static str,
    /// The number of the granted claim of each member.
    held: [Option<u64>; 3],
    /// The ends of the leases of these claims.
    until: [u64; 3],
    done_until: u64,
}

impl Group {
    fn new(key: &'static str) -> Self {
        Group {
            log: Log::new(),
            key,
            held: [None; 3],
            until: [0; 3],
            done_until: 0,
        }
    }

    fn perform(&mut self, step: Step) {
        let (who, after) = match step {
            Step::Wait(time) => return self.log.now += time,
            Step::Act(who, after) => (who, after),
        };
        let (member, now) = (MEMBERS[who], self.log.now);
        let Some(number) = self.held[who] else {
            let (claim, number) = self.log.claim(member, self.key);
            let is_held = (0..3).any(|m| self.held[m].is_some() && self.until[m] > now);
            let expected = match () {
                () if self.done_until > now => Claim::Done,
                () if is_held => Claim::Held,
                () => Claim::Granted,
            };
            assert_eq!(
                claim, expected,
                "{member} at {now} of {:?}",
                self.log.written
            );
            if claim == Claim::Granted {
                (self.held[who], self.until[who]) = (Some(number), now + LEASE);
            }
            return;
        };
        match after {
            Operation::Confirm => {
                self.log.confirm(self.key);
                self.held = [None; 3];
                self.done_until = now + KEPT;
            }
            Operation::Release => {
                self.log.release(member, self.key, number);
                self.held[who] = None;
            }
            Operation::Leave => {
                self.log.leave(member);
                self.held[who] = None;
            }
            Operation::Renew => {
                // Advances the time of the table to now.
                self.log.write(Entry::Join {
                    member: member.into(),
                });
                let others = (0..3).filter(|m| *m != who);
                let is_lost = { others }.any(|m| self.held[m].is_some() && self.until[m] > now);
                assert_eq!(self.log.table.is_lost(self.key, member, number), is_lost);
                if is_lost {
                    self.held[who] = None;
                } else {
                    self.log.renew(member, self.key, number);
                    self.until[who] = now + LEASE;
                }
            }
        }
    }
}

#[test]
fn in_every_order_of_a_few_steps_at_most_one_member_holds_the_key() {
    let mut steps = vec![Step::Wait(LEASE / 2), Step::Wait(KEPT)];
    for who in 0..2 {
        for after in [
            Operation::Confirm,
            Operation::Release,
            Operation::Renew,
            Operation::Leave,
        ] {
            steps.push(Step::Act(who, after));
        }
    }
    let (length, mut seen) = (5, HashSet::new());
    for n in 0..steps.len().pow(length) {
        let mut group = Group::new("k");
        let chosen = (0..length).map(|digit| n / steps.len().pow(digit) % steps.len());
        chosen.for_each(|m| group.perform(steps[m]));
        seen.insert(format!("{:?}", group.held));
    }
    assert!(seen.len() > 3, "too few different outcomes: {seen:?}");
}

fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let after = prop_oneof![
        1 => Just(Operation::Confirm),
        2 => Just(Operation::Release),
        6 => Just(Operation::Renew),
        1 => Just(Operation::Leave),
    ];
    let step = prop_oneof![
        3 => (0..3_usize, after).prop_map(|(who, after)| Step::Act(who, after)),
        2 => (0..LEASE / 2).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..length)
}

proptest! {
    #[test]
    fn at_most_one_member_holds_the_key_in_long_logs(steps in steps(400)) {
        let mut group = Group::new("k");
        steps.into_iter().for_each(|m| group.perform(m));
    }

    /// The tables of members that join at any time.
    #[test]
    fn a_partial_table_grants_only_claims_that_the_complete_table_grants(
        steps in steps(400),
        begin in 0.0..1.0,
    ) {
        let mut group = Group::new("k");
        steps.into_iter().for_each(|m| group.perform(m));
        let log = &group.log.written;
        let begin = (log.len() as f64 * begin) as usize;
        let Some((begin_at, _)) = log.get(begin) else { return Ok(()) };
        let (mut all, mut part) = (Table::new(KEPT), Table::since(*begin_at, LEASE, KEPT));
        for (at, entry) in &log[..begin] {
            all.apply(entry, *at);
        }
        for (at, entry) in &log[begin..] {
            let (whole, partial) = (all.apply(entry, *at), part.apply(entry, *at));
            if *at < begin_at + Table::reach(LEASE, KEPT) {
                continue;
            }
            let Entry::Claim { member, first, .. } = entry else { continue };
            if partial == [Claim::Held] && part.is_in_doubt("k", member, *first) {
                prop_assert_ne!(whole, [Claim::Done]);
            } else {
                prop_assert_eq!(whole, partial, "{:?} at {}", entry, at);
            }
        }
    }
}
