//! The bounds of calls in bytes and time. All that a call takes arrives in time: also where its transaction ends before, when the
//! system has the bytes.

use std::time::Duration;

use sqlx::Error;
use static_bus_remote::transport::Record;

use super::{dialect::Dialect, list, record::size, store::Row};

/// The greatest number of bytes of a call, unless a single record has more.
pub(crate) const BYTES: usize = 1_000_000;

/// The number of bytes that pass in a millisecond, at least.
const RATE: usize = 250;

/// The number of bytes that a record has at most.
pub(crate) const ANY_SIZE: i64 = i64::MAX;

/// The time that a number of bytes may take beside the deadline of a call, in tenths of a second: the deadline has room for small
/// ones.
pub(crate) fn transfer(bytes: usize) -> Duration {
    Duration::from_millis((bytes / (100 * RATE) * 100) as u64)
}

/// The longest time for a call that carries this number of bytes, if that of a small one is `deadline`.
pub(crate) fn time_of(deadline: Duration, bytes: usize) -> Duration {
    deadline + transfer(bytes)
}

/// The bounds of a call that takes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The greatest number of records.
    pub max: usize,
    /// The greatest number of bytes. If the next record alone has more, nothing is taken; but on the machine of the database, where
    /// records of any size arrive in time, it is.
    pub bytes: usize,
    /// The time that the bytes may take beside the deadline.
    pub transfer: Duration,
}

impl Bounds {
    /// Those of a call whose records have unknown sizes: what passes in half of the deadline.
    pub fn new(max: usize, deadline: Duration) -> Self {
        let millis = usize::try_from(deadline.as_millis()).unwrap_or(usize::MAX);
        Bounds {
            max,
            bytes: millis.saturating_mul(RATE / 2).min(BYTES),
            transfer: Duration::ZERO,
        }
    }

    /// Those of a call for a record with this number of bytes.
    pub fn of_size(self, bytes: usize) -> Self {
        Bounds {
            bytes,
            transfer: transfer(bytes),
            ..self
        }
    }

    /// Returns `true` if there may be more than the records that were taken.
    pub fn may_have_cut<'r>(&self, taken: impl ExactSizeIterator<Item = &'r Record>) -> bool {
        taken.len() >= self.max || taken.map(size).sum::<usize>() > self.bytes / 2
    }
}

/// Records that a transaction leases, and the room for more.
pub(crate) struct Room {
    max: usize,
    bytes: usize,
    /// `true` if there is room for one record of any size.
    is_free: bool,
    pub records: Vec<i64>,
    pub size: usize,
}

impl Room {
    pub fn new(bounds: Bounds) -> Self {
        Room {
            max: bounds.max,
            bytes: bounds.bytes,
            is_free: true,
            records: Vec::new(),
            size: 0,
        }
    }

    /// A room of a part of what is left: the whole, or a half.
    pub fn part(&self, share: usize) -> Self {
        Room {
            max: (self.max - self.records.len()).div_ceil(share),
            bytes: self.bytes.saturating_sub(self.size) / share,
            is_free: self.is_free && self.records.is_empty(),
            records: Vec::new(),
            size: 0,
        }
    }

    /// Adds what is in a part.
    pub fn add(&mut self, part: Room) {
        self.records.extend(part.records);
        self.size += part.size;
    }

    /// The numbers of records and bytes that are left, and the number of bytes that the next record may have alone.
    pub fn left(&self) -> [i64; 3] {
        let Room {
            max,
            bytes,
            is_free,
            ..
        } = self.part(1);
        let alone = if is_free { ANY_SIZE } else { 0 };
        [max as i64, bytes as i64, alone]
    }

    pub fn is_full(&self) -> bool {
        let [max, bytes, alone] = self.left();
        max == 0 || bytes.max(alone) == 0
    }

    /// Adds records that were leased: rows of their numbers and sizes.
    pub fn extend<D: Dialect>(&mut self, leased: &[Row<D>]) -> Result<(), Error> {
        for row in leased {
            self.records.push(row.int(0)?);
            self.size += row.int(1)? as usize;
        }
        Ok(())
    }
}

/// The list of the places of rows, and their sizes together.
pub(crate) fn places<D: Dialect>(rows: &[Row<D>]) -> Result<(String, usize), Error> {
    let (mut places, mut size) = (Vec::with_capacity(rows.len()), 0);
    for row in rows {
        places.push(row.int(0)?);
        size += row.int(1)? as usize;
    }
    Ok((list::numbers(places), size))
}

/// The number of bytes of the record of a delivery; 0 if it is gone.
macro_rules! record_size {
    () => {
        "coalesce((select {size r} from {p}record as r where r.id = record_id), 0)"
    };
}
pub(crate) use record_size;

/// Of rows with a `place`, a `number` and a `size`, the first by number that have this number of bytes together, or the first one alone.
/// If it has more bytes than `alone`, there is none.
macro_rules! first {
    ($($rows:expr),+; $bytes:literal) => {
        concat!(
            "from (select place, size, sum(size) over (order by number) as total from (",
            $($rows,)+
            ") as found) as sized where total <= ",
            $bytes,
            " or total = size"
        )
    };
    ($($rows:expr),+; $bytes:literal, alone $alone:literal) => {
        concat!($crate::bounds::first!($($rows),+; $bytes), " and size <= ", $alone)
    };
}
pub(crate) use first;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_calls_have_the_deadline_and_large_ones_the_time_of_their_bytes() {
        let time = |bytes| time_of(Duration::from_secs(5), bytes);
        assert_eq!(time(24_999), Duration::from_secs(5));
        assert_eq!(time(1_000_000), Duration::from_secs(9));
    }

    #[test]
    fn a_call_has_what_passes_in_half_of_its_deadline_or_one_record() {
        let of = |millis| Bounds::new(128, Duration::from_millis(millis));
        let sizes = [100, 5_000, 60_000].map(|millis| of(millis).bytes);
        assert_eq!(sizes, [12_500, 625_000, BYTES]);
        assert_eq!(of(u64::MAX).bytes, BYTES);
        let large = of(5_000).of_size(10_000_000);
        assert_eq!((large.bytes, large.max), (10_000_000, 128));
        assert_eq!(large.transfer, Duration::from_secs(40));
    }

    #[test]
    fn more_may_wait_when_a_bound_is_reached_or_a_record_might_not_have_fitted() {
        let bounds = Bounds::new(3, Duration::from_secs(5));
        let cut = |records: &[usize]| {
            let record = |size: &usize| Record {
                body: vec![0; *size].into(),
                ..Record::default()
            };
            let records: Vec<_> = records.iter().map(record).collect();
            bounds.may_have_cut(records.iter())
        };
        assert!(!cut(&[]));
        assert!(!cut(&[1, 300_000]));
        assert!(cut(&[1, 1, 1]));
        assert!(cut(&[300_000, 300_000]));
    }
}
