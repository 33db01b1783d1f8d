//! What the table answers: single cases, all orders of a few, and long random logs.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const LEASE: u64 = 300;
const KEPT: u64 = 1000;

/// A log as it is written, and the table of one who has read it all.
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

    /// Claims a key, and gives the claim's number.
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

    fn give_up(&mut self, member: &'static str, key: &str, number: u64) {
        self.write(Entry::GiveUp {
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
    assert_eq!(log.claim("one", "k").0, Claim::Held, "by itself");
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
    log.give_up("one", "a", 3);
    assert_eq!(log.claim("two", "a").0, Claim::Held, "3 was not granted");
    log.give_up("one", "a", 1);
    assert_eq!(log.claim("two", "a").0, Claim::Granted);
}

#[test]
fn a_claim_ends_with_its_lease_and_a_renewal_begins_another() {
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
fn a_claim_that_was_lost_neither_frees_nor_takes_the_key() {
    let mut log = Log::new();
    let (_, old) = log.claim("one", "k");
    log.now += LEASE;
    let (claim, new) = log.claim("two", "k");
    assert_eq!(claim, Claim::Granted);
    log.renew("one", "k", old);
    log.give_up("one", "k", old);
    log.leave("one");
    assert_eq!(log.claim("three", "k").0, Claim::Held);
    assert!(log.table.is_lost("k", "one", old));
    assert!(!log.table.is_lost("k", "two", new));
    // The same member, in another claim.
    log.give_up("two", "k", old);
    assert_eq!(log.claim("three", "k").0, Claim::Held);
    log.now += LEASE;
    assert_eq!(log.claim("three", "k").0, Claim::Granted);
}

#[test]
fn a_renewal_that_is_late_keeps_what_nobody_has_claimed() {
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
fn a_key_that_is_confirmed_late_is_done_whoever_holds_it() {
    let mut log = Log::new();
    let (_, old) = log.claim("one", "k");
    log.now += LEASE;
    let (_, new) = log.claim("two", "k");
    log.confirm("k");
    log.renew("one", "k", old);
    log.renew("two", "k", new);
    log.give_up("two", "k", new);
    assert_eq!(log.claim("three", "k").0, Claim::Done);
}

#[test]
fn a_key_is_remembered_for_the_longest_time() {
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
fn whoever_leaves_holds_nothing() {
    let mut log = Log::new();
    log.write(claim("one", 1, &["a", "b"]));
    log.claim("two", "c");
    log.confirm("b");
    log.leave("one");
    let claims = log.write(claim("three", 10, &["a", "b", "c"]));
    assert_eq!(claims, [Claim::Granted, Claim::Done, Claim::Held]);
}

#[test]
fn time_does_not_go_backwards() {
    let mut log = Log::new();
    log.claim("one", "k");
    log.now += LEASE;
    log.claim("one", "another");
    log.now -= LEASE;
    assert_eq!(log.claim("two", "k").0, Claim::Granted);
}

#[test]
fn what_has_run_out_takes_no_room() {
    let mut log = Log::new();
    for n in 0..10_000 {
        log.claim("one", &format!("claimed {n}"));
        log.confirm(&format!("confirmed {n}"));
        log.now += 1;
    }
    let size = log.table.claimed.len() + log.table.done.len();
    let in_time = (LEASE + KEPT + 2 * log.table.pause) as usize;
    assert!(size <= in_time, "{size} keys, and {in_time} in that time");
    let room = log.table.claimed.capacity() + log.table.done.capacity();
    assert!(room <= 4 * in_time, "room for {room}, of {in_time}");
}

/// A table that begins in the middle, and reads the rest of the log.
fn late(log: &Log, begin: usize, begin_at: u64) -> Table {
    let mut table = Table::since(begin_at, LEASE, KEPT);
    for (at, entry) in &log.written[begin..] {
        table.apply(entry, *at);
    }
    table
}

#[test]
fn who_begins_to_read_in_the_middle_grants_nothing_that_others_may_hold() {
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
    // As others see it, two does not get the key either.
    assert_eq!(log.claim("two", "k").0, Claim::Held);
}

/// Those who try again and again must not be what the key is held for.
#[test]
fn a_doubt_ends_with_the_lease_when_nobody_is_left() {
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
        let given_up = Entry::GiveUp {
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
fn what_is_confirmed_is_not_in_doubt_any_more() {
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

/// What the members of a group do, one after the other, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    /// It claims the key; or if it has it, confirms it, or gives it up, or renews it, or leaves.
    Act(usize, After),
    Wait(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Confirm,
    GiveUp,
    Renew,
    Leave,
}

const MEMBERS: [&str; 3] = ["one", "two", "three"];

/// A group that goes by the answers of its table, and what has to be true of one key, said in
/// another way than the table says it: who has been granted it, and may still think so.
struct Group {
    log: Log,
    key: &'static str,
    /// What each member thinks that it has: the claim's number.
    has: [Option<u64>; 3],
    /// Until when that is so.
    until: [u64; 3],
    done_until: u64,
}

impl Group {
    fn new(key: &'static str) -> Self {
        Group {
            log: Log::new(),
            key,
            has: [None; 3],
            until: [0; 3],
            done_until: 0,
        }
    }

    fn make(&mut self, a_move: Move) {
        let (who, after) = match a_move {
            Move::Wait(time) => return self.log.now += time,
            Move::Act(who, after) => (who, after),
        };
        let (member, now) = (MEMBERS[who], self.log.now);
        let Some(number) = self.has[who] else {
            let (claim, number) = self.log.claim(member, self.key);
            let is_held = (0..3).any(|m| self.has[m].is_some() && self.until[m] > now);
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
                (self.has[who], self.until[who]) = (Some(number), now + LEASE);
            }
            return;
        };
        match after {
            After::Confirm => {
                self.log.confirm(self.key);
                self.has = [None; 3];
                self.done_until = now + KEPT;
            }
            After::GiveUp => {
                self.log.give_up(member, self.key, number);
                self.has[who] = None;
            }
            After::Leave => {
                self.log.leave(member);
                self.has[who] = None;
            }
            After::Renew => {
                // The table's time is that of the last entry.
                self.log.write(Entry::Join {
                    member: member.into(),
                });
                let others = (0..3).filter(|m| *m != who);
                let is_lost = { others }.any(|m| self.has[m].is_some() && self.until[m] > now);
                assert_eq!(self.log.table.is_lost(self.key, member, number), is_lost);
                if is_lost {
                    self.has[who] = None;
                } else {
                    self.log.renew(member, self.key, number);
                    self.until[who] = now + LEASE;
                }
            }
        }
    }
}

#[test]
fn in_every_order_of_a_few_moves_one_at_most_has_the_key() {
    let mut moves = vec![Move::Wait(LEASE / 2), Move::Wait(KEPT)];
    for who in 0..2 {
        for after in [After::Confirm, After::GiveUp, After::Renew, After::Leave] {
            moves.push(Move::Act(who, after));
        }
    }
    let (length, mut seen) = (5, HashSet::new());
    for n in 0..moves.len().pow(length) {
        let mut group = Group::new("k");
        let chosen = (0..length).map(|digit| n / moves.len().pow(digit) % moves.len());
        chosen.for_each(|m| group.make(moves[m]));
        seen.insert(format!("{:?}", group.has));
    }
    assert!(seen.len() > 3, "the orders came to {seen:?} alone");
}

fn moves(length: usize) -> impl Strategy<Value = Vec<Move>> {
    let after = prop_oneof![
        1 => Just(After::Confirm),
        2 => Just(After::GiveUp),
        6 => Just(After::Renew),
        1 => Just(After::Leave),
    ];
    let a_move = prop_oneof![
        3 => (0..3_usize, after).prop_map(|(who, after)| Move::Act(who, after)),
        2 => (0..LEASE / 2).prop_map(Move::Wait),
    ];
    prop::collection::vec(a_move, 0..length)
}

proptest! {
    #[test]
    fn one_at_most_has_the_key_in_long_logs(moves in moves(400)) {
        let mut group = Group::new("k");
        moves.into_iter().for_each(|m| group.make(m));
    }

    /// Members join at any time, and read a part of the log.
    #[test]
    fn whoever_begins_to_read_far_enough_back_grants_nothing_that_is_not_granted(
        moves in moves(400),
        begin in 0.0..1.0,
    ) {
        let mut group = Group::new("k");
        moves.into_iter().for_each(|m| group.make(m));
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
