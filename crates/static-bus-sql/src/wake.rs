//! Waking the readers that wait, when there may be records.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use static_bus_remote::lock::lock;
use tokio::sync::Notify;

/// The readers of this transport: members by topic and group, receivers by topic.
#[derive(Default)]
pub struct Wakers(Mutex<BTreeMap<(i64, i64), Shared>>);

/// A record wakes one of the readers that share it. One that leaves records behind wakes the next.
struct Shared {
    wake: Arc<Notify>,
    readers: usize,
}

/// A reader that can be woken.
pub struct Reader {
    wakers: Arc<Wakers>,
    place: (i64, i64),
    wake: Arc<Notify>,
}

impl Wakers {
    pub fn member(self: &Arc<Self>, topic: i64, group: i64) -> Reader {
        self.reader((topic, group))
    }

    pub fn receiver(self: &Arc<Self>, topic: i64) -> Reader {
        self.reader((topic, 0))
    }

    fn reader(self: &Arc<Self>, place: (i64, i64)) -> Reader {
        let mut all = lock(&self.0);
        let shared = all.entry(place).or_insert_with(|| Shared {
            wake: Arc::default(),
            readers: 0,
        });
        shared.readers += 1;
        Reader {
            wakers: self.clone(),
            place,
            wake: shared.wake.clone(),
        }
    }

    /// Wakes readers of a topic: a member of each group, or a receiver.
    pub fn wake(&self, topic: i64) {
        let all = lock(&self.0);
        for (_, shared) in all.range((topic, i64::MIN)..=(topic, i64::MAX)) {
            shared.wake.notify_one();
        }
    }

    /// The topics with members.
    pub fn consumed(&self) -> BTreeSet<i64> {
        let all = lock(&self.0);
        let members = all.keys().filter(|(topic, group)| *topic > 0 && *group > 0);
        members.map(|(topic, _)| *topic).collect()
    }

    /// Wakes readers of all topics.
    pub fn wake_all(&self) {
        for shared in lock(&self.0).values() {
            shared.wake.notify_one();
        }
    }
}

impl Reader {
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Wakes a reader that shares the records.
    pub fn wake_next(&self) {
        self.wake.notify_one();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut all = lock(&self.wakers.0);
        if let Some(shared) = all.get_mut(&self.place) {
            shared.readers -= 1;
            match shared.readers {
                0 => drop(all.remove(&self.place)),
                // It may have been woken.
                _ => shared.wake.notify_one(),
            }
        }
    }
}
