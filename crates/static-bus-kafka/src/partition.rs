//! What is in flight of one partition, and how far it is done.
//!
//! A group commits one offset for each partition: everything before it is done. Here that is the lowest
//! record that was handed out and is not acknowledged. What is acknowledged beyond it goes into the
//! metadata of the commit, so that the next owner of the partition leaves it out:
//!
//! ```text
//!   offset     0   1   2   3   4   5   6   7   8
//!   is        done done open done done open done new new
//!                       └ the position, with the metadata `1BCBB`: one is open, two are done, one is
//!                         open, one is done
//! ```
//!
//! Offsets that nobody sees (markers of transactions, what was compacted away) count as done.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    time::Instant,
};

/// How long metadata may be; Kafka's default limit is 4096 bytes.
const LONGEST: usize = 4000;
/// What metadata begins with that is to be read like this.
const VERSION: char = '1';
/// Five bits of a number to a character, the lowest first; in all but the last, 32 is added.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A partition that this member has.
pub(super) struct Partition<R> {
    /// Where the next record is that comes in for the first time.
    next: i64,
    /// What came in and is not acknowledged.
    open: BTreeMap<i64, Open<R>>,
    /// Those of them that are to be handed out again.
    again: BTreeSet<i64>,
    /// What was acknowledged to an earlier owner, from `next` on.
    done: VecDeque<Range<i64>>,
}

struct Open<R> {
    record: R,
    /// When it was appended, in milliseconds since 1970.
    appended: i64,
    /// When its lease runs out.
    until: Instant,
}

impl<R: Clone> Partition<R> {
    /// A partition of which so much is done.
    pub fn new(committed: i64, metadata: &str) -> Self {
        Partition {
            next: committed,
            open: BTreeMap::new(),
            again: BTreeSet::new(),
            done: read(committed, metadata),
        }
    }

    /// Says of a record that came in whether it is to be handed out: not one that came before, or was
    /// done before this member had the partition.
    pub fn is_new(&mut self, offset: i64) -> bool {
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

    /// Whether a record was handed out, or was done before this member had the partition.
    pub fn has_had(&self, offset: i64) -> bool {
        offset < self.next || self.done.iter().any(|done| done.contains(&offset))
    }

    /// Keeps a new record until it is acknowledged.
    pub fn hand_out(&mut self, offset: i64, record: R, appended: i64, until: Instant) {
        let open = Open {
            record,
            appended,
            until,
        };
        self.open.insert(offset, open);
    }

    /// Hands out again the first of what was given back.
    pub fn hand_out_again(&mut self, until: Instant) -> Option<(i64, R)> {
        let offset = self.again.pop_first()?;
        let open = self.open.get_mut(&offset)?;
        open.until = until;
        Some((offset, open.record.clone()))
    }

    /// Says whether that was news.
    pub fn acknowledge(&mut self, offset: i64) -> bool {
        self.again.remove(&offset);
        self.open.remove(&offset).is_some()
    }

    /// Whether it is not acknowledged yet.
    pub fn is_open(&self, offset: i64) -> bool {
        self.open.contains_key(&offset)
    }

    pub fn release(&mut self, offset: i64) -> bool {
        self.open.contains_key(&offset) && self.again.insert(offset)
    }

    pub fn renew(&mut self, offset: i64, until: Instant) {
        if let Some(open) = self.open.get_mut(&offset) {
            open.until = until;
        }
    }

    /// How many records are handed out and not settled.
    pub fn in_flight(&self) -> usize {
        self.open.len() - self.again.len()
    }

    /// How many records came in and are not acknowledged.
    pub fn open(&self) -> u64 {
        self.open.len() as u64
    }

    /// Whether the lease of a record that is handed out has run out.
    pub fn has_run_out(&self, now: Instant) -> bool {
        let mut handed_out = self.open.iter().filter(|(at, _)| !self.again.contains(at));
        handed_out.any(|(_, open)| open.until < now)
    }

    /// When the oldest record was appended that came in and is not done.
    pub fn oldest(&self) -> Option<i64> {
        self.open.values().map(|open| open.appended).min()
    }

    /// How many records are not done, if the partition begins and ends there.
    pub fn unsettled(&self, begin: i64, end: i64) -> u64 {
        let begin = begin.max(self.next);
        let done = self
            .done
            .iter()
            .map(|done| done.end - done.start.max(begin));
        let ahead = end - begin - done.map(|done| done.max(0)).sum::<i64>();
        self.open() + u64::try_from(ahead).unwrap_or_default()
    }

    /// The offset to commit, and the metadata to commit with it.
    pub fn commit(&self) -> (i64, String) {
        let first = self.open.first_key_value();
        let position = first.map_or(self.next, |(offset, _)| *offset);
        (position, write(position, self.all_done()))
    }

    /// What is done from the first that is open on.
    fn all_done(&self) -> impl Iterator<Item = Range<i64>> {
        let starts = self.open.keys().map(|offset| offset + 1);
        let ends = self.open.keys().skip(1).copied().chain([self.next]);
        let between = starts.zip(ends).map(|(start, end)| start..end);
        let ahead = self.done.iter().cloned();
        let ahead = ahead.map(|done| done.start.max(self.next)..done.end);
        between.chain(ahead).filter(|done| !done.is_empty())
    }
}

/// Ranges after a position, as the lengths of what is open and what is done in turn. What is too long
/// is left out.
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
        if text.len() > LONGEST {
            text.truncate(before);
            break;
        }
        at = done.end;
    }
    text
}

/// Nothing of metadata that somebody else has written.
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

    /// Takes offsets in, and gives those that are handed out.
    fn take(partition: &mut Partition<i64>, offsets: Range<i64>) -> Vec<i64> {
        let until = Instant::now() + Duration::from_secs(1);
        let mut taken = Vec::new();
        for offset in offsets {
            if partition.is_new(offset) {
                partition.hand_out(offset, offset, 1_000 + offset, until);
                taken.push(offset);
            }
        }
        taken
    }

    #[test]
    fn the_position_is_the_lowest_that_is_not_acknowledged() {
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
    fn the_example_is_as_it_is_drawn() {
        let mut partition = Partition::new(0, "");
        take(&mut partition, 0..7);
        for offset in [0, 1, 3, 4, 6] {
            partition.acknowledge(offset);
        }
        assert_eq!(partition.commit(), (2, "1BCBB".to_owned()));
    }

    #[test]
    fn the_next_owner_leaves_out_what_is_acknowledged() {
        let mut first = Partition::new(100, "");
        take(&mut first, 100..200);
        for offset in (100..200).filter(|offset| offset % 3 != 1) {
            first.acknowledge(offset);
        }
        let (position, metadata) = first.commit();
        let mut second = Partition::new(position, &metadata);
        // It acknowledges nothing of what it took, and the third knows all the same.
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
    fn whatever_is_acknowledged_and_given_back_nothing_is_lost() {
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

    #[test]
    fn what_does_not_fit_comes_again() {
        let mut partition = Partition::new(0, "");
        take(&mut partition, 0..20_000);
        for offset in (1..20_000).step_by(2) {
            partition.acknowledge(offset);
        }
        let (position, metadata) = partition.commit();
        assert_eq!(position, 0);
        assert!(metadata.len() <= LONGEST, "{} bytes", metadata.len());
        let mut next = Partition::new(position, &metadata);
        let taken = take(&mut next, 0..20_000);
        assert!((0..20_000).step_by(2).all(|offset| taken.contains(&offset)));
        assert!(taken.len() < 18_100, "{} come again", taken.len());
    }

    #[test]
    fn what_others_wrote_is_no_metadata_of_ours() {
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
    fn what_is_given_back_is_handed_out_again_in_order() {
        let mut partition = Partition::new(0, "");
        take(&mut partition, 0..4);
        for offset in [2, 0, 1] {
            assert!(partition.release(offset));
        }
        assert!(!partition.release(2), "a second time");
        assert_eq!(partition.in_flight(), 1);
        assert!(partition.acknowledge(1), "by one that had it before");
        let again = Instant::now() + Duration::from_secs(1);
        assert_eq!(partition.hand_out_again(again), Some((0, 0)));
        assert_eq!(partition.hand_out_again(again), Some((2, 2)));
        assert_eq!(partition.hand_out_again(again), None);
        assert_eq!(partition.in_flight(), 3);
    }

    #[test]
    fn a_lease_runs_out_unless_it_is_renewed_or_given_back() {
        let mut partition = Partition::new(0, "");
        take(&mut partition, 0..2);
        let later = Instant::now() + Duration::from_secs(5);
        assert!(!partition.has_run_out(Instant::now()));
        assert!(partition.has_run_out(later));
        partition.renew(0, later);
        assert!(partition.has_run_out(later), "that of the other");
        partition.release(1);
        assert!(!partition.has_run_out(later));
        assert_eq!(partition.oldest(), Some(1_000));
    }
}
