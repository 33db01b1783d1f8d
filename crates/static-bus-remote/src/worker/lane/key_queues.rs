//! The order of messages with one key.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
};

use super::{
    item::Item,
    triage::{Decision, Triage},
};

/// The messages that wait for another of their key: of each key one message is under way, and the others wait in
/// the order in which they came.
///
/// A message that waits for a time, for its next attempt or claim, is *parked*, and so are those behind it.
pub(super) struct KeyQueues<R> {
    queues: HashMap<Arc<str>, Queue<R>>,
    parked: usize,
}

/// The messages behind one that is under way.
struct Queue<R> {
    waiting: VecDeque<Triage<R>>,
    /// `true` if the message under way is parked.
    is_parked: bool,
}

impl<R> KeyQueues<R> {
    pub fn new() -> Self {
        KeyQueues {
            queues: HashMap::new(),
            parked: 0,
        }
    }

    /// The number of parked messages.
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// Adds a message. Returns it if no message of its key is under way: from now on it is.
    pub fn enter(&mut self, triage: Triage<R>) -> Option<Triage<R>> {
        let Some(key) = triage.item.key().cloned() else {
            return Some(triage);
        };
        match self.queues.entry(key) {
            Entry::Occupied(mut queue) => {
                let queue = queue.get_mut();
                self.parked += usize::from(queue.is_parked);
                queue.waiting.push_back(triage);
                None
            }
            Entry::Vacant(free) => {
                free.insert(Queue {
                    waiting: VecDeque::new(),
                    is_parked: false,
                });
                Some(triage)
            }
        }
    }

    /// Removes the message of this key that is under way. Returns the next: from now on it is under way.
    pub fn next(&mut self, key: &Arc<str>) -> Option<Triage<R>> {
        let queue = self.queues.get_mut(key)?;
        let next = queue.waiting.pop_front();
        if next.is_none() {
            self.queues.remove(key);
        }
        next
    }

    /// Removes the message of this key that is under way, and those that wait for it, which are returned.
    pub fn remove(&mut self, key: &Arc<str>) -> impl Iterator<Item = Item<R>> {
        let queue = self.queues.remove(key);
        let waiting = queue.into_iter().flat_map(|queue| queue.waiting);
        waiting.map(Triage::into_item)
    }

    pub fn park(&mut self, item: &Item<R>) {
        self.parked += self.set_parked(item, true);
    }

    pub fn unpark(&mut self, item: &Item<R>) {
        self.parked -= self.set_parked(item, false);
    }

    /// Returns the number of messages concerned: the item, and those behind it.
    fn set_parked(&mut self, item: &Item<R>, is_parked: bool) -> usize {
        let Some(queue) = item.key().and_then(|key| self.queues.get_mut(key)) else {
            return 1;
        };
        queue.is_parked = is_parked;
        1 + queue.waiting.len()
    }

    /// Exchanges an item whose claim is refused with a duplicate behind it that holds the claim, and returns the
    /// duplicate, or else the item. Otherwise each would wait for the other.
    pub fn exchange(&mut self, item: Item<R>) -> Triage<R> {
        let queue = item.key().and_then(|key| self.queues.get_mut(key));
        let mut waiting = queue.into_iter().flat_map(|queue| &mut queue.waiting);
        let duplicate = waiting.find(|triage| {
            triage.is_handled() && triage.item.deduplication_key == item.deduplication_key
        });
        let decision = Decision::ClaimLater;
        let refused = Triage { item, decision };
        match duplicate {
            Some(duplicate) => std::mem::replace(duplicate, refused),
            None => refused,
        }
    }

    /// Removes the messages that wait for others.
    pub fn drain(&mut self) -> impl Iterator<Item = Item<R>> {
        self.parked = 0;
        let queues = self.queues.drain();
        queues.flat_map(|(_, queue)| queue.waiting.into_iter().map(Triage::into_item))
    }
}
