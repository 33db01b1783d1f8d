//! What records look like in Kafka.
//!
//! The value is the body. Each attribute `name` is a header `ce_<name>`, and `datacontenttype` is
//! `content-type`. Beside those:
//!
//! | header | value |
//! |---|---|
//! | `static-bus-expires` | when the record is of no more use, in milliseconds since 1970 |
//! | `static-bus-key` | the record's key, where the Kafka key is something else; null if it has none |
//!
//! The Kafka key is the record's key, except that it is the address of a reply, a new one for
//! each dead letter, and the idempotency key of a record that has no other.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rdkafka::message::{Header, Headers as _, Message, OwnedHeaders};
use uuid::Uuid;

use static_bus_remote::{
    Headers,
    transport::{Kind, Record, Topic},
};

const PREFIX: &str = "ce_";
const CONTENT_TYPE: &str = "content-type";
const EXPIRES: &str = "static-bus-expires";
const KEY: &str = "static-bus-key";

pub(super) fn now_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The Kafka key of a record, if it has one, and its headers.
pub(super) fn encode(topic: &Topic, record: &Record, now: u64) -> (Option<String>, OwnedHeaders) {
    let mut headers = OwnedHeaders::new_with_capacity(12);
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
        headers = headers.insert(Header {
            key: EXPIRES,
            value: Some(&value),
        });
    }
    let own = record.key.as_deref();
    let key = match topic.kind {
        Kind::Reply => Some(topic.name.to_string()),
        Kind::DeadLetter => Some(Uuid::now_v7().to_string()),
        _ => own.map(str::to_owned).or(idempotency_key),
    };
    if key.as_deref() != own {
        headers = headers.insert(Header {
            key: KEY,
            value: own,
        });
    }
    (key, headers)
}

/// The record that a message holds. Nothing is left of its time if that has passed.
pub(super) fn decode(message: &impl Message, now: u64) -> Record {
    let text = |bytes| str::from_utf8(bytes).ok();
    let mut record = Record {
        body: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
        key: message.key().and_then(text).map(Arc::from),
        ..Record::default()
    };
    for header in message.headers().into_iter().flat_map(|h| h.iter()) {
        let value = header.value.and_then(text);
        match (header.key, value) {
            (KEY, key) => record.key = key.map(Arc::from),
            (EXPIRES, value) => {
                let expiry = value.and_then(|v| v.parse::<u64>().ok());
                record.expires = expiry.map(|at| Duration::from_millis(at.saturating_sub(now)));
            }
            (CONTENT_TYPE, Some(value)) => record.headers.push("datacontenttype", value),
            (name, Some(value)) => {
                // Headers of others are kept where they can be.
                let name = name.strip_prefix(PREFIX).unwrap_or(name);
                if Headers::is_name(name) {
                    record.headers.push(name, value);
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

    use super::{decode, encode};
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
        }
    }

    fn topic(kind: Kind) -> Topic {
        Topic {
            kind,
            name: "n".into(),
        }
    }

    /// As another member would get it.
    fn message(topic: &Topic, record: &Record, now: u64) -> OwnedMessage {
        let (key, headers) = encode(topic, record, now);
        message_of(key.as_deref(), headers, Some(&record.body))
    }

    fn message_of(key: Option<&str>, headers: OwnedHeaders, body: Option<&[u8]>) -> OwnedMessage {
        OwnedMessage::new(
            body.map(<[u8]>::to_vec),
            key.map(|key| key.as_bytes().to_vec()),
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
    fn the_wire_form_stays_as_it_is() {
        let (key, headers) = encode(&topic(Kind::Command), &record(), 1000);
        assert_eq!(key.as_deref(), Some("k1"));
        assert_eq!(
            texts(&headers),
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
    fn what_is_consumed_is_what_was_appended() {
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
        let records = [
            record(),
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
                assert_eq!(decode(&message, 1000), *record, "{kind:?}");
            }
        }
    }

    #[test]
    fn the_kafka_key_says_which_partition() {
        let key = |kind, record: &Record| encode(&topic(kind), record, 0).0;
        let idempotent = Record {
            headers: Headers::from_iter([("idempotencykey", "once")]),
            ..Record::default()
        };
        assert_eq!(key(Kind::Event, &Record::default()), None);
        assert_eq!(key(Kind::Event, &idempotent).as_deref(), Some("once"));
        assert_eq!(key(Kind::Reply, &record()).as_deref(), Some("n"));
        let letter = || key(Kind::DeadLetter, &record());
        assert_ne!(letter(), letter());
    }

    #[test]
    fn nothing_is_left_of_the_time_of_an_expired_record() {
        let message = message(&topic(Kind::Query), &record(), 1000);
        let left = |now| decode(&message, now).expires;
        assert_eq!(left(2999), Some(Duration::from_millis(1)));
        assert_eq!(left(3000), Some(Duration::ZERO));
        assert_eq!(left(u64::MAX), Some(Duration::ZERO));
    }

    #[test]
    fn a_message_of_another_program_is_read_as_far_as_it_can_be() {
        let header = |key, value| Header { key, value };
        let headers = OwnedHeaders::new()
            .insert(header("ce_id", Some("7")))
            .insert(header("traceparent", Some("00-1-2-3")))
            .insert(header("X-Other", Some("no name of an attribute")))
            .insert(header("null", None::<&str>))
            .insert(Header {
                key: "ce_bytes",
                value: Some(&[0xff, 0xfe]),
            })
            .insert(header("static-bus-expires", Some("soon")));
        let record = decode(&message_of(Some("key"), headers, None), 0);
        let expected = Record {
            headers: Headers::from_iter([("id", "7"), ("traceparent", "00-1-2-3")]),
            key: Some("key".into()),
            ..Record::default()
        };
        assert_eq!(record, expected);
    }
}
