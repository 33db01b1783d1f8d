//! The encoding of records on the server.
//!
//! A query is an element of a list, one blob: a version (1), the time of expiry in milliseconds since 1970
//! (64 bits, big-endian, 0 for never), the lengths of key and headers (32 bits each, the key's plus
//! one, 0 for no key), key, headers, and the body to the end.
//!
//! Replies to one process that are sent together are one element, a pack: a version (2), the latest time of expiry, and
//! for each reply the length of its blob (32 bits) and the blob. Each element costs the server and the reader as much as
//! the rest of a small record.
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

/// The greatest size of a pack to which a record is added.
const PACK: usize = 16 << 10;
/// The versions of elements.
const SINGLE: u8 = 1;
const SEVERAL: u8 = 2;

fn length(n: usize) -> [u8; 4] {
    u32::try_from(n).expect("less than 4 GiB").to_be_bytes()
}

fn size_of_blob(record: &Record) -> usize {
    17 + size(record)
}

/// Adds the blob of a record to an element.
fn write_blob(element: &mut Vec<u8>, record: &Record, now: u64) {
    let headers = record.headers.as_str().as_bytes();
    let key = record.key.as_deref().map(key_to_bytes);
    let key = key.as_deref();
    element.push(SINGLE);
    element.extend(expiry(record, now).unwrap_or(0).to_be_bytes());
    element.extend(length(key.map_or(0, |k| k.len() + 1)));
    element.extend(length(headers.len()));
    element.extend(key.unwrap_or_default());
    element.extend(headers);
    element.extend(&record.body[..]);
}

/// A record as an element of a list.
pub(super) fn to_blob(record: &Record, now: u64) -> Vec<u8> {
    let mut element = Vec::with_capacity(size_of_blob(record));
    write_blob(&mut element, record, now);
    element
}

/// Adds a record to the last of the packs, or to a new one if that is large.
pub(super) fn pack(packs: &mut Vec<Vec<u8>>, record: &Record, now: u64) {
    let with = |pack: &Vec<u8>| pack.len() + 4 + size_of_blob(record);
    if packs.last().is_none_or(|pack| with(pack) > PACK) {
        let mut pack = Vec::with_capacity(13 + size_of_blob(record));
        pack.push(SEVERAL);
        pack.extend(1_u64.to_be_bytes());
        packs.push(pack);
    }
    let pack = packs.last_mut().expect("there is one");
    let latest = time_at(pack, 1).unwrap_or_default();
    let latest = match expiry(record, now) {
        Some(expiry) if latest > 0 => latest.max(expiry),
        _ => 0,
    };
    pack[1..9].copy_from_slice(&latest.to_be_bytes());
    let at = pack.len();
    pack.extend([0; 4]);
    write_blob(pack, record, now);
    let blob = length(pack.len() - at - 4);
    pack[at..at + 4].copy_from_slice(&blob);
}

/// The blobs of an element.
pub(super) fn blobs(element: Vec<u8>) -> impl Iterator<Item = Bytes> {
    let mut rest = Bytes::from(element);
    let mut single = None;
    match rest.first() {
        Some(&SEVERAL) => rest.advance(rest.len().min(9)),
        _ => single = Some(std::mem::take(&mut rest)),
    }
    let next = move || {
        let length = number_at(&rest, 0).filter(|length| *length <= rest.len() - 4)?;
        rest.advance(4);
        Some(rest.split_to(length))
    };
    single.into_iter().chain(std::iter::from_fn(next))
}

fn number_at(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(number)).ok()
}

fn time_at(bytes: &[u8], at: usize) -> Option<u64> {
    let time = bytes.get(at..at + 8)?.try_into().ok()?;
    Some(u64::from_be_bytes(time))
}

/// The record of a blob; `None` if it is expired, or has another format.
pub(super) fn from_blob(blob: Bytes, now: u64) -> Option<Record> {
    if blob.first() != Some(&SINGLE) {
        return None;
    }
    let expiry = time_at(&blob, 1)?;
    if expiry != 0 && expiry <= now {
        return None;
    }
    let (key, headers) = (number_at(&blob, 9)?, number_at(&blob, 13)?);
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

    use super::{EntryId, PACK, add_fields, blobs, entry, from_blob, pack, to_blob};
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
        assert_eq!(from_blob(blob.into(), 0x0102_0304_0506), Some(record()));
    }

    fn packed(records: &[Record], now: u64) -> Vec<Vec<u8>> {
        let mut packs = Vec::new();
        records.iter().for_each(|it| pack(&mut packs, it, now));
        packs
    }

    fn unpacked(elements: Vec<Vec<u8>>, now: u64) -> Vec<Record> {
        let blobs = elements.into_iter().flat_map(blobs);
        blobs.filter_map(|blob| from_blob(blob, now)).collect()
    }

    #[test]
    fn the_bytes_of_a_pack_stay_as_they_are() {
        let now = 0x0102_0304_0506;
        let later = Record {
            expires: Some(Duration::from_secs(3)),
            ..record()
        };
        let pack = packed(&[record(), later.clone()], now).remove(0);
        let mut expected = b"\x02\x00\x00\x01\x02\x03\x04\x10\xbe".to_vec();
        for record in [&record(), &later] {
            let blob = to_blob(record, now);
            expected.extend([0, 0, 0, blob.len() as u8]);
            expected.extend(blob);
        }
        assert_eq!(pack, expected);
        let never = Record {
            expires: None,
            ..record()
        };
        for records in [[never.clone(), record()], [record(), never]] {
            let pack = packed(&records, now).remove(0);
            assert_eq!(pack[1..9], [0; 8], "one of them never expires");
        }
    }

    #[test]
    fn each_record_of_packs_is_read_and_expires_on_its_own() {
        let records = [1, 3, 2].map(|seconds| Record {
            expires: Some(Duration::from_secs(seconds)),
            ..record()
        });
        let packs = packed(&records, 1000);
        assert_eq!(packs.len(), 1);
        assert_eq!(unpacked(packs.clone(), 1000), records);
        let later = unpacked(packs, 3500);
        assert_eq!(later.len(), 1);
        assert_eq!(later[0].expires, Some(Duration::from_millis(500)));
    }

    #[test]
    fn a_pack_is_bounded_but_for_a_single_record() {
        let large = Record {
            body: vec![7; PACK / 2].into(),
            ..Record::default()
        };
        let huge = Record {
            body: vec![7; 9 * PACK].into(),
            ..Record::default()
        };
        let small = Record::default();
        let records = [
            small.clone(),
            large.clone(),
            large.clone(),
            huge.clone(),
            small,
        ];
        let packs = packed(&records, 0);
        assert_eq!(packs.len(), 4);
        assert_eq!(unpacked(packs, 0), records);
    }

    #[test]
    fn an_expired_blob_is_dropped() {
        let blob = to_blob(&record(), 1000);
        assert!(from_blob(blob.clone().into(), 2999).is_some());
        assert!(from_blob(blob.into(), 3000).is_none());
    }

    #[test]
    fn a_record_without_key_and_expiry_keeps_neither() {
        let record = Record {
            body: b"x".as_slice().into(),
            ..Record::default()
        };
        assert_eq!(
            from_blob(to_blob(&record, 7).into(), u64::MAX),
            Some(record)
        );
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
            assert_eq!(unpacked(vec![blob[..length].to_vec()], 0), [], "{length}");
        }
        assert_eq!(unpacked(vec![b"hello".to_vec()], 0), []);
        let pack = packed(&[record(), record()], 0).remove(0);
        let first = 9 + 4 + blob.len();
        for length in 0..first {
            assert_eq!(unpacked(vec![pack[..length].to_vec()], 0), [], "{length}");
        }
        for length in first..pack.len() {
            let cut = vec![pack[..length].to_vec()];
            assert_eq!(unpacked(cut, 0), [record()], "{length}");
        }
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
