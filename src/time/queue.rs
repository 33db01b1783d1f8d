//! A min-heap of scheduled messages with cancellation.
//!
//! The heap orders keys; the messages are in slots and do not move. Cancelling empties a slot and
//! leaves its key in the heap as a stale one, until it reaches the top or half of the heap is stale.

use super::Time;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// A handle to a scheduled message, for [`cancel`](super::Timeline::cancel).
///
/// Valid only for the timeline that returned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Handle {
    slot: u32,
    order: u64,
}

#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Queue<C> {
    heap: BinaryHeap<Reverse<Key>>,
    slots: Vec<Slot<C>>,
    vacant: Vec<u32>,
}

/// The position of a message in the order of delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Key {
    time: Time,
    priority: u32,
    /// Orders ties. Unique, so it also distinguishes a message from a later one in the same slot.
    order: u64,
    slot: u32,
}

#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Slot<C> {
    order: u64,
    message: Option<C>,
}

impl<C> Queue<C> {
    pub(super) fn new() -> Self {
        Queue {
            heap: BinaryHeap::with_capacity(2 * FEW),
            slots: Vec::new(),
            vacant: Vec::new(),
        }
    }

    /// Makes room for `capacity` messages, and for as many stale keys.
    pub(super) fn reserve(&mut self, capacity: usize) {
        self.heap.reserve(capacity + capacity.max(2 * FEW));
        self.slots.reserve(capacity);
        self.vacant.reserve(capacity);
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    pub(super) fn push(&mut self, time: Time, priority: u32, order: u64, message: C) -> Handle {
        let slot = self.fill_slot(order, message);
        self.heap.push(Reverse(Key {
            time,
            priority,
            order,
            slot,
        }));
        Handle { slot, order }
    }

    pub(super) fn cancel(&mut self, handle: Handle) -> Option<C> {
        let message = self.empty_slot(handle.slot, handle.order)?;
        if self.heap.len() > 2 * self.len().max(FEW) {
            let slots = &self.slots;
            self.heap
                .retain(|Reverse(key)| slots[key.slot as usize].holds(key.order));
        }
        Some(message)
    }

    /// The time at which the first message is due.
    pub(super) fn first(&mut self) -> Option<Time> {
        loop {
            let Reverse(key) = *self.heap.peek()?;
            if self.slots[key.slot as usize].holds(key.order) {
                return Some(key.time);
            }
            self.heap.pop();
        }
    }

    /// Removes the first message if it is due at or before `time`; returns it with the time it was due.
    pub(super) fn pop_due(&mut self, time: Time) -> Option<(Time, C)> {
        while self.heap.peek()?.0.time <= time {
            let Reverse(key) = self.heap.pop()?;
            if let Some(message) = self.empty_slot(key.slot, key.order) {
                return Some((key.time, message));
            }
        }
        None
    }

    fn fill_slot(&mut self, order: u64, message: C) -> u32 {
        let filled = Slot {
            order,
            message: Some(message),
        };
        if let Some(slot) = self.vacant.pop() {
            self.slots[slot as usize] = filled;
            return slot;
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 messages are scheduled");
        self.slots.push(filled);
        slot
    }

    fn empty_slot(&mut self, slot: u32, order: u64) -> Option<C> {
        let held = self.slots.get_mut(slot as usize)?;
        if held.order != order {
            return None;
        }
        let message = held.message.take()?;
        self.vacant.push(slot);
        Some(message)
    }
}

/// The number of keys below which stale ones are not swept. So the number of stale keys never exceeds
/// the largest number of messages that waited at once, or twice this constant.
const FEW: usize = 16;

impl<C> Slot<C> {
    fn holds(&self, order: u64) -> bool {
        self.order == order && self.message.is_some()
    }
}
