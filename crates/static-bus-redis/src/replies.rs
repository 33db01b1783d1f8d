//! The entries in replies of the server.

use redis::Value;

use super::wire::{self, Entry, EntryId};
use static_bus_remote::time::now_millis;

/// New entries, by the keys of their streams.
pub(super) type NewEntries = Vec<(Vec<u8>, Vec<Entry>)>;

/// The entries in `{stream: [entry, …]}`, or in `[[stream, [entry, …]], …]` before RESP3.
pub(super) fn entries_by_stream(answer: Value) -> NewEntries {
    let now = now_millis();
    let of = |key: Value, entries: Value| match (key, entries) {
        (Value::BulkString(key), Value::Array(entries)) => {
            let entries = entries.into_iter().filter_map(|e| wire::entry(e, now));
            Some((key, entries.collect()))
        }
        _ => None,
    };
    match answer {
        Value::Map(streams) => streams.into_iter().filter_map(|(k, e)| of(k, e)).collect(),
        Value::Array(streams) => {
            let pairs = streams.into_iter().filter_map(|pair| match pair {
                Value::Array(mut pair) if pair.len() == 2 => {
                    let entries = pair.pop()?;
                    of(pair.pop()?, entries)
                }
                _ => None,
            });
            pairs.collect()
        }
        _ => Vec::new(),
    }
}

/// An entry that was taken over.
pub(super) struct Taken {
    pub entry: Entry,
    /// The number of deliveries before.
    pub count: u32,
    /// The former owner.
    pub owner: Vec<u8>,
}

/// The entries in `[[id, fields, number of deliveries, owner], …]`.
pub(super) fn taken_entries(entries: impl IntoIterator<Item = Value>) -> Vec<Taken> {
    let now = now_millis();
    let entries = entries.into_iter().filter_map(|value| {
        let Value::Array(mut parts) = value else {
            return None;
        };
        let (Value::BulkString(owner), Value::Int(count)) = (parts.pop()?, parts.pop()?) else {
            return None;
        };
        Some(Taken {
            entry: wire::entry(Value::Array(parts), now)?,
            count: u32::try_from(count).unwrap_or(u32::MAX - 1),
            owner,
        })
    });
    entries.collect()
}

/// The ids in `[[id, …], …]`.
pub(super) fn pending_ids(pending: Value) -> Vec<EntryId> {
    let Value::Array(rows) = pending else {
        return Vec::new();
    };
    let ids = rows.iter().filter_map(|row| match row {
        Value::Array(row) => wire::id(row.first()?),
        _ => None,
    });
    ids.collect()
}
