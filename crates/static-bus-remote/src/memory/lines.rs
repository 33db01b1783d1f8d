//! The records of one group that wait for a member.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::entry::StoredEntry;

/// Records that wait, by their number in the topic.
///
/// A member gets the first entry of two lines: `free`, and its own. A record without a key is an entry of
/// `free`. The records of a key have one entry, at the number of the first of them that
/// waits: in the line of the member that holds leases of the key, or in `free` if no member
/// does. So a record is found without a search through those of other members.
#[derive(Default)]
pub(super) struct Lines {
    free: Line,
    own: HashMap<u64, Line>,
    keys: HashMap<Arc<str>, Key>,
    len: usize,
    /// The members whose lines have a new entry.
    roused: Vec<u64>,
}

pub(super) struct Item {
    pub entry: Arc<StoredEntry>,
    /// The number of deliveries.
    pub times: u64,
    /// The number of deliveries that were not released.
    pub attempts: u32,
}

type Line = BTreeMap<u64, InLine>;

enum InLine {
    Record(Item),
    Key(Arc<str>),
}

#[derive(Default)]
struct Key {
    waiting: BTreeMap<u64, Item>,
    /// The number of its records that are leased, all by `holder`.
    leased: usize,
    holder: u64,
}

impl Lines {
    /// The number of records that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns `true` if there is a record that any member may take.
    pub fn any_free(&self) -> bool {
        !self.free.is_empty()
    }

    pub fn append(&mut self, number: u64, entry: Arc<StoredEntry>) {
        let item = Item {
            entry,
            times: 0,
            attempts: 0,
        };
        self.put(number, item, |_| {});
    }

    /// Puts a record back that was taken.
    pub fn give_back(&mut self, number: u64, item: Item) {
        self.put(number, item, |key| key.leased -= 1);
    }

    /// Removes a record that was taken.
    pub fn done(&mut self, item: &Item) {
        if let Some(key) = &item.entry.record.key {
            self.change(key, |key| key.leased -= 1);
        }
    }

    /// Takes the first record that this member may have. Others of its key are then for this member alone,
    /// until all that were taken are given back or done.
    pub fn take(&mut self, member: u64) -> Option<(u64, Item)> {
        let own = self.own.get(&member).and_then(Line::first_key_value);
        let free = self.free.first_key_value();
        let (number, first) = match (own, free) {
            (Some(own), Some(free)) if own.0 < free.0 => own,
            (own, free) => free.or(own)?,
        };
        let number = *number;
        let item = if let InLine::Key(key) = first {
            let key = key.clone();
            self.change(&key, |key| {
                key.leased += 1;
                key.holder = member;
                key.waiting.remove(&number)
            })
        } else {
            self.take_free(number)
        };
        self.len -= 1;
        item.map(|item| (number, item))
    }

    /// Removes a record if it waits.
    pub fn remove(&mut self, number: u64, key: Option<&Arc<str>>) {
        let item = match key {
            Some(key) => self.change(key, |key| key.waiting.remove(&number)),
            None => match self.free.get(&number) {
                Some(InLine::Record(_)) => self.take_free(number),
                _ => None,
            },
        };
        self.len -= usize::from(item.is_some());
    }

    /// The members whose lines have a new entry since the last call.
    pub fn drain_roused(&mut self) -> std::vec::Drain<'_, u64> {
        self.roused.drain(..)
    }

    /// The oldest records that wait, up to `count`, in order. Looks at as many records of each line and key.
    pub fn oldest(&self, count: usize) -> Vec<(u64, &Item)> {
        let lines = self.own.values().chain([&self.free]);
        let first = lines.flat_map(|line| line.iter().take(count));
        let mut oldest = Vec::new();
        for (number, first) in first {
            match first {
                InLine::Record(item) => oldest.push((*number, item)),
                InLine::Key(key) => {
                    let waiting = self.keys.get(key).into_iter().flat_map(|key| &key.waiting);
                    oldest.extend(waiting.take(count).map(|(number, item)| (*number, item)));
                }
            }
        }
        oldest.sort_unstable_by_key(|(number, _)| *number);
        oldest.truncate(count);
        oldest
    }

    pub fn all(&self) -> impl Iterator<Item = (u64, &Item)> {
        let free = self.free.iter().filter_map(|(number, first)| match first {
            InLine::Record(item) => Some((number, item)),
            InLine::Key(_) => None,
        });
        let keyed = self.keys.values().flat_map(|key| &key.waiting);
        free.chain(keyed).map(|(number, item)| (*number, item))
    }

    fn put(&mut self, number: u64, item: Item, change: impl FnOnce(&mut Key)) {
        self.len += 1;
        match item.entry.record.key.clone() {
            Some(key) => self.change(&key, |key| {
                change(key);
                key.waiting.insert(number, item);
            }),
            None => {
                self.free.insert(number, InLine::Record(item));
            }
        }
    }

    fn take_free(&mut self, number: u64) -> Option<Item> {
        match self.free.remove(&number)? {
            InLine::Record(item) => Some(item),
            InLine::Key(_) => None,
        }
    }

    /// Changes the state of a key, and moves its entry to the line in which it then belongs.
    fn change<R>(&mut self, key: &Arc<str>, change: impl FnOnce(&mut Key) -> R) -> R {
        let state = self.keys.entry(key.clone()).or_default();
        let before = state.place();
        let result = change(state);
        let after = state.place();
        if after.is_none() && state.leased == 0 {
            self.keys.remove(key);
        }
        if before != after {
            if let Some(place) = before {
                self.move_out(place);
            }
            if let Some(place) = after {
                self.move_in(place, key.clone());
            }
        }
        result
    }

    fn move_out(&mut self, (holder, number): Place) {
        let Some(holder) = holder else {
            self.free.remove(&number);
            return;
        };
        if let Some(line) = self.own.get_mut(&holder) {
            line.remove(&number);
            if line.is_empty() {
                self.own.remove(&holder);
            }
        }
    }

    fn move_in(&mut self, (holder, number): Place, key: Arc<str>) {
        let line = match holder {
            Some(holder) => {
                self.roused.push(holder);
                self.own.entry(holder).or_default()
            }
            None => &mut self.free,
        };
        line.insert(number, InLine::Key(key));
    }
}

/// The member whose line it is, or `None` for `free`, and the number.
type Place = (Option<u64>, u64);

impl Key {
    fn place(&self) -> Option<Place> {
        let holder = (self.leased > 0).then_some(self.holder);
        let (first, _) = self.waiting.first_key_value()?;
        Some((holder, *first))
    }
}
