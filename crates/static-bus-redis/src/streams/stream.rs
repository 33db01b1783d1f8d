//! One stream, as a member sees it.

use std::collections::{BTreeMap, HashSet};

use foldhash::HashMap;
use tokio::time::Instant;

use super::super::wire::{Entry, EntryId};

/// A stream, with the entries that this member has read from it.
///
/// An entry is buffered, or held, or neither. Entries of a partition are handed out in their order, and buffered only
/// while the member owns the partition.
pub(super) struct Stream {
    ownership: Ownership,
    is_partition: bool,
    /// Entries that were read and not handed out.
    buffer: BTreeMap<EntryId, Buffered>,
    /// Entries that were handed out and not settled.
    held: HashMap<EntryId, Held>,
    /// The number of deliveries so far.
    deliveries: u32,
    /// Entries that were handed out, and whose leases ran out before they were settled.
    lapsed: HashSet<EntryId>,
    /// The number of calls under way that may return entries.
    reads: usize,
    /// The number of searches for pending entries that were begun.
    searches: u64,
}

/// The right to read the stream. The shared stream is every member's own; a partition has one owner at a time.
enum Ownership {
    /// The partition of another member, or of none.
    Foreign,
    /// Read by this member, until it fails to renew the ownership.
    Own { until: Instant, search: Search },
    /// Not read any more. Given up when no entry is held.
    Leaving { until: Instant },
}

/// The search for entries that are pending for the group and that this member does not have.
#[derive(Clone, Copy)]
enum Search {
    /// Entries up to this one were checked.
    After(EntryId),
    Finished,
}

/// An entry that was read and not handed out.
pub(super) struct Buffered {
    pub entry: Entry,
    pub attempt: u32,
    /// The end of its lease.
    pub until: Instant,
}

/// The last delivery of an entry.
struct Held {
    delivery: u32,
    /// The end of its lease.
    until: Instant,
}

impl Ownership {
    fn new(until: Instant) -> Self {
        let search = Search::After(EntryId::default());
        Ownership::Own { until, search }
    }
}

impl Stream {
    /// The stream of records without a key, owned until the given time.
    pub fn shared(until: Instant) -> Self {
        let search = Search::Finished;
        Stream::new(false, Ownership::Own { until, search })
    }

    /// A partition that is not owned.
    pub fn partition() -> Self {
        Stream::new(true, Ownership::Foreign)
    }

    fn new(is_partition: bool, ownership: Ownership) -> Self {
        Stream {
            ownership,
            is_partition,
            buffer: BTreeMap::new(),
            held: HashMap::default(),
            deliveries: 0,
            lapsed: HashSet::new(),
            reads: 0,
            searches: 0,
        }
    }

    // Ownership.

    pub fn may_read(&self, now: Instant) -> bool {
        matches!(self.ownership, Ownership::Own { until, .. } if until > now)
    }

    pub fn is_owned(&self) -> bool {
        !matches!(self.ownership, Ownership::Foreign)
    }

    pub fn is_leaving(&self) -> bool {
        matches!(self.ownership, Ownership::Leaving { .. })
    }

    /// Returns whether a partition that is to be left can be given up now.
    pub fn is_left(&self) -> bool {
        self.is_leaving() && self.held.is_empty() && self.reads == 0
    }

    /// Extends the ownership, or begins it. One that seemed to have ended was not read from, and may have lost entries.
    pub fn keep(&mut self, new_end: Instant, now: Instant) {
        let has_missed = !self.may_read(now);
        match &mut self.ownership {
            Ownership::Own { until, .. } | Ownership::Leaving { until } => *until = new_end,
            Ownership::Foreign => return self.take(new_end),
        }
        if has_missed {
            self.search();
        }
    }

    /// Begins the ownership. Another member may have owned the partition in between.
    pub fn take(&mut self, until: Instant) {
        self.buffer.clear();
        self.searches += 1;
        self.ownership = Ownership::new(until);
    }

    /// Ends the ownership.
    pub fn lose(&mut self) {
        self.buffer.clear();
        self.ownership = Ownership::Foreign;
    }

    /// Begins to leave the partition. Returns the buffered entries, which are to be released.
    pub fn leave(&mut self) -> Vec<EntryId> {
        if let Ownership::Own { until, .. } = self.ownership {
            self.ownership = Ownership::Leaving { until };
        }
        std::mem::take(&mut self.buffer).into_keys().collect()
    }

    /// Ends the leaving: the partition is read again.
    pub fn stay(&mut self) {
        if let Ownership::Leaving { until } = self.ownership {
            self.searches += 1;
            self.ownership = Ownership::new(until);
        }
    }

    // The search for pending entries.

    /// Begins a new search.
    pub fn search(&mut self) {
        if let Ownership::Own { search, .. } = &mut self.ownership {
            self.searches += 1;
            *search = Search::After(EntryId::default());
        }
    }

    /// The position and the number of the search, if there is one and the stream may be read.
    pub fn searching(&self, now: Instant) -> Option<(EntryId, u64)> {
        match self.ownership {
            Ownership::Own {
                until,
                search: Search::After(id),
            } if until > now => Some((id, self.searches)),
            _ => None,
        }
    }

    /// Moves a search forward, or ends it at `None`. A search that has been begun anew stays where it is.
    pub fn searched(&mut self, number: u64, last: Option<EntryId>) {
        if let Ownership::Own { search, .. } = &mut self.ownership
            && number == self.searches
        {
            *search = last.map_or(Search::Finished, Search::After);
        }
    }

    /// Returns whether new entries are to be read: the stream may be read, and nothing is searched.
    pub fn is_readable(&self, now: Instant) -> bool {
        self.may_read(now) && self.searching(now).is_none()
    }

    pub fn begin_read(&mut self) {
        self.reads += 1;
    }

    pub fn end_read(&mut self) {
        self.reads -= 1;
    }

    // Entries.

    /// Returns whether the entry is buffered or held.
    pub fn has(&self, id: EntryId) -> bool {
        self.buffer.contains_key(&id) || self.held.contains_key(&id)
    }

    /// Buffers an entry that was read or taken over, unless it is held or the stream may not be read any more.
    pub fn insert(&mut self, buffered: Buffered, now: Instant) {
        let id = buffered.entry.id;
        if self.may_read(now) && !self.held.contains_key(&id) {
            self.forget_lapsed(id);
            self.buffer.insert(id, buffered);
        }
    }

    /// Returns whether the first buffered entry can be handed out. A partition's entries wait for the search to pass them:
    /// an earlier one may be pending.
    pub fn is_ready(&self, now: Instant) -> bool {
        let Some((first, _)) = self.buffer.first_key_value() else {
            return false;
        };
        match self.searching(now) {
            Some((passed, _)) if self.is_partition => *first <= passed,
            _ => self.may_read(now),
        }
    }

    /// Hands the next entry out, with the number of the delivery.
    pub fn hand_out(&mut self, now: Instant) -> Option<(Buffered, u32)> {
        while self.is_ready(now) {
            let (id, buffered) = self.buffer.pop_first()?;
            let until = buffered.until;
            if until > now {
                self.deliveries = self.deliveries.wrapping_add(1);
                let delivery = self.deliveries;
                self.held.insert(id, Held { delivery, until });
                return Some((buffered, delivery));
            }
            // After its lease the entry may be another member's. If it is not, it is found again, in a partition before
            // later ones are handed out.
            if self.is_partition {
                self.buffer.retain(|_, buffered| buffered.until > now);
                self.search();
            }
        }
        None
    }

    /// Returns whether the entry is to be delivered again, or was.
    pub fn is_superseded(&self, id: EntryId, delivery: u32) -> bool {
        match self.held.get(&id) {
            Some(held) => held.delivery != delivery,
            None => self.buffer.contains_key(&id),
        }
    }

    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Returns whether the entry was handed out and not settled.
    pub fn was_handed_out(&self, id: EntryId) -> bool {
        self.held.contains_key(&id) || self.lapsed.contains(&id)
    }

    /// Ends a lease.
    pub fn settle(&mut self, id: EntryId) {
        self.held.remove(&id);
        self.forget_lapsed(id);
    }

    fn forget_lapsed(&mut self, id: EntryId) {
        // It is almost always empty, which costs less than the hash.
        if !self.lapsed.is_empty() {
            self.lapsed.remove(&id);
        }
    }

    /// Sets the end of a lease that has not ended.
    pub fn renew(&mut self, id: EntryId, until: Instant) {
        if let Some(held) = self.held.get_mut(&id) {
            held.until = until;
        }
    }

    /// Ends the leases that ran out. Returns whether there were any.
    pub fn expire(&mut self, now: Instant) -> bool {
        let ended = self.held.extract_if(|_, held| held.until <= now);
        let before = self.lapsed.len();
        self.lapsed.extend(ended.map(|(id, _)| id));
        self.lapsed.len() > before
    }

    /// The buffered entries whose leases end between `after` and `before`.
    pub fn expiring(&self, after: Instant, before: Instant) -> Vec<EntryId> {
        let expiring = |b: &Buffered| b.until > after && b.until < before;
        let entries = self.buffer.iter();
        let ids = entries.filter_map(|(id, buffered)| expiring(buffered).then_some(*id));
        ids.collect()
    }

    /// Sets the ends of leases of buffered entries.
    pub fn renew_buffered(&mut self, ids: &[EntryId], until: Instant) {
        for id in ids {
            if let Some(buffered) = self.buffer.get_mut(id) {
                buffered.until = until;
            }
        }
    }

    pub fn clear_buffer(&mut self) {
        self.buffer.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Buffered, Entry, EntryId, Stream};

    fn id(text: &str) -> EntryId {
        EntryId::parse(text).unwrap()
    }

    fn owned(now: Instant) -> Stream {
        let mut stream = Stream::partition();
        stream.take(now + Duration::from_secs(60));
        stream
    }

    fn insert(stream: &mut Stream, text: &str, now: Instant) {
        let (id, record) = (id(text), Default::default());
        let buffered = Buffered {
            entry: Entry { id, record },
            attempt: 1,
            until: now + Duration::from_secs(30),
        };
        stream.insert(buffered, now);
    }

    #[test]
    fn entries_of_a_partition_wait_for_the_search_to_pass_them() {
        let now = Instant::now();
        let mut stream = owned(now);
        insert(&mut stream, "2-0", now);
        let (_, number) = stream.searching(now).unwrap();
        stream.searched(number, Some(id("1-0")));
        assert!(!stream.is_ready(now), "1-1 may be pending");
        stream.searched(number, Some(id("2-0")));
        assert!(stream.hand_out(now).is_some());
        assert!(!stream.is_readable(now), "the search goes on");
        stream.searched(number, None);
        assert!(stream.is_readable(now));
    }

    #[test]
    fn no_entry_of_a_partition_overtakes_one_that_was_buffered_for_too_long() {
        let now = Instant::now();
        let later = now + Duration::from_secs(31);
        let mut stream = owned(now);
        let (_, number) = stream.searching(now).unwrap();
        stream.searched(number, None);
        insert(&mut stream, "1-0", now);
        insert(&mut stream, "2-0", later);
        assert!(stream.hand_out(later).is_none(), "2-0");
        assert!(!stream.is_readable(later), "3-0 would be read");
        let (_, number) = stream.searching(later).unwrap();
        insert(&mut stream, "1-0", later);
        stream.searched(number, Some(id("2-0")));
        for expected in ["1-0", "2-0"] {
            let (handed_out, _) = stream.hand_out(later).unwrap();
            assert_eq!(handed_out.entry.id, id(expected));
        }
    }

    #[test]
    fn what_was_read_while_the_ownership_seemed_to_have_ended_is_searched() {
        let now = Instant::now();
        let mut stream = owned(now);
        let (_, number) = stream.searching(now).unwrap();
        stream.searched(number, None);
        let later = now + Duration::from_secs(61);
        insert(&mut stream, "1-0", later);
        assert!(!stream.has(id("1-0")));
        stream.keep(later + Duration::from_secs(60), later);
        assert!(!stream.is_readable(later), "2-0 would be read");
        assert!(stream.searching(later).is_some());
    }

    #[test]
    fn a_search_does_not_end_one_that_was_begun_after_it() {
        let now = Instant::now();
        let again: [fn(&mut Stream, Instant); 3] = [
            |stream, _| stream.search(),
            |stream, until| {
                stream.lose();
                stream.take(until);
            },
            |stream, _| {
                stream.leave();
                stream.stay();
            },
        ];
        for begin_again in again {
            let mut stream = owned(now);
            let (_, old) = stream.searching(now).unwrap();
            begin_again(&mut stream, now + Duration::from_secs(60));
            stream.searched(old, None);
            let (position, _) = stream.searching(now).expect("the new search goes on");
            assert_eq!(position, EntryId::default());
        }
    }

    #[test]
    fn a_partition_is_left_when_no_entry_is_held_and_no_read_is_under_way() {
        let now = Instant::now();
        let mut stream = owned(now);
        let (_, number) = stream.searching(now).unwrap();
        stream.searched(number, None);
        insert(&mut stream, "1-0", now);
        insert(&mut stream, "2-0", now);
        stream.begin_read();
        let held = stream.hand_out(now).unwrap().0.entry.id;
        assert_eq!(stream.leave(), [id("2-0")], "the buffered entries");
        insert(&mut stream, "3-0", now);
        assert!(!stream.has(id("3-0")), "it is not read any more");
        stream.settle(held);
        assert!(!stream.is_left(), "a read is under way");
        stream.end_read();
        assert!(stream.is_left());
    }
}
