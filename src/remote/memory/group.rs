//! What one group has not settled: records that wait, records that are leased, and who waits for
//! them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tokio::{sync::Notify, time::Instant};

use super::{claims::Claims, consumer::Receipt, log::Entry, waiters::Waiters};
use crate::remote::transport::{Backlog, Delivery};

/// A group. Records are named by their number in the topic.
///
/// A member is given the first of two lines: `free`, and its own. A record without a key stands in
/// `free` by itself. Of a key that has records waiting only the key stands in line, at
/// the number of the first of them: in the line of the member that holds leases of the key, or in
/// `free` when nobody does. So a record is found without passing those that are for others.
#[derive(Default)]
pub(super) struct Group {
    free: Line,
    keys: HashMap<Arc<str>, Key>,
    /// How many records wait, in line or behind their key.
    waiting: usize,
    leased: BTreeMap<u64, Leased>,
    ends: BTreeSet<(Instant, u64)>,
    members: HashMap<u64, Member>,
    joined: u64,
    waiters: Waiters,
    pub claims: Claims,
    /// Of queries and replies: no leases, no keys, and how many records may wait before those that
    /// have expired are removed.
    sweep: Option<usize>,
}

type Line = BTreeMap<u64, InLine>;

enum InLine {
    Record(Item),
    Key(Arc<str>),
}

struct Item {
    entry: Arc<Entry>,
    attempts: u32,
}

#[derive(Default)]
struct Key {
    waiting: BTreeMap<u64, Item>,
    /// How many of its records are leased, all by `holder`.
    leased: usize,
    holder: u64,
}

struct Leased {
    item: Item,
    member: u64,
    until: Instant,
    /// It was acknowledged by one who held it earlier. Nobody else gets it, but until this lease ends
    /// the others of its key wait.
    done: bool,
}

#[derive(Default)]
struct Member {
    own: Line,
    leased: usize,
    vanished: bool,
}

/// What came of an attempt to receive.
pub(super) enum Outcome {
    Received(Vec<Delivery<Receipt>>),
    /// There is nothing; try again when woken, and at this time.
    Wait(Instant),
    /// The member has left.
    Left,
}

impl Group {
    pub fn at_most_once() -> Self {
        Group {
            sweep: Some(SWEEP),
            ..Group::default()
        }
    }

    pub fn append(&mut self, number: u64, entry: Arc<Entry>, now: Instant) {
        if self.sweep.is_some_and(|limit| self.waiting >= limit) {
            self.drop_expired(now);
        }
        let item = Item { entry, attempts: 0 };
        self.put(number, item, |_| {});
    }

    pub fn join(&mut self, wake: Arc<Notify>) -> u64 {
        self.joined += 1;
        self.members.insert(self.joined, Member::default());
        self.waiters.join(self.joined, wake);
        self.joined
    }

    pub fn has(&self, member: u64) -> bool {
        self.members.contains_key(&member)
    }

    pub fn receive(
        &mut self,
        member: u64,
        max: usize,
        until: Instant,
        end: Instant,
        now: Instant,
    ) -> Outcome {
        self.waiters.remove(member);
        if !self.has(member) {
            return Outcome::Left;
        }
        self.expire(now);
        let mut deliveries = Vec::new();
        while deliveries.len() < max
            && let Some((number, item)) = self.take(member)
        {
            if self.sweep.is_none() {
                deliveries.push(self.lease(number, item, member, until));
            } else if item.entry.expires.is_none_or(|expires| now < expires) {
                let record = Arc::unwrap_or_clone(item.entry).record;
                deliveries.push(delivery(number, 1, None, record));
            }
        }
        if !deliveries.is_empty() || max == 0 || now >= end {
            return Outcome::Received(deliveries);
        }
        let wakes = self.ends.first().map_or(end, |(until, _)| end.min(*until));
        self.waiters.add(member, wakes);
        Outcome::Wait(wakes)
    }

    pub fn no_longer_waits(&mut self, member: u64) {
        self.waiters.remove(member);
    }

    pub fn acknowledge(&mut self, receipt: &Receipt) {
        let number = receipt.number;
        if let Some(leased) = self.leased.get_mut(&number) {
            leased.done = true;
            if leased.item.attempts == receipt.attempt {
                self.end(number);
            }
            return;
        }
        // The lease was lost, and the record may be waiting for another member.
        let found = match &receipt.key {
            Some(key) => self.change_key(key, |key| key.waiting.remove(&number).is_some()),
            None => self.free.remove(&number).is_some(),
        };
        self.waiting -= usize::from(found);
    }

    pub fn renew(&mut self, receipt: &Receipt, until: Instant) {
        if let Some(leased) = self.leased.get_mut(&receipt.number)
            && leased.item.attempts == receipt.attempt
        {
            self.ends.remove(&(leased.until, receipt.number));
            leased.until = until;
            self.ends.insert((until, receipt.number));
        }
    }

    pub fn release(&mut self, receipt: &Receipt) {
        let leased = self.leased.get(&receipt.number);
        if leased.is_some_and(|leased| leased.item.attempts == receipt.attempt) {
            self.end(receipt.number);
        }
    }

    /// The member gives everything back.
    pub fn leave(&mut self, member: u64) {
        let all = self.leased.iter();
        let its = all.filter(|(_, leased)| leased.member == member);
        for number in its.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.end(number);
        }
        self.claims.give_up_all(member);
        self.members.remove(&member);
        self.waiters.leave(member);
    }

    /// The member is gone, and its leases are left to run out.
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
        if self.sweep.is_some() {
            self.drop_expired(now);
        }
        let lines = self.members.values().map(|member| &member.own);
        let first = lines.chain([&self.free]).filter_map(|line| {
            let (number, first) = line.first_key_value()?;
            let item = match first {
                InLine::Record(item) => item,
                InLine::Key(key) => self.keys.get(key)?.waiting.get(number)?,
            };
            Some((*number, item))
        });
        let leased = self.leased.first_key_value();
        let leased = leased.map(|(number, leased)| (*number, &leased.item));
        let oldest = first.chain(leased).min_by_key(|(number, _)| *number);
        Backlog {
            pending: self.leased.len() as u64,
            lag: self.waiting as u64,
            oldest: oldest.map_or_else(Default::default, |(_, item)| {
                now.saturating_duration_since(item.entry.appended)
            }),
        }
    }

    pub fn unsettled(&self) -> impl Iterator<Item = (u64, &Arc<Entry>)> {
        let free = self.free.iter().filter_map(|(number, first)| match first {
            InLine::Record(item) => Some((*number, &item.entry)),
            InLine::Key(_) => None,
        });
        let keys = self.keys.values().flat_map(|key| &key.waiting);
        let leased = self.leased.iter().filter(|(_, leased)| !leased.done);
        free.chain(keys.map(|(number, item)| (*number, &item.entry)))
            .chain(leased.map(|(number, leased)| (*number, &leased.item.entry)))
    }

    /// Wakes whom the last change concerns.
    pub fn rouse(&mut self) {
        if !self.free.is_empty() {
            self.waiters.wake_one();
        }
        if let Some((end, _)) = self.ends.first() {
            self.waiters.watch(*end);
        }
    }

    /// The first record that this member may have.
    fn take(&mut self, member: u64) -> Option<(u64, Item)> {
        let own = self.members.get(&member)?.own.first_key_value();
        let free = self.free.first_key_value();
        let first = match (own, free) {
            (Some(own), Some(free)) if own.0 < free.0 => own,
            (own, free) => free.or(own)?,
        };
        let taken = if let (_, InLine::Key(key)) = first {
            let key = key.clone();
            self.change_key(&key, |key| {
                key.leased += 1;
                key.holder = member;
                key.waiting.pop_first()
            })
        } else {
            self.free
                .pop_first()
                .and_then(|(number, first)| match first {
                    InLine::Record(item) => Some((number, item)),
                    InLine::Key(_) => None,
                })
        };
        self.waiting -= 1;
        taken
    }

    fn lease(
        &mut self,
        number: u64,
        mut item: Item,
        member: u64,
        until: Instant,
    ) -> Delivery<Receipt> {
        item.attempts += 1;
        let record = item.entry.record.clone();
        let delivery = delivery(number, item.attempts, record.key.clone(), record);
        self.ends.insert((until, number));
        let leased = Leased {
            item,
            member,
            until,
            done: false,
        };
        self.leased.insert(number, leased);
        if let Some(member) = self.members.get_mut(&member) {
            member.leased += 1;
        }
        delivery
    }

    fn expire(&mut self, now: Instant) {
        while let Some((until, number)) = self.ends.first()
            && *until <= now
        {
            self.end(*number);
        }
    }

    /// Ends a lease. If its record is not done, it waits again, at its old place.
    fn end(&mut self, number: u64) {
        let Some(leased) = self.leased.remove(&number) else {
            return;
        };
        self.ends.remove(&(leased.until, number));
        if !leased.done {
            self.put(number, leased.item, |key| key.leased -= 1);
        } else if let Some(key) = &leased.item.entry.record.key {
            self.change_key(key, |key| key.leased -= 1);
        }
        if let Some(member) = self.members.get_mut(&leased.member) {
            member.leased -= 1;
            if member.leased == 0 && member.vanished {
                self.members.remove(&leased.member);
            }
        }
    }

    fn put(&mut self, number: u64, item: Item, change: impl FnOnce(&mut Key)) {
        self.waiting += 1;
        match item.entry.record.key.clone() {
            Some(key) if self.sweep.is_none() => self.change_key(&key, |key| {
                change(key);
                key.waiting.insert(number, item);
            }),
            _ => {
                self.free.insert(number, InLine::Record(item));
            }
        }
    }

    /// Changes what is known of a key, and moves the key to where it then has to stand in line.
    fn change_key<R>(&mut self, key: &Arc<str>, change: impl FnOnce(&mut Key) -> R) -> R {
        let state = self.keys.entry(key.clone()).or_default();
        let before = state.place();
        let result = change(state);
        let after = state.place();
        if after.is_none() && state.leased == 0 {
            self.keys.remove(key);
        }
        if before != after {
            if let Some((holder, number)) = before {
                self.line(holder).remove(&number);
            }
            if let Some((holder, number)) = after {
                self.line(holder).insert(number, InLine::Key(key.clone()));
                if let Some(holder) = holder {
                    self.waiters.wake(holder);
                }
            }
        }
        result
    }

    fn line(&mut self, holder: Option<u64>) -> &mut Line {
        match holder {
            Some(holder) => &mut self.members.entry(holder).or_default().own,
            None => &mut self.free,
        }
    }

    fn drop_expired(&mut self, now: Instant) {
        self.free.retain(|_, first| match first {
            InLine::Record(item) => item.entry.expires.is_none_or(|expires| now < expires),
            InLine::Key(_) => true,
        });
        self.waiting = self.free.len();
        self.sweep = Some(2 * self.waiting.max(SWEEP));
    }
}

impl Key {
    /// In whose line it stands, and at which number, if it has records that wait.
    fn place(&self) -> Option<(Option<u64>, u64)> {
        let holder = (self.leased > 0).then_some(self.holder);
        let (first, _) = self.waiting.first_key_value()?;
        Some((holder, *first))
    }
}

const SWEEP: usize = 1024;

fn delivery(
    number: u64,
    attempt: u32,
    key: Option<Arc<str>>,
    record: crate::remote::transport::Record,
) -> Delivery<Receipt> {
    Delivery {
        receipt: Receipt {
            number,
            attempt,
            key,
        },
        record,
        attempt,
    }
}
