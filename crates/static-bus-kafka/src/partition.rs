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

/// The offsets of a partition that were not read and are not acknowledged: those of records, or of transaction markers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unread {
    /// The first one.
    pub first: i64,
    /// Their number.
    pub offsets: u64,
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

    /// The offsets that were not read and are not acknowledged in a partition with this first offset and end.
    pub fn unread(&self, (begin, end): (i64, i64)) -> Unread {
        let begin = begin.max(self.next);
        let (mut first, mut offsets) = (begin, end - begin);
        for done in &self.done {
            offsets -= (done.end - done.start.max(begin)).max(0);
            if done.start <= first {
                first = first.max(done.end);
            }
        }
        Unread {
            first,
            offsets: u64::try_from(offsets).unwrap_or_default(),
        }
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
mod tests;
