//! A group: the records that it has not settled, and its members.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Weak},
};

use tokio::{sync::Notify, time::Instant};

use super::{
    claims::Claims,
    entry::StoredEntry,
    lines::{Item, Lines},
    quiet::{InFlightState, Scan},
    waiters::Waiters,
};
use crate::transport::{Backlog, Delivery, GroupState, MemberState, Topic, UnsettledRecord};

/// The name of a delivery by a [`MemoryConsumer`](super::MemoryConsumer); each delivery has another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt {
    number: u64,
    /// The number of deliveries of the record, this one included.
    time: u64,
    key: Option<Arc<str>>,
}

impl Receipt {
    pub(super) fn place(&self) -> String {
        place(self.number)
    }
}

/// The location of the record with this number in its topic.
fn place(number: u64) -> String {
    format!("record {number}")
}

/// A group. A record that it has not settled is in `lines` while it waits, and in `leased` while a
/// member holds it. Every change is followed by [`rouse`](Group::rouse).
#[derive(Default)]
pub(super) struct Group {
    pub claims: Claims,
    lines: Lines,
    leased: BTreeMap<u64, Leased>,
    /// When leases end.
    ends: BTreeSet<(Instant, u64)>,
    members: HashMap<u64, Member>,
    joined: u64,
    waiters: Waiters,
    /// The time at which the next scheduled record of the topic is due.
    due: Option<Instant>,
}

struct Leased {
    item: Item,
    member: u64,
    until: Instant,
    /// The record was acknowledged by an earlier holder. No member gets it again, but until this lease ends
    /// the other records of its key wait.
    done: bool,
    /// Its last attempt, which has ended when this has; `None` before the first.
    attempt: Option<Weak<()>>,
}

struct Member {
    name: Arc<str>,
    leased: usize,
    vanished: bool,
}

/// The result of an attempt to receive.
pub(super) enum Polled {
    Deliveries(Vec<Delivery<Receipt>>),
    /// There is no record: to be tried again when woken, and at this time.
    Wait(Instant),
    /// The member has left.
    Left,
}

impl Group {
    pub fn append(&mut self, number: u64, entry: Arc<StoredEntry>) {
        self.lines.append(number, entry);
    }

    pub fn join(&mut self, name: Arc<str>, wake: Arc<Notify>) -> u64 {
        self.joined += 1;
        let member = Member {
            name,
            leased: 0,
            vanished: false,
        };
        self.members.insert(self.joined, member);
        self.waiters.join(self.joined, wake);
        self.joined
    }

    pub fn has(&self, member: u64) -> bool {
        self.members.contains_key(&member)
    }

    /// Hands out records, leased until `until`; if there are none, the member waits until `end`.
    pub fn receive(
        &mut self,
        member: u64,
        max: usize,
        until: Instant,
        end: Instant,
        now: Instant,
    ) -> Polled {
        self.waiters.remove(member);
        if !self.has(member) {
            return Polled::Left;
        }
        self.expire(now);
        let mut deliveries = Vec::new();
        while deliveries.len() < max
            && let Some((number, item)) = self.lines.take(member)
        {
            deliveries.push(self.lease(number, item, member, until));
        }
        if !deliveries.is_empty() || max == 0 || now >= end {
            return Polled::Deliveries(deliveries);
        }
        let wakes = self.next_end().map_or(end, |next| end.min(next));
        self.waiters.add(member, wakes);
        Polled::Wait(wakes)
    }

    pub fn no_longer_waits(&mut self, member: u64) {
        self.waiters.remove(member);
    }

    pub fn acknowledge(&mut self, receipt: &Receipt) {
        match self.leased.get_mut(&receipt.number) {
            Some(leased) => {
                leased.done = true;
                self.release(receipt);
            }
            // The lease has run out, and the record may wait for another member.
            None => self.lines.remove(receipt.number, receipt.key.as_ref()),
        }
    }

    pub fn begin(&mut self, receipt: &Receipt, attempt: &Arc<()>) {
        if let Some(leased) = self.leased.get_mut(&receipt.number)
            && leased.item.times == receipt.time
        {
            leased.attempt = Some(Arc::downgrade(attempt));
        }
    }

    pub fn renew(&mut self, receipt: &Receipt, until: Instant) {
        if let Some(leased) = self.leased.get_mut(&receipt.number)
            && leased.item.times == receipt.time
        {
            self.ends.remove(&(leased.until, receipt.number));
            leased.until = until;
            self.ends.insert((until, receipt.number));
        }
    }

    pub fn release(&mut self, receipt: &Receipt) {
        let leased = self.leased.get(&receipt.number);
        if leased.is_some_and(|leased| leased.item.times == receipt.time) {
            self.give_back(receipt.number);
        }
    }

    /// Removes a member and releases its records.
    pub fn leave(&mut self, member: u64) {
        let all = self.leased.iter();
        let its = all.filter(|(_, leased)| leased.member == member);
        for number in its.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.give_back(number);
        }
        self.claims.give_up_all(member);
        self.members.remove(&member);
        self.waiters.leave(member);
    }

    /// Removes a member whose leases then run out.
    pub fn vanish(&mut self, member: u64) {
        if let Some(gone) = self.members.get_mut(&member) {
            gone.vanished = true;
            if gone.leased == 0 {
                self.members.remove(&member);
            }
        }
        self.waiters.leave(member);
    }

    pub fn backlog(&mut self, now: Instant) -> Backlog {
        self.expire(now);
        let leased = self.leased.first_key_value();
        let leased = leased.map(|(number, leased)| (*number, &leased.item));
        let both = leased.into_iter().chain(self.lines.oldest(1));
        let oldest = both.min_by_key(|(number, _)| *number);
        Backlog {
            pending: self.leased.len() as u64,
            lag: self.lines.len() as u64,
            oldest: oldest.map_or_else(Default::default, |(_, item)| {
                now.saturating_duration_since(item.entry.appended)
            }),
        }
    }

    /// Adds the messages that are not settled.
    pub fn scan(&mut self, topic: &Topic, group: &str, scan: &mut Scan) {
        self.expire(scan.now);
        let (mut waiting, mut handled, mut retried) = (self.lines.len(), 0, 0);
        for leased in self.leased.values() {
            match &leased.attempt {
                None => waiting += 1,
                Some(attempt) if attempt.strong_count() > 0 => handled += 1,
                Some(_) => retried += 1,
            }
            // The end of such a lease settles its record, and no call notes it.
            scan.ends(leased.done.then_some(leased.until));
        }
        scan.add(topic, Some(group), InFlightState::Waiting, waiting);
        scan.add(topic, Some(group), InFlightState::Handled, handled);
        scan.add(topic, Some(group), InFlightState::Retried, retried);
    }

    /// The state for operators. A member that vanished is a member until its leases have run out.
    pub fn inspect(&mut self, name: &str, now: Instant) -> GroupState {
        let mut state = GroupState::new(name);
        state.backlog = self.backlog(now);
        let names = self.members.values().map(|member| &*member.name);
        state.members = names.map(MemberState::new).collect();
        state.members.sort();
        let leased = self.leased.iter().filter(|(_, leased)| !leased.done);
        let leased = leased.map(|(number, leased)| {
            let holder = self.members.get(&leased.member);
            (*number, &leased.item, holder.map(|member| &member.name))
        });
        let waiting = self.lines.oldest(GroupState::OLDEST).into_iter();
        let waiting = waiting.map(|(number, item)| (number, item, None));
        let mut oldest: Vec<_> = leased.take(GroupState::OLDEST).chain(waiting).collect();
        oldest.sort_unstable_by_key(|(number, ..)| *number);
        oldest.truncate(GroupState::OLDEST);
        let record = |(number, item, holder): (_, &Item, Option<&Arc<str>>)| {
            let age = now.saturating_duration_since(item.entry.appended);
            let mut record = UnsettledRecord::new(place(number), age);
            record.holder = holder.map(|name| name.to_string());
            record.deliveries = Some(item.attempts.into());
            record
        };
        state.oldest = oldest.into_iter().map(record).collect();
        state
    }

    pub fn unsettled(&self) -> impl Iterator<Item = (u64, &Arc<StoredEntry>)> {
        let leased = self.leased.iter().filter(|(_, leased)| !leased.done);
        let leased = leased.map(|(number, leased)| (*number, &leased.item));
        let both = self.lines.all().chain(leased);
        both.map(|(number, item)| (number, &item.entry))
    }

    /// Wakes the members that the last change concerns.
    pub fn rouse(&mut self) {
        for member in self.lines.drain_roused() {
            self.waiters.wake(member);
        }
        if self.lines.any_free() {
            self.waiters.wake_one();
        }
        if let Some(end) = self.next_end() {
            self.waiters.watch(end);
        }
    }

    /// Sets the time at which the next scheduled record of the topic is due.
    pub fn watch(&mut self, due: Option<Instant>) {
        self.due = due;
        self.rouse();
    }

    /// The time at which the first lease ends, or a record is due.
    fn next_end(&self) -> Option<Instant> {
        let first = self.ends.first().map(|(until, _)| *until);
        first.into_iter().chain(self.due).min()
    }

    fn lease(
        &mut self,
        number: u64,
        mut item: Item,
        member: u64,
        until: Instant,
    ) -> Delivery<Receipt> {
        item.times += 1;
        item.attempts += 1;
        let record = item.entry.record.clone();
        let delivery = Delivery {
            receipt: Receipt {
                number,
                time: item.times,
                key: record.key.clone(),
            },
            record,
            attempt: item.attempts,
        };
        let leased = Leased {
            item,
            member,
            until,
            done: false,
            attempt: None,
        };
        self.leased.insert(number, leased);
        self.ends.insert((until, number));
        if let Some(member) = self.members.get_mut(&member) {
            member.leased += 1;
        }
        delivery
    }

    /// Ends a lease that does not count as an attempt.
    fn give_back(&mut self, number: u64) {
        if let Some(leased) = self.leased.get_mut(&number) {
            leased.item.attempts -= 1;
        }
        self.end(number);
    }

    fn expire(&mut self, now: Instant) {
        while let Some((until, number)) = self.ends.first()
            && *until <= now
        {
            self.end(*number);
        }
    }

    /// Ends a lease. A record that is not done waits again, at its old place.
    fn end(&mut self, number: u64) {
        let Some(leased) = self.leased.remove(&number) else {
            return;
        };
        self.ends.remove(&(leased.until, number));
        if leased.done {
            self.lines.done(&leased.item);
        } else {
            self.lines.give_back(number, leased.item);
        }
        if let Some(member) = self.members.get_mut(&leased.member) {
            member.leased -= 1;
            if member.leased == 0 && member.vanished {
                self.members.remove(&leased.member);
            }
        }
    }
}
