//! The progress of a group in one partition.
//!
//! A group commits one offset for each partition, its position: all records before it are acknowledged. It is the
//! offset of the first record that is delivered and not acknowledged. Acknowledged records after it are encoded in
//! the metadata of the commit, so that the next owner of the partition skips them:
//!
//! ```text
//!   offset     0   1   2   3   4   5   6   7   8
//!   record    done done open done done open done new new
//!                       └ the position, with the metadata `1BCBB`: one is open, two are done, one is
//!                         open, one is done
//! ```
//!
//! Offsets without a visible record (transaction markers, compacted records) count as acknowledged.
//!
//! The metadata has a greatest length. A member delivers no new record of a partition while the metadata might not have
//! room for it: the position waits.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    time::Instant,
};

/// The greatest length of metadata in bytes. The default limit of Kafka is 4096.
const MAX_METADATA_BYTES: usize = 4000;
/// The greatest length of the version, and of the numbers for one more open record.
const RESERVED_BYTES: usize = 1 + 1 + 13;
/// The first character of metadata in this format.
const VERSION: char = '1';
/// The digits of numbers: five bits each, the lowest first. 32 is added to all digits but the last.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The records of a partition that the member has read and that are not acknowledged.
pub(super) struct Partition<R> {
    /// The offset after the last record that was read.
    next: i64,
    /// The records that were read and are not acknowledged.
    open: BTreeMap<i64, Open<R>>,
    /// The open records that were released and are to be delivered again.
    released: BTreeSet<i64>,
    /// The ranges from `next` on that an earlier owner has acknowledged.
    done: VecDeque<Range<i64>>,
    /// The sum of the lengths of the numbers in the metadata if all open records stay open: one for each open record,
    /// and that of each acknowledged range between two of them.
    length: usize,
}

struct Open<R> {
    record: R,
    /// The time of the append, in milliseconds since the Unix epoch.
    appended: i64,
    /// The end of the lease.
    until: Instant,
}

impl<R: Clone> Partition<R> {
    /// A partition with this committed position and metadata.
    pub fn new(committed: i64, metadata: &str) -> Self {
        Partition {
            next: committed,
            open: BTreeMap::new(),
            released: BTreeSet::new(),
            done: read(committed, metadata),
            length: 0,
        }
    }

    /// Returns `true` if the metadata has room for one more open record, whichever of the open records are acknowledged
    /// first: a number for each run of open records is no longer than the run, and a number for a range is no longer
    /// than those for its parts.
    pub fn has_room(&self) -> bool {
        // The records before these ranges were open when an earlier owner committed.
        if !self.done.is_empty() {
            return true;
        }
        let last = self.open.last_key_value();
        let behind = last.map_or(0, |(offset, _)| digits(self.next - offset - 1));
        self.length + behind + RESERVED_BYTES <= MAX_METADATA_BYTES
    }

    /// Advances over a record that was read. Returns whether it is to be delivered: `false` for a record that was
    /// read before, or was acknowledged to an earlier owner.
    pub fn advance(&mut self, offset: i64) -> bool {
        if offset < self.next {
            return false;
        }
        self.next = offset + 1;
        let mut is_done = false;
        while let Some(done) = self.done.front() {
            is_done |= done.contains(&offset);
            if done.end > self.next {
                break;
            }
            self.done.pop_front();
        }
        !is_done
    }

    /// Returns `true` if a record was read before, or was acknowledged to an earlier owner.
    pub fn has_seen(&self, offset: i64) -> bool {
        offset < self.next || self.done.iter().any(|done| done.contains(&offset))
    }

    /// Leases a new record.
    pub fn deliver(&mut self, offset: i64, record: R, appended: i64, until: Instant) {
        let open = Open {
            record,
            appended,
            until,
        };
        let before = self.open.last_key_value();
        let gap = before.map_or(0, |(before, _)| digits(offset - before - 1));
        self.length += 1 + gap;
        self.open.insert(offset, open);
    }

    /// Leases the first released record again.
    pub fn deliver_again(&mut self, until: Instant) -> Option<(i64, R)> {
        let offset = self.released.pop_first()?;
        let open = self.open.get_mut(&offset)?;
        open.until = until;
        Some((offset, open.record.clone()))
    }

    /// Acknowledges a record. Returns whether it was open.
    pub fn acknowledge(&mut self, offset: i64) -> bool {
        self.released.remove(&offset);
        if self.open.remove(&offset).is_none() {
            return false;
        }
        let before = self.open.range(..offset).next_back();
        let after = self.open.range(offset..).next();
        let (before, after) = (before.map(|(at, _)| *at), after.map(|(at, _)| *at));
        let gap = |from: Option<i64>, to: Option<i64>| match (from, to) {
            (Some(from), Some(to)) => digits(to - from - 1),
            _ => 0,
        };
        self.length -= 1 + gap(before, Some(offset)) + gap(Some(offset), after);
        self.length += gap(before, after);
        true
    }

    /// Returns `true` if a record was read and is not acknowledged.
    pub fn is_open(&self, offset: i64) -> bool {
        self.open.contains_key(&offset)
    }

    /// Releases a record, to be delivered again. Returns whether it was leased.
    pub fn release(&mut self, offset: i64) -> bool {
        self.open.contains_key(&offset) && self.released.insert(offset)
    }

    /// Renews the lease of a record.
    pub fn renew(&mut self, offset: i64, until: Instant) {
        if let Some(open) = self.open.get_mut(&offset) {
            open.until = until;
        }
    }

    /// The number of leased records.
    pub fn in_flight(&self) -> usize {
        self.open.len() - self.released.len()
    }

    /// The number of records that were read and are not acknowledged.
    pub fn open(&self) -> u64 {
        self.open.len() as u64
    }

    /// Returns `true` if a lease has run out.
    pub fn has_expired_lease(&self, now: Instant) -> bool {
        let mut leased = self
            .open
            .iter()
            .filter(|(at, _)| !self.released.contains(at));
        leased.any(|(_, open)| open.until < now)
    }

    /// The time of the append of the oldest record that was read and is not acknowledged.
    pub fn oldest(&self) -> Option<i64> {
        self.open.values().map(|open| open.appended).min()
    }

    /// The number of records that are not acknowledged in a partition with this first offset and end.
    pub fn unsettled(&self, begin: i64, end: i64) -> u64 {
        let begin = begin.max(self.next);
        let done = self
            .done
            .iter()
            .map(|done| done.end - done.start.max(begin));
        let ahead = end - begin - done.map(|done| done.max(0)).sum::<i64>();
        self.open() + u64::try_from(ahead).unwrap_or_default()
    }

    /// The position and the metadata to commit.
    pub fn commit(&self) -> (i64, String) {
        let first = self.open.first_key_value();
        let position = first.map_or(self.next, |(offset, _)| *offset);
        (position, write(position, self.all_done()))
    }

    /// The acknowledged ranges after the position.
    fn all_done(&self) -> impl Iterator<Item = Range<i64>> {
        let starts = self.open.keys().map(|offset| offset + 1);
        let ends = self.open.keys().skip(1).copied().chain([self.next]);
        let between = starts.zip(ends).map(|(start, end)| start..end);
        let ahead = self.done.iter().cloned();
        let ahead = ahead.map(|done| done.start.max(self.next)..done.end);
        between.chain(ahead).filter(|done| !done.is_empty())
    }
}

/// Encodes the acknowledged ranges after a position: the lengths of the open and acknowledged ranges in turn.
/// Ranges that do not fit are left out.
fn write(position: i64, done: impl Iterator<Item = Range<i64>>) -> String {
    let mut text = String::new();
    let mut at = position;
    for done in done {
        let before = text.len();
        if before == 0 {
            text.push(VERSION);
        }
        push(&mut text, done.start - at);
        push(&mut text, done.end - done.start);
        if text.len() > MAX_METADATA_BYTES {
            text.truncate(before);
            break;
        }
        at = done.end;
    }
    text
}

/// Decodes the acknowledged ranges after a position. Foreign metadata has none.
fn read(position: i64, metadata: &str) -> VecDeque<Range<i64>> {
    let mut ranges = VecDeque::new();
    let Some(text) = metadata.strip_prefix(VERSION) else {
        return ranges;
    };
    let mut at = position;
    let mut digits = text.bytes();
    while digits.len() > 0 {
        let lengths = pull(&mut digits).zip(pull(&mut digits));
        let start = lengths.and_then(|(open, _)| at.checked_add(open));
        let end = lengths
            .zip(start)
            .and_then(|((_, done), start)| start.checked_add(done));
        let Some((start, end)) = start.zip(end) else {
            return VecDeque::new();
        };
        ranges.push_back(start..end);
        at = end;
    }
    ranges
}

fn push(text: &mut String, mut number: i64) {
    loop {
        let low = usize::try_from(number & 31).unwrap_or_default();
        number >>= 5;
        let more = if number > 0 { 32 } else { 0 };
        text.push(DIGITS[low + more].into());
        if number <= 0 {
            return;
        }
    }
}

/// The length of an encoded number; 0 for 0, which is not encoded.
fn digits(number: i64) -> usize {
    (i64::BITS - number.leading_zeros()).div_ceil(5) as usize
}

fn pull(digits: &mut impl Iterator<Item = u8>) -> Option<i64> {
    let mut number = 0;
    for shift in (0..60).step_by(5) {
        let digit = digits.next()?;
        let digit = DIGITS.iter().position(|d| *d == digit)?;
        number |= i64::try_from(digit & 31).ok()? << shift;
        if digit < 32 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Reads these offsets, and returns those that are delivered.
    fn take(partition: &mut Partition<i64>, offsets: Range<i64>) -> Vec<i64> {
        let until = Instant::now() + Duration::from_secs(1);
        let mut taken = Vec::new();
        for offset in offsets {
            if partition.advance(offset) {
                partition.deliver(offset, offset, 1_000 + offset, until);
                taken.push(offset);
            }
        }
        taken
    }

    #[test]
    fn the_position_is_the_first_record_that_is_not_acknowledged() {
        let mut partition = Partition::new(7, "");
        assert_eq!(partition.commit(), (7, String::new()));
        assert_eq!(take(&mut partition, 7..10), [7, 8, 9]);
        assert_eq!(partition.commit(), (7, String::new()));
        assert!(partition.acknowledge(8));
        assert_eq!(partition.commit(), (7, "1BB".to_owned()));
        assert!(partition.acknowledge(7));
        assert_eq!(partition.commit(), (9, String::new()));
        assert!(!partition.acknowledge(7), "a second time");
        assert!(partition.acknowledge(9));
        assert_eq!(partition.commit(), (10, String::new()));
    }

    #[test]
    fn the_example_of_the_drawing() {
        let mut partition = Partition::new(0, "");
        take(&mut partition, 0..7);
        for offset in [0, 1, 3, 4, 6] {
            partition.acknowledge(offset);
        }
        assert_eq!(partition.commit(), (2, "1BCBB".to_owned()));
    }

    #[test]
    fn the_next_owner_skips_acknowledged_records() {
        let mut first = Partition::new(100, "");
        take(&mut first, 100..200);
        for offset in (100..200).filter(|offset| offset % 3 != 1) {
            first.acknowledge(offset);
        }
        let (position, metadata) = first.commit();
        let mut second = Partition::new(position, &metadata);
        // The second owner acknowledges nothing, and passes the metadata on to the third.
        assert_eq!(take(&mut second, position..130), offsets(100..130));
        let (position, metadata) = second.commit();
        let mut third = Partition::new(position, &metadata);
        let expected: Vec<_> = offsets(100..200).into_iter().chain([200, 201]).collect();
        assert_eq!(take(&mut third, position..202), expected);
    }

    fn offsets(of: Range<i64>) -> Vec<i64> {
        of.filter(|offset| offset % 3 == 1).collect()
    }

    #[test]
    fn no_order_of_acknowledgements_and_releases_loses_a_record() {
        let mut dice = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut partition = Partition::new(0, "");
            let mut open = BTreeSet::new();
            let mut end = 0;
            for _ in 0..dice.usize(1..6) {
                let more = dice.i64(0..60);
                let position = partition.commit().0;
                let taken = take(&mut partition, position..end + more);
                end += more;
                open.extend(taken);
                for offset in open.clone() {
                    match dice.u8(0..3) {
                        0 => {
                            partition.acknowledge(offset);
                            open.remove(&offset);
                        }
                        1 => _ = partition.release(offset),
                        _ => {}
                    }
                }
                let (position, metadata) = partition.commit();
                partition = Partition::new(position, &metadata);
                let unsettled = partition.unsettled(0, end);
                assert_eq!(unsettled, open.len() as u64, "of {open:?} with {metadata}");
            }
            let position = partition.commit().0;
            assert_eq!(take(&mut partition, position..end), Vec::from_iter(open));
        }
    }

    /// Takes records while there is room.
    fn fill(partition: &mut Partition<i64>, end: i64) -> Vec<i64> {
        let mut taken = Vec::new();
        while partition.next < end && partition.has_room() {
            let next = partition.next;
            taken.extend(take(partition, next..next + 1));
        }
        taken
    }

    #[test]
    fn all_acknowledged_records_fit_into_the_metadata() {
        let mut partition = Partition::new(0, "");
        let first = fill(&mut partition, 20_000);
        assert!(first.len() > 3_900, "{}", first.len());
        for offset in first.iter().skip(1).step_by(2) {
            partition.acknowledge(*offset);
        }
        assert!(!partition.has_room());
        let (position, metadata) = partition.commit();
        assert!(metadata.len() <= MAX_METADATA_BYTES, "{}", metadata.len());
        let mut next = Partition::new(position, &metadata);
        let open: Vec<_> = first.iter().copied().step_by(2).collect();
        let end = *first.last().unwrap() + 1;
        assert_eq!(fill(&mut next, end), open);
        // The position moves, and there is room again.
        for offset in &open[..100] {
            next.acknowledge(*offset);
        }
        assert!(fill(&mut next, 20_000).len() >= 190);
    }

    #[test]
    fn no_order_of_acknowledgements_exceeds_the_metadata() {
        let mut dice = fastrand::Rng::with_seed(11);
        for round in 0..12 {
            let mut partition = Partition::new(0, "");
            let mut end = 0;
            for _ in 0..20 {
                // Some offsets have no record.
                while partition.has_room() && dice.u16(..) > 20 {
                    let bits = dice.u8(0..=round % 12);
                    end += 1 + dice.i64(0..1 << bits) / 2;
                    take(&mut partition, end..end + 1);
                }
                let keep = dice.u8(1..10);
                for offset in partition.open.keys().copied().collect::<Vec<_>>() {
                    if dice.u8(0..10) >= keep {
                        partition.acknowledge(offset);
                    }
                }
                let open: Vec<_> = partition.open.keys().copied().collect();
                let (position, metadata) = partition.commit();
                assert!(metadata.len() <= MAX_METADATA_BYTES, "{}", metadata.len());
                let mut next = Partition::new(position, &metadata);
                let again = take(&mut next, position..partition.next);
                assert_eq!(again.len(), open.len(), "delivered again");
                if dice.bool() {
                    partition = next;
                }
            }
        }
    }

    /// Metadata of a version without this bound.
    #[test]
    fn a_partition_with_more_open_records_than_fit_is_delivered() {
        let mut text = String::from(VERSION);
        for number in [9_000, 1] {
            push(&mut text, number);
        }
        let mut partition = Partition::new(0, &text);
        assert_eq!(fill(&mut partition, 20_000).len(), 9_000);
        for offset in 0..9_000 {
            partition.acknowledge(offset);
        }
        assert!(fill(&mut partition, 20_000).len() > 3_900);
    }

    #[test]
    fn foreign_metadata_is_ignored() {
        for foreign in [
            "",
            "1",
            "1B",
            "1B\u{e9}",
            "2BB",
            "{\"host\":1}",
            "1________________",
        ] {
            let mut partition = Partition::new(5, foreign);
            assert_eq!(take(&mut partition, 5..8), [5, 6, 7], "{foreign}");
        }
    }

    #[test]
    fn released_records_are_delivered_again_in_order() {
        let mut partition = Partition::new(0, "");
        take(&mut partition, 0..4);
        for offset in [2, 0, 1] {
            assert!(partition.release(offset));
        }
        assert!(!partition.release(2), "a second time");
        assert_eq!(partition.in_flight(), 1);
        assert!(partition.acknowledge(1), "after the release");
        let until = Instant::now() + Duration::from_secs(1);
        assert_eq!(partition.deliver_again(until), Some((0, 0)));
        assert_eq!(partition.deliver_again(until), Some((2, 2)));
        assert_eq!(partition.deliver_again(until), None);
        assert_eq!(partition.in_flight(), 3);
    }

    #[test]
    fn a_lease_runs_out_unless_it_is_renewed_or_released() {
        let mut partition = Partition::new(0, "");
        take(&mut partition, 0..2);
        let later = Instant::now() + Duration::from_secs(5);
        assert!(!partition.has_expired_lease(Instant::now()));
        assert!(partition.has_expired_lease(later));
        partition.renew(0, later);
        assert!(
            partition.has_expired_lease(later),
            "the lease of the other record"
        );
        partition.release(1);
        assert!(!partition.has_expired_lease(later));
        assert_eq!(partition.oldest(), Some(1_000));
    }
}
