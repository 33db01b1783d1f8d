//! Records as rows.

use std::time::Duration;

use sqlx::Error;
use static_bus_remote::{
    Headers,
    time::millis,
    transport::{Record, key_from_bytes, key_to_bytes},
};

use super::{dialect::Dialect, store::Row};

/// The number of the strand of a key in a group. All processes compute the same number. Keys with one number share a strand,
/// and the order of both is kept.
pub(crate) fn strand(key: &str) -> i64 {
    // FNV-1a.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key_to_bytes(key).iter() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash.cast_signed()
}

/// The bytes of a record that are stored.
pub(crate) fn size(record: &Record) -> usize {
    let key = record.key.as_ref().map_or(0, |key| key.len());
    record.headers.as_str().len() + record.body.len() + key
}

/// A duration in milliseconds, for a sum with a point in time that does not overflow.
pub(crate) fn as_millis(duration: Duration) -> i64 {
    const CENTURY: u64 = 100 * 365 * 24 * 60 * 60 * 1000;
    millis(duration).min(CENTURY).cast_signed()
}

pub(crate) fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The columns `key`, `headers`, `body` and the time that is left, from column `at` on.
pub(crate) fn decode<D: Dialect>(row: &Row<D>, at: usize) -> Result<Record, Error> {
    let key = row.some_bytes(at)?;
    // This crate has written them.
    let headers = String::from_utf8(row.bytes(at + 1)?).map_err(|e| Error::Decode(e.into()))?;
    Ok(Record {
        key: key.map(|key| key_from_bytes(&key)),
        headers: Headers::from_raw(headers),
        body: row.bytes(at + 2)?.into(),
        expires: row.some_int(at + 3)?.map(duration),
        due: None,
        scope: None,
    })
}

/// The columns of a record that is written.
pub(crate) struct Columns<'r> {
    key: Option<std::borrow::Cow<'r, [u8]>>,
    record: &'r Record,
}

impl<'r> Columns<'r> {
    pub fn of(record: &'r Record) -> Self {
        Columns {
            key: record.key.as_deref().map(key_to_bytes),
            record,
        }
    }

    pub fn record(&self) -> &'r Record {
        self.record
    }

    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    pub fn strand(&self) -> Option<i64> {
        self.record.key.as_deref().map(strand)
    }

    pub fn headers(&self) -> &[u8] {
        self.record.headers.as_str().as_bytes()
    }

    pub fn body(&self) -> &[u8] {
        &self.record.body
    }

    pub fn expires(&self) -> Option<i64> {
        self.record.expires.map(as_millis)
    }
}
