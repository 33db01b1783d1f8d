//! The names of topics and groups.
//!
//! | name | meaning |
//! |---|---|
//! | `<namespace>.query.<name>`, `<namespace>.command.<name>`, `<namespace>.event.<name>` | topics of messages |
//! | `<namespace>.replies` | the topic of all replies |
//! | `<namespace>.dead-letters` | the topic of all dead letters |
//! | `<namespace>.claims.<kind>.<name>-at-<group>` | the topic of a group's deduplication keys |
//! | `<namespace>.<kind>.<name>@<group>` | a consumer group |
//!
//! In names of topics, letters, digits and `.` are kept, `::` becomes `--`, `_` becomes `-_`, and any other byte
//! becomes `-` and two hexadecimal digits. Kafka refuses two names that differ only in `.` and `_`: the escapes
//! never produce such a pair. A name of more than 249 characters is cut and ends with a hash.

use static_bus_remote::{
    DEAD_LETTERS,
    transport::{Kind, Topic},
};

/// The greatest length of the name of a topic that Kafka allows.
const MAX_LENGTH: usize = 249;

/// The Kafka topic of a topic.
pub(super) fn topic_name(namespace: &str, topic: &Topic) -> String {
    match topic.kind {
        Kind::Reply => format!("{namespace}.replies"),
        Kind::DeadLetter => format!("{namespace}.dead-letters"),
        kind => fit(format!(
            "{namespace}.{}.{}",
            kind.as_str(),
            escape(&topic.name)
        )),
    }
}

/// The Kafka topic of the deduplication keys of a group.
pub(super) fn claims_name(namespace: &str, topic: &Topic, group: &str) -> String {
    let (kind, name) = (topic.kind.as_str(), escape(&topic.name));
    fit(format!(
        "{namespace}.claims.{kind}.{name}-at-{}",
        escape(group)
    ))
}

/// The Kafka consumer group of a group of a topic.
pub(super) fn group_id(namespace: &str, topic: &Topic, group: &str) -> String {
    let (kind, name) = (topic.kind.as_str(), escape(&topic.name));
    format!("{namespace}.{kind}.{name}@{group}")
}

/// The topic of a Kafka topic of messages or dead letters; `None` for any other name, and for one that was cut.
pub(super) fn topic_of(namespace: &str, name: &str) -> Option<Topic> {
    let rest = name.strip_prefix(namespace)?.strip_prefix('.')?;
    if rest == "dead-letters" {
        return Some(DEAD_LETTERS);
    }
    let (kind, escaped) = rest.split_once('.')?;
    let kinds = [Kind::Query, Kind::Command, Kind::Event];
    let topic = Topic {
        kind: kinds.into_iter().find(|k| k.as_str() == kind)?,
        name: unescape(escaped)?.into(),
    };
    // Other programs may have topics with names that are similar.
    (topic_name(namespace, &topic) == name).then_some(topic)
}

fn unescape(escaped: &str) -> Option<String> {
    let mut name = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('-') {
        name.extend(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let length = match rest.as_bytes().first()? {
            b'-' => {
                name.extend(b"::");
                1
            }
            b'_' => {
                name.push(b'_');
                1
            }
            _ => {
                name.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
                2
            }
        };
        rest = &rest[length..];
    }
    name.extend(rest.as_bytes());
    String::from_utf8(name).ok()
}

fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len() + 8);
    let mut rest = name.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' => escaped.push(byte.into()),
            b'_' => escaped.push_str("-_"),
            b':' if rest.first() == Some(&b':') => {
                escaped.push_str("--");
                rest = &rest[1..];
            }
            _ => escaped.push_str(&format!("-{byte:02x}")),
        }
    }
    escaped
}

/// Cuts a name that is too long. No escape begins with `-h`, which marks the hash.
fn fit(mut name: String) -> String {
    if name.len() > MAX_LENGTH {
        let hash = fnv(name.as_bytes());
        name.truncate(MAX_LENGTH - 34);
        name.push_str(&format!("-h{hash:032x}"));
    }
    name
}

/// The FNV-1a hash with 128 bits.
fn fnv(bytes: &[u8]) -> u128 {
    let step = |hash: u128, byte: &u8| {
        (hash ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b)
    };
    bytes
        .iter()
        .fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, step)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{claims_name, group_id, topic_name, topic_of};
    use static_bus_remote::transport::{Kind, Topic};

    fn topic(kind: Kind, name: &str) -> Topic {
        Topic {
            kind,
            name: name.to_owned().into(),
        }
    }

    #[test]
    fn names_are_stable() {
        let name = |kind, name: &str| topic_name("static-bus", &topic(kind, name));
        assert_eq!(
            name(Kind::Command, "orders.place"),
            "static-bus.command.orders.place"
        );
        assert_eq!(
            name(Kind::Event, "my_shop::orders::OrderCreated"),
            "static-bus.event.my-_shop--orders--OrderCreated"
        );
        assert_eq!(
            name(Kind::Query, "a-b: ä"),
            "static-bus.query.a-2db-3a-20-c3-a4"
        );
        assert_eq!(name(Kind::Reply, "7f3a"), "static-bus.replies");
        assert_eq!(name(Kind::DeadLetter, ""), "static-bus.dead-letters");
        let created = topic(Kind::Event, "orders.created");
        assert_eq!(
            claims_name("shop", &created, "stock-1"),
            "shop.claims.event.orders.created-at-stock-2d1"
        );
        assert_eq!(
            group_id("shop", &created, "stock-1"),
            "shop.event.orders.created@stock-1"
        );
        let long = name(Kind::Command, &"x".repeat(300));
        assert_eq!(long.len(), 249);
        assert!(
            long.ends_with("-h2e2c3a940f652e326de86b7ff73bcb9b"),
            "{long}"
        );
    }

    #[test]
    fn a_topic_is_found_by_its_name() {
        for name in [
            "orders.place",
            "my_shop::orders::A",
            "a-b: ä",
            "",
            ":",
            "a@b",
        ] {
            for kind in [Kind::Query, Kind::Command, Kind::Event] {
                let topic = topic(kind, name);
                let found = topic_of("shop", &topic_name("shop", &topic));
                assert_eq!(found, Some(topic));
            }
        }
        let letters = topic(Kind::DeadLetter, "");
        assert_eq!(topic_of("shop", "shop.dead-letters"), Some(letters));
        let long = topic_name("shop", &topic(Kind::Event, &"x".repeat(300)));
        for other in [
            "shop.replies",
            "shop.claims.event.a-at-b",
            "shop2.event.a",
            "shop.event.a_b",
            "shop.event.a-",
            "shop.event.a-zz",
            "shop.event.a-ff",
            &long,
        ] {
            assert_eq!(topic_of("shop", other), None, "{other}");
        }
    }

    #[test]
    fn names_of_topics_are_unique_even_if_dots_and_underscores_are_equal() {
        let parts = ["a", ".", "_", "-", ":", "::", "2", "d", "at", "h", "ä", "@"];
        let mut seen = HashMap::new();
        for a in parts {
            for b in parts {
                for c in parts {
                    for d in parts {
                        let name = [a, b, c, d].concat();
                        let kafka = topic_name("p", &topic(Kind::Event, &name));
                        let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
                        assert!(kafka.bytes().all(legal), "{kafka}");
                        let before = seen.insert(kafka.replace('_', "."), name.clone());
                        assert!(before.is_none_or(|b| b == name), "{name}: {kafka}");
                    }
                }
            }
        }
    }

    #[test]
    fn claims_topics_and_group_ids_are_unique() {
        let parts = ["a", "-at-", "at", "-", "@", "::", "."];
        let (mut topics, mut groups) = (HashMap::new(), HashMap::new());
        for name in parts.iter().flat_map(|a| parts.map(|b| [*a, b].concat())) {
            for group in parts.iter().flat_map(|a| parts.map(|b| [*a, b].concat())) {
                let topic = topic(Kind::Event, &name);
                let both = (name.clone(), group.clone());
                for (seen, joined) in [
                    (&mut topics, claims_name("p", &topic, &group)),
                    (&mut groups, group_id("p", &topic, &group)),
                ] {
                    let before = seen.insert(joined, both.clone());
                    assert!(
                        before.as_ref().is_none_or(|b| *b == both),
                        "{before:?} {both:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn names_that_are_cut_are_unique() {
        let name = |end: &str| topic_name("p", &topic(Kind::Event, &("x".repeat(300) + end)));
        assert_ne!(name("1"), name("2"));
    }
}
