//! The format of records in Kafka.
//!
//! The value is the body. Each attribute `name` is a header `ce_<name>`, and `datacontenttype` is
//! `content-type`. There are two more headers:
//!
//! | header | value |
//! |---|---|
//! | `static-bus-expires` | the time at which the record expires, in milliseconds since the Unix epoch |
//! | `static-bus-key` | the record's key, if it differs from the Kafka key; null if the record has no key |
//!
//! The Kafka key is the record's key, with three exceptions: the address of a reply, a unique key for each dead
//! letter, and the idempotency key of a record without a key.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::message::{Header, Headers as _, Message, OwnedHeaders};
use uuid::Uuid;

use static_bus_remote::{
    Headers,
    time::millis,
    transport::{Kind, Record, Topic, key_from_bytes, key_to_bytes},
};

const PREFIX: &str = "ce_";
const CONTENT_TYPE: &str = "content-type";
const EXPIRES: &str = "static-bus-expires";
const KEY: &str = "static-bus-key";

/// The Kafka key and the headers of a record.
pub(super) struct Encoded {
    pub key: Option<Vec<u8>>,
    pub headers: OwnedHeaders,
    /// The size of the record in bytes, as the client counts it.
    pub size: usize,
}

/// Encodes a record. `now` is in milliseconds since the Unix epoch.
pub(super) fn encode(topic: &Topic, record: &Record, now: u64) -> Encoded {
    let mut headers = OwnedHeaders::new_with_capacity(12);
    // The lengths of a name and a value take one or two bytes each.
    let size_of = |name: &str, value: &[u8]| name.len() + value.len() + 4;
    let mut size = record.body.len();
    let mut idempotency_key = None;
    let mut key = String::with_capacity(32);
    for (name, value) in record.headers.iter() {
        key.clear();
        if name == "datacontenttype" {
            key.push_str(CONTENT_TYPE);
        } else {
            key.push_str(PREFIX);
            key.push_str(name);
        }
        size += size_of(&key, value.as_bytes());
        headers = headers.insert(Header {
            key: &key,
            value: Some(&*value),
        });
        if name == "idempotencykey" {
            idempotency_key = Some(value.into_owned());
        }
    }
    if let Some(life) = record.expires {
        let value = now.saturating_add(millis(life)).to_string();
        size += size_of(EXPIRES, value.as_bytes());
        headers = headers.insert(Header {
            key: EXPIRES,
            value: Some(&value),
        });
    }
    let own = record.key.as_deref().map(key_to_bytes);
    let key = match (topic.kind, &own) {
        (Kind::Reply, _) => Some(topic.name.as_bytes().to_vec()),
        (Kind::DeadLetter, _) => Some(Uuid::now_v7().to_string().into_bytes()),
        (_, Some(own)) => Some(own.to_vec()),
        (_, None) => idempotency_key.map(String::into_bytes),
    };
    if key.as_deref() != own.as_deref() {
        size += size_of(KEY, own.as_deref().unwrap_or_default());
        headers = headers.insert(Header {
            key: KEY,
            value: own.as_deref(),
        });
    }
    size += key.as_ref().map_or(0, Vec::len);
    Encoded { key, headers, size }
}

/// The size of a batch with one record of this size, as brokers count it, or a little more.
pub(super) fn batch_size(record: usize) -> usize {
    record + 61 + 30
}

/// The record of a message. `expires` is zero if it has expired. `now` is called where the record expires: most do not, and
/// a clock costs as much as a header.
pub(super) fn decode(message: &impl Message, now: impl Fn() -> u64) -> Record {
    let text = |bytes| str::from_utf8(bytes).ok();
    let mut record = Record {
        body: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
        key: message.key().map(key_from_bytes),
        headers: Headers::with_capacity(384),
        ..Record::default()
    };
    for header in message.headers().into_iter().flat_map(|h| h.iter()) {
        let value = header.value.and_then(text);
        match (header.key, value) {
            (KEY, _) => record.key = header.value.map(key_from_bytes),
            (EXPIRES, value) => {
                let expiry = value.and_then(|v| v.parse::<u64>().ok());
                record.expires = expiry.map(|at| Duration::from_millis(at.saturating_sub(now())));
            }
            (CONTENT_TYPE, Some(value)) => record.headers.push_valid("datacontenttype", value),
            (name, Some(value)) => {
                // Foreign headers are kept if their names are valid.
                let name = name.strip_prefix(PREFIX).unwrap_or(name);
                if Headers::is_name(name) {
                    record.headers.push_valid(name, value);
                }
            }
            _ => {}
        }
    }
    record
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::{
        Timestamp,
        message::{Header, Headers as _, OwnedHeaders, OwnedMessage},
    };

    use super::{Encoded, decode, encode, key_from_bytes};
    use static_bus_remote::{
        Headers,
        transport::{Kind, Record, Topic},
    };

    fn record() -> Record {
        Record {
            headers: Headers::from_iter([
                ("specversion", "1.0"),
                ("id", "1"),
                ("datacontenttype", "application/json"),
                ("note", "100 %\nsure"),
            ]),
            body: b"{}".as_slice().into(),
            key: Some("k1".into()),
            expires: Some(Duration::from_secs(2)),
            ..Record::default()
        }
    }

    fn topic(kind: Kind) -> Topic {
        Topic {
            kind,
            name: "n".into(),
        }
    }

    /// The message that a consumer receives.
    fn message(topic: &Topic, record: &Record, now: u64) -> OwnedMessage {
        let Encoded { key, headers, .. } = encode(topic, record, now);
        message_of(key.as_deref(), headers, Some(&record.body))
    }

    fn message_of(key: Option<&[u8]>, headers: OwnedHeaders, body: Option<&[u8]>) -> OwnedMessage {
        OwnedMessage::new(
            body.map(<[u8]>::to_vec),
            key.map(<[u8]>::to_vec),
            "t".to_owned(),
            Timestamp::CreateTime(7),
            0,
            0,
            Some(headers),
        )
    }

    fn texts(headers: &OwnedHeaders) -> Vec<(&str, Option<&str>)> {
        let text = |bytes| str::from_utf8(bytes).unwrap();
        headers.iter().map(|h| (h.key, h.value.map(text))).collect()
    }

    #[test]
    fn the_format_is_stable() {
        let Encoded { key, headers, size } = encode(&topic(Kind::Command), &record(), 1000);
        let texts = texts(&headers);
        let lengths = texts
            .iter()
            .map(|(name, value)| name.len() + value.unwrap().len() + 4);
        assert_eq!(size, lengths.sum::<usize>() + "k1".len() + "{}".len());
        assert_eq!(key.as_deref(), Some(&b"k1"[..]));
        assert_eq!(
            texts,
            [
                ("ce_specversion", Some("1.0")),
                ("ce_id", Some("1")),
                ("content-type", Some("application/json")),
                ("ce_note", Some("100 %\nsure")),
                ("static-bus-expires", Some("3000")),
            ]
        );
    }

    #[test]
    fn a_record_is_decoded_as_it_was_encoded() {
        let key_is_idempotency_key = Record {
            headers: Headers::from_iter([("idempotencykey", "once")]),
            ..Record::default()
        };
        let both_keys = Record {
            key: Some("once".into()),
            ..key_is_idempotency_key.clone()
        };
        let empty_key = Record {
            key: Some("".into()),
            ..Record::default()
        };
        let foreign_key = Record {
            key: Some(key_from_bytes(b"7\xFF")),
            ..record()
        };
        let records = [
            record(),
            foreign_key,
            Record::default(),
            key_is_idempotency_key,
            both_keys,
            empty_key,
        ];
        for kind in [
            Kind::Query,
            Kind::Reply,
            Kind::Command,
            Kind::Event,
            Kind::DeadLetter,
        ] {
            for record in &records {
                let message = message(&topic(kind), record, 1000);
                assert_eq!(decode(&message, || 1000), *record, "{kind:?}");
            }
        }
    }

    #[test]
    fn the_kafka_key_depends_on_the_kind() {
        let key = |kind, record: &Record| encode(&topic(kind), record, 0).key;
        let idempotent = Record {
            headers: Headers::from_iter([("idempotencykey", "once")]),
            ..Record::default()
        };
        assert_eq!(key(Kind::Event, &Record::default()), None);
        assert_eq!(key(Kind::Event, &idempotent).as_deref(), Some(&b"once"[..]));
        assert_eq!(key(Kind::Reply, &record()).as_deref(), Some(&b"n"[..]));
        let letter = || key(Kind::DeadLetter, &record());
        assert_ne!(letter(), letter());
    }

    #[test]
    fn an_expired_record_expires_in_zero_time() {
        let message = message(&topic(Kind::Query), &record(), 1000);
        let left = |now| decode(&message, || now).expires;
        assert_eq!(left(2999), Some(Duration::from_millis(1)));
        assert_eq!(left(3000), Some(Duration::ZERO));
        assert_eq!(left(u64::MAX), Some(Duration::ZERO));
    }

    #[test]
    fn valid_parts_of_a_foreign_message_are_decoded() {
        let header = |key, value| Header { key, value };
        let headers = OwnedHeaders::new()
            .insert(header("ce_id", Some("7")))
            .insert(header("traceparent", Some("00-1-2-3")))
            .insert(header("X-Other", Some("not the name of an attribute")))
            .insert(header("null", None::<&str>))
            .insert(Header {
                key: "ce_bytes",
                value: Some(&[0xff, 0xfe]),
            })
            .insert(header("static-bus-expires", Some("soon")));
        let record = decode(&message_of(Some(b"key"), headers, None), || 0);
        let expected = Record {
            headers: Headers::from_iter([("id", "7"), ("traceparent", "00-1-2-3")]),
            key: Some("key".into()),
            ..Record::default()
        };
        assert_eq!(record, expected);
    }
}
