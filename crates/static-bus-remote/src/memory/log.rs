//! The groups of a topic of commands or events.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::time::Instant;

use super::{entry::Entry, group::Group};
use crate::{
    lock::lock,
    transport::{Kind, Record},
};

/// A topic of commands or events. There is no list of its records: each group refers to those that it has not
/// settled, and a record is freed with the last reference.
pub(super) struct Log {
    kind: Kind,
    content: Mutex<Content>,
}

#[derive(Default)]
pub(super) struct Content {
    /// Groups are never removed: a consumer refers to its own by index.
    pub groups: Vec<Group>,
    names: Vec<Cow<'static, str>>,
    appended: u64,
    /// Commands for the first group, while there is no group.
    early: BTreeMap<u64, Arc<Entry>>,
}

impl Log {
    pub fn new(kind: Kind) -> Self {
        Log {
            kind,
            content: Mutex::default(),
        }
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
            let entry = Arc::new(Entry::new(record, now));
            if groups.is_empty() && self.kind == Kind::Command {
                early.insert(*appended, entry);
                continue;
            }
            for group in groups.iter_mut() {
                group.append(*appended, entry.clone());
            }
        }
        groups.iter_mut().for_each(Group::rouse);
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
        content.groups.len() - 1
    }
}
