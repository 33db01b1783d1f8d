//! The encoding of records on the server.
//!
//! An element of a list is one blob: a version (1), the time of expiry in milliseconds since 1970
//! (64 bits, big-endian, 0 for never), the lengths of key and headers (32 bits each, the key's plus
//! one, 0 for no key), key, headers, and the body to the end.
//!
//! An entry of a stream has the field `r`: the headers, an empty line, and the body. Where there is one, it also has `k`
//! (key) and `x` (time of expiry). Other programs may write the fields `h` (headers) and `d` (body) instead of `r`: each
//! field costs the server and the reader as much as the rest of a small record.

use std::{fmt, io::Write, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use memchr::memmem;
use redis::{Cmd, RedisWrite, ToRedisArgs, Value};

use static_bus_remote::{
    Headers,
    time::millis,
    transport::{Record, key_from_bytes, key_to_bytes},
};

/// The id of an entry: its position in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) struct EntryId {
    millis: u64,
    sequence: u64,
}

/// An entry of a stream.
#[derive(Debug)]
pub(super) struct Entry {
    pub id: EntryId,
    pub record: Arc<Record>,
}

fn expiry(record: &Record, now: u64) -> Option<u64> {
    record.expires.map(|d| now.saturating_add(millis(d)).max(1))
}

fn remaining(expiry: u64, now: u64) -> Duration {
    Duration::from_millis(expiry.saturating_sub(now))
}

/// A record as an element of a list.
pub(super) fn to_blob(record: &Record, now: u64) -> Vec<u8> {
    let headers = record.headers.as_str().as_bytes();
    let key = record.key.as_deref().map(key_to_bytes);
    let key = key.as_deref();
    let length = |n: usize| u32::try_from(n).expect("less than 4 GiB").to_be_bytes();
    let mut blob =
        Vec::with_capacity(17 + key.map_or(0, <[u8]>::len) + headers.len() + record.body.len());
    blob.push(1);
    blob.extend(expiry(record, now).unwrap_or(0).to_be_bytes());
    blob.extend(length(key.map_or(0, |k| k.len() + 1)));
    blob.extend(length(headers.len()));
    blob.extend(key.unwrap_or_default());
    blob.extend(headers);
    blob.extend(&record.body[..]);
    blob
}

/// The record of an element of a list; `None` if it is expired, or has another format.
pub(super) fn from_blob(blob: Vec<u8>, now: u64) -> Option<Record> {
    let blob = Bytes::from(blob);
    let number = |at: usize| {
        let bytes = blob.get(at..at + 4)?;
        usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
    };
    if blob.first() != Some(&1) {
        return None;
    }
    let expiry = u64::from_be_bytes(blob.get(1..9)?.try_into().ok()?);
    if expiry != 0 && expiry <= now {
        return None;
    }
    let (key, headers) = (number(9)?, number(13)?);
    let headers_at = 17 + key.saturating_sub(1);
    let body_at = headers_at.checked_add(headers)?;
    let text = |from: usize, to: usize| str::from_utf8(blob.get(from..to)?).ok();
    let headers = text(headers_at, body_at)?;
    if !headers.is_empty() && !headers.ends_with('\n') {
        return None;
    }
    let headers = Headers::from_raw(headers.to_owned());
    let key = match key {
        0 => None,
        _ => Some(key_from_bytes(blob.get(17..headers_at)?)),
    };
    let mut body = blob;
    body.advance(body_at);
    Some(Record {
        headers,
        body,
        key,
        expires: (expiry != 0).then(|| remaining(expiry, now)),
        ..Record::default()
    })
}

/// The bytes of a record, but for the encoding.
pub(super) fn size(record: &Record) -> usize {
    let key = record.key.as_ref().map_or(0, |key| key.len());
    key + record.headers.as_str().len() + record.body.len()
}

/// Adds the fields of a record to an `XADD`.
pub(super) fn add_fields(command: &mut Cmd, record: &Record, now: u64) {
    command.arg("r");
    let mut field = command.writer_for_next_arg();
    for part in [record.headers.as_str().as_bytes(), b"\n", &record.body] {
        field.write_all(part).expect("memory is writable");
    }
    drop(field);
    if let Some(key) = &record.key {
        command.arg("k").arg(&*key_to_bytes(key));
    }
    if let Some(expiry) = expiry(record, now) {
        command.arg("x").arg(expiry);
    }
}

/// The entry in `[id, [field, value, …]]`. Unknown fields are ignored.
pub(super) fn entry(value: Value, now: u64) -> Option<Entry> {
    let Value::Array(parts) = value else {
        return None;
    };
    let mut parts = parts.into_iter();
    let id = id(&parts.next()?)?;
    let Value::Array(fields) = parts.next()? else {
        return None;
    };
    let mut record = Record::default();
    let mut fields = fields.into_iter();
    while let (Some(Value::BulkString(name)), Some(Value::BulkString(value))) =
        (fields.next(), fields.next())
    {
        match &name[..] {
            b"r" => (record.headers, record.body) = headers_and_body(value),
            b"h" => {
                let text = String::from_utf8(value).unwrap_or_default();
                record.headers = Headers::parse(text).unwrap_or_default();
            }
            b"d" => record.body = value.into(),
            b"k" => record.key = Some(key_from_bytes(&value)),
            b"x" => {
                let expiry = str::from_utf8(&value).ok().and_then(|x| x.parse().ok());
                record.expires = expiry.map(|x| remaining(x, now));
            }
            _ => {}
        }
    }
    let record = Arc::new(record);
    Some(Entry { id, record })
}

/// The parts of the field `r`. If they cannot be told apart, the headers are empty.
fn headers_and_body(field: Vec<u8>) -> (Headers, Bytes) {
    let end = match field.first() {
        Some(b'\n') => Some(0),
        _ => memmem::find(&field, b"\n\n").map(|at| at + 1),
    };
    let text = end.and_then(|end| str::from_utf8(&field[..end]).ok());
    let headers = text.map(|text| Headers::from_raw(text.to_owned()));
    let mut body = Bytes::from(field);
    body.advance(end.map_or(0, |end| end + 1));
    (headers.unwrap_or_default(), body)
}

/// The id in a reply.
pub(super) fn id(value: &Value) -> Option<EntryId> {
    match value {
        Value::BulkString(text) => EntryId::parse(str::from_utf8(text).ok()?),
        Value::SimpleString(text) => EntryId::parse(text),
        _ => None,
    }
}

impl EntryId {
    /// Parses `<milliseconds>-<sequence>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (millis, sequence) = text.split_once('-')?;
        Some(EntryId {
            millis: millis.parse().ok()?,
            sequence: sequence.parse().ok()?,
        })
    }

    /// The time at which the entry was added, in milliseconds since the Unix epoch.
    pub fn millis(self) -> u64 {
        self.millis
    }

    /// The id padded with zeros, so that later ids are greater as text too.
    pub fn padded(self) -> String {
        format!("{:014}-{:010}", self.millis, self.sequence)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

impl ToRedisArgs for EntryId {
    /// As `Display` writes it, without the cost of a formatter.
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut text = [0; 41];
        let mut start = text.len();
        let mut push = |byte| {
            start -= 1;
            text[start] = byte;
        };
        for (mut number, end) in [(self.sequence, Some(b'-')), (self.millis, None)] {
            loop {
                push(b'0' + (number % 10) as u8);
                number /= 10;
                if number == 0 {
                    break;
                }
            }
            if let Some(end) = end {
                push(end);
            }
        }
        out.write_arg(&text[start..]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redis::{Cmd, ToRedisArgs, Value};

    use super::{EntryId, add_fields, entry, from_blob, to_blob};
    use static_bus_remote::{Headers, transport::Record};

    fn record() -> Record {
        Record {
            headers: Headers::from_iter([("type", "t")]),
            body: b"{}".as_slice().into(),
            key: Some("k1".into()),
            expires: Some(Duration::from_secs(2)),
            ..Record::default()
        }
    }

    #[test]
    fn the_bytes_of_a_blob_stay_as_they_are() {
        let blob = to_blob(&record(), 0x0102_0304_0506);
        let mut expected = b"\x01\x00\x00\x01\x02\x03\x04\x0c\xd6".to_vec();
        expected.extend(b"\x00\x00\x00\x03\x00\x00\x00\x08k1type: t\n{}");
        assert_eq!(blob, expected);
        assert_eq!(from_blob(blob, 0x0102_0304_0506), Some(record()));
    }

    #[test]
    fn an_expired_blob_is_dropped() {
        let blob = to_blob(&record(), 1000);
        assert!(from_blob(blob.clone(), 2999).is_some());
        assert!(from_blob(blob, 3000).is_none());
    }

    #[test]
    fn a_record_without_key_and_expiry_keeps_neither() {
        let record = Record {
            body: b"x".as_slice().into(),
            ..Record::default()
        };
        assert_eq!(from_blob(to_blob(&record, 7), u64::MAX), Some(record));
    }

    fn sent_and_read(record: &Record) -> Record {
        let mut command = Cmd::new();
        add_fields(&mut command, record, 1000);
        let arguments = command.args_iter().map(|argument| match argument {
            redis::Arg::Simple(bytes) => Value::BulkString(bytes.to_vec()),
            _ => unreachable!(),
        });
        let fields = Value::Array(arguments.collect());
        let id = Value::BulkString(b"1-0".to_vec());
        let entry = entry(Value::Array(vec![id, fields]), 1000).unwrap();
        entry.record.as_ref().clone()
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let bodies: [&'static [u8]; 4] = [b"", b"\n", b"a: b\n\n", b"\xFF{}"];
        for body in bodies {
            for headers in [Headers::default(), record().headers] {
                let plain = Record {
                    headers,
                    body: body.into(),
                    ..Record::default()
                };
                assert_eq!(sent_and_read(&plain), plain);
            }
        }
        assert_eq!(sent_and_read(&record()), record());
    }

    fn read(fields: &[(&str, &[u8])]) -> Record {
        let value = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
        let fields = fields.iter();
        let fields = fields.flat_map(|(name, bytes)| [value(name.as_bytes()), value(bytes)]);
        let entry = entry(
            Value::Array(vec![value(b"1-0"), Value::Array(fields.collect())]),
            0,
        );
        entry.unwrap().record.as_ref().clone()
    }

    #[test]
    fn the_fields_of_an_entry_stay_as_they_are() {
        let expected = Record {
            expires: None,
            ..record()
        };
        let fields: [(&str, &[u8]); 2] = [("r", b"type: t\n\n{}"), ("k", b"k1")];
        assert_eq!(read(&fields), expected);
        // Those of other programs.
        let fields: [(&str, &[u8]); 3] = [("k", b"k1"), ("h", b"type: t\n"), ("d", b"{}")];
        assert_eq!(read(&fields), expected);
    }

    #[test]
    fn an_entry_without_readable_headers_has_none() {
        for field in ["", "{}", "type: t\n", "type: t\n{}", "type: t"] {
            let read = read(&[("r", field.as_bytes())]);
            assert_eq!(
                (read.headers, &*read.body),
                (Headers::default(), field.as_bytes())
            );
        }
        let read = read(&[("r", b"a: \xFF\n\n{}")]);
        assert_eq!(
            (read.headers, &*read.body),
            (Headers::default(), &b"{}"[..])
        );
    }

    #[test]
    fn a_cut_or_foreign_blob_is_dropped() {
        let blob = to_blob(&record(), 0);
        for length in 0..blob.len() - 2 {
            assert_eq!(from_blob(blob[..length].to_vec(), 0), None, "{length}");
        }
        assert_eq!(from_blob(b"hello".to_vec(), 0), None);
    }

    #[test]
    fn an_id_is_sent_as_it_is_displayed() {
        for text in [
            "0-0",
            "1700000000000-12",
            "18446744073709551615-18446744073709551615",
        ] {
            let id = EntryId::parse(text).unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(id.to_redis_args(), [text.as_bytes()]);
        }
    }

    #[test]
    fn padded_positions_are_ordered_as_the_entries_are() {
        let id = |text| EntryId::parse(text).unwrap();
        assert!(id("999-9") < id("1000-10"));
        assert!(id("999-9").padded() < id("1000-10").padded());
        assert!(id("1000-9").padded() < id("1000-10").padded());
        assert_eq!(EntryId::parse(&id("1000-9").padded()), Some(id("1000-9")));
    }
}
