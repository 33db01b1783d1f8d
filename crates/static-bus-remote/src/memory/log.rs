//! The records of one topic, in the groups that have not settled them.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::time::Instant;

use super::{group::Group, later};
use crate::{
    lock::lock,
    transport::{Kind, Record},
};

/// One topic. There is no list of its records: each group refers to those that it has not settled,
/// and a record is freed with the last reference.
pub(super) struct Log {
    kind: Kind,
    content: Mutex<Content>,
}

#[derive(Default)]
pub(super) struct Content {
    /// Groups are never removed, so that a consumer can name its own by index.
    pub groups: Vec<Group>,
    names: Vec<Cow<'static, str>>,
    appended: u64,
    /// Commands for the first group, while there is none.
    early: BTreeMap<u64, Arc<Entry>>,
}

/// A record, shared by the groups.
#[derive(Clone)]
pub(super) struct Entry {
    pub record: Arc<Record>,
    pub appended: Instant,
    pub expires: Option<Instant>,
}

impl Entry {
    pub fn is_of_use(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl Log {
    pub fn new(kind: Kind) -> Self {
        let mut content = Content::default();
        if at_most_once(kind) {
            // The one queue for all who consume the topic, whatever they call their group.
            content.groups.push(Group::at_most_once());
        }
        let content = Mutex::new(content);
        Log { kind, content }
    }

    pub fn lock(&self) -> MutexGuard<'_, Content> {
        lock(&self.content)
    }

    pub fn append(&self, records: impl Iterator<Item = Record>) {
        let mut content = self.lock();
        let Content {
            groups,
            appended,
            early,
            ..
        } = &mut *content;
        let now = Instant::now();
        for record in records {
            *appended += 1;
            let entry = Arc::new(Entry {
                expires: record.expires.map(|after| later(now, after)),
                appended: now,
                record: Arc::new(record),
            });
            if groups.is_empty() && self.kind == Kind::Command {
                early.insert(*appended, entry);
                continue;
            }
            for group in groups.iter_mut() {
                group.append(*appended, entry.clone(), now);
            }
        }
        groups.iter_mut().for_each(Group::rouse);
    }

    /// The index of a group, which is created if it is missing.
    pub fn group(&self, name: Cow<'static, str>) -> usize {
        if at_most_once(self.kind) {
            return 0;
        }
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
            let now = Instant::now();
            for (number, entry) in oldest {
                group.append(number, entry, now);
            }
        }
        content.groups.push(group);
        content.names.push(name);
        content.groups.len() - 1
    }
}

fn at_most_once(kind: Kind) -> bool {
    matches!(kind, Kind::Query | Kind::Reply)
}
