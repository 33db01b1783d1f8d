//! The groups of a topic of commands or events.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::time::Instant;

use super::{
    entry::{Entry, Stored, StoredEntry},
    group::Group,
    quiet::{Activity, InFlightState, Scan},
    scheduled::Scheduled,
};
use crate::{
    lock::lock,
    transport::{Due, Kind, Record, Topic, TopicState},
};

/// The greatest number of records that one call moves when they are due.
const MOVED: usize = 1000;

/// A topic of commands or events. There is no list of its records: each group refers to those that it has not
/// settled, and a record is freed with the last reference.
pub(super) struct Log {
    kind: Kind,
    content: Mutex<Content>,
    pub activity: Arc<Activity>,
}

#[derive(Default)]
pub(super) struct Content {
    /// Groups are never removed: a consumer refers to its own by index.
    pub groups: Vec<Group>,
    names: Vec<Cow<'static, str>>,
    appended: u64,
    stored: Stored,
    /// Commands for the first group, while there is no group.
    early: BTreeMap<u64, Arc<StoredEntry>>,
    scheduled: Scheduled,
}

impl Log {
    pub fn new(kind: Kind, activity: Arc<Activity>) -> Self {
        Log {
            kind,
            content: Mutex::default(),
            activity,
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Content> {
        lock(&self.content)
    }

    pub fn append(&self, records: impl Iterator<Item = Record>) {
        let mut content = self.lock();
        let now = Instant::now();
        for record in records {
            content.append(self.kind, record, now);
        }
        content.groups.iter_mut().for_each(Group::rouse);
    }

    /// Keeps a record until it is due.
    pub fn schedule(&self, due: &Due, record: Record) {
        let mut content = self.lock();
        content.scheduled.add(due, record);
        content.watch_due();
    }

    /// Removes the record with this cancellation key. Returns whether there was one.
    pub fn cancel(&self, key: &str) -> bool {
        let mut content = self.lock();
        let is_cancelled = content.scheduled.cancel(key);
        content.watch_due();
        is_cancelled
    }

    /// Changes a group after the records that are due were appended, and wakes the members that the change concerns.
    pub fn change<R>(&self, group: usize, change: impl FnOnce(&mut Group, Instant) -> R) -> R {
        let mut content = self.lock();
        let now = Instant::now();
        content.append_due(self.kind, now);
        let group = &mut content.groups[group];
        let result = change(group, now);
        group.rouse();
        drop(content);
        self.activity.note();
        result
    }

    /// The index of a group, which is created if it is missing.
    pub fn group(&self, name: Cow<'static, str>) -> usize {
        let mut content = self.lock();
        if let Some(index) = content.names.iter().position(|known| *known == name) {
            return index;
        }
        let mut group = Group::default();
        if self.kind == Kind::Command {
            let mut oldest = std::mem::take(&mut content.early);
            for other in &content.groups {
                oldest.extend(other.unsettled().map(|(n, entry)| (n, entry.clone())));
            }
            for (number, entry) in oldest {
                group.append(number, entry);
            }
        }
        content.groups.push(group);
        content.names.push(name);
        content.watch_due();
        content.groups.len() - 1
    }

    /// Adds the messages that no group has settled.
    pub fn scan(&self, topic: &Topic, scan: &mut Scan) {
        let mut content = self.lock();
        content.append_due(self.kind, scan.now);
        let Content {
            groups,
            names,
            early,
            ..
        } = &mut *content;
        scan.add(topic, None, InFlightState::Waiting, early.len());
        for (group, name) in groups.iter_mut().zip(names) {
            group.scan(topic, name, scan);
            group.rouse();
        }
    }

    /// The state for operators.
    pub fn inspect(&self, topic: Topic) -> TopicState {
        let mut content = self.lock();
        let Content { groups, names, .. } = &mut *content;
        let now = Instant::now();
        let mut state = TopicState::new(topic);
        let groups = names.iter().zip(groups);
        state.groups = groups
            .map(|(name, group)| group.inspect(name, now))
            .collect();
        state.groups.sort_by(|a, b| a.group.cmp(&b.group));
        state.stored = content.stored.number() as u64;
        state.appended = Some(content.appended);
        state.scheduled = content.scheduled.len() as u64;
        let next = content.scheduled.next();
        state.next_due = next.map(|due| due.saturating_duration_since(now));
        state
    }
}

impl Content {
    fn append(&mut self, kind: Kind, record: Record, now: Instant) {
        self.appended += 1;
        let entry = self.stored.entry(Entry::new(record, now));
        if self.groups.is_empty() && kind == Kind::Command {
            self.early.insert(self.appended, entry);
            return;
        }
        for group in &mut self.groups {
            group.append(self.appended, entry.clone());
        }
    }

    /// Appends records that are due.
    fn append_due(&mut self, kind: Kind, now: Instant) {
        if self.scheduled.next().is_none_or(|due| due > now) {
            return;
        }
        for _ in 0..MOVED {
            let Some(record) = self.scheduled.pop(now) else {
                break;
            };
            self.append(kind, record, now);
        }
        self.watch_due();
    }

    /// Has each group look again when the next record is due.
    fn watch_due(&mut self) {
        let due = self.scheduled.next();
        for group in &mut self.groups {
            group.watch(due);
        }
    }
}
