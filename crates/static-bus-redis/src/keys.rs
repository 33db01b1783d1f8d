//! The keys on the server.
//!
//! | key | type | content |
//! |---|---|---|
//! | `<ns>:{query:<name>}`, `<ns>:{reply:<name>}` | list | records, one blob each |
//! | `<ns>:{query:<name>}:receivers` | string | expires when a query has had no receiver for the grace time |
//! | `<ns>:{command:<name>}`, `<ns>:{event:<name>}` | stream | records without a key |
//! | `<ns>:{<topic>}/<n>` | stream | records of the keys of partition n |
//! | `<ns>:{<topic>}:groups` | sorted set | group → the time until which no entry is removed without it |
//! | `<ns>:{<topic>}:members:<group>` | sorted set | member → the end of its membership |
//! | `<ns>:{<topic>}:owner/<n>:<group>` | string | the owner of partition n |
//! | `<ns>:{<topic>}:claims:<group>` | sorted set | deduplication key → the end of its claim |
//! | `<ns>:{<topic>}:done/<n>:<group>` | set | keys that were confirmed in the n-th window of time |
//! | `<ns>:{<topic>}:due` | sorted set | number of a scheduled record → the time at which it is due |
//! | `<ns>:{<topic>}:scheduled` | hash | `n`: the last number; number → record; `k` and a cancellation key → number |
//! | `<ns>:{<topic>}:trim`, `<ns>:{<topic>}:sweep:<group>` | string | a lock: the work was done within the interval |
//! | `<ns>:dead-letter` | stream | dead letters |
//! | `<ns>:partitions` | hash | topic → number of partitions |
//!
//! In a cluster, the text in braces decides the hash slot of a key. So all keys of a topic and its groups are in one slot,
//! and one command, transaction or script may use several of them. No call uses keys of two topics.

use static_bus_remote::transport::{Kind, Topic, key_to_bytes};

/// The list of a query or reply, the stream of records without a key, or the stream of dead letters.
pub(super) fn shared(namespace: &str, topic: &Topic) -> String {
    match topic.kind {
        Kind::DeadLetter => dead_letters(namespace),
        _ => format!("{namespace}:{{{}}}", self::topic(topic)),
    }
}

/// The presence of receivers of a query.
pub(super) fn receivers(namespace: &str, topic: &Topic) -> String {
    format!("{}:receivers", shared(namespace, topic))
}

/// The times at which the scheduled records of a topic are due.
pub(super) fn due(namespace: &str, topic: &Topic) -> String {
    format!("{}:due", shared(namespace, topic))
}

/// The scheduled records of a topic.
pub(super) fn scheduled(namespace: &str, topic: &Topic) -> String {
    format!("{}:scheduled", shared(namespace, topic))
}

/// Returns whether a topic is kept in streams: the shared one, and one for each partition.
pub(super) fn is_partitioned(topic: &Topic) -> bool {
    matches!(topic.kind, Kind::Command | Kind::Event)
}

pub(super) fn partition(namespace: &str, topic: &Topic, number: usize) -> String {
    format!("{}/{number}", shared(namespace, topic))
}

pub(super) fn dead_letters(namespace: &str) -> String {
    format!("{namespace}:dead-letter")
}

pub(super) fn partitions(namespace: &str) -> String {
    format!("{namespace}:partitions")
}

/// The name of a topic in keys.
pub(super) fn topic(topic: &Topic) -> String {
    format!("{}:{}", topic.kind.as_str(), topic.name)
}

/// The topic of a name in keys.
pub(super) fn topic_of_name(name: &str) -> Option<Topic> {
    let (kind, name) = name.split_once(':')?;
    let kinds = [Kind::Query, Kind::Command, Kind::Event];
    let kind = kinds.into_iter().find(|k| k.as_str() == kind)?;
    Some(Topic {
        kind,
        name: name.to_owned().into(),
    })
}

/// The topic whose records are in a key, without its namespace.
pub(super) fn topic_of_key(key: &str) -> Option<Topic> {
    if key == "dead-letter" {
        return Some(static_bus_remote::DEAD_LETTERS);
    }
    // The name of a topic may contain any character; what follows has no brace.
    let (name, rest) = key.strip_prefix('{')?.rsplit_once('}')?;
    let is_number = |n: &str| n.parse::<usize>().is_ok();
    let is_partition = rest.strip_prefix('/').is_some_and(is_number);
    let has_records = rest.is_empty() || rest == ":due" || is_partition;
    has_records.then(|| topic_of_name(name)).flatten()
}

/// The partition of a key: FNV-1a of 64 bits, mixed, modulo the number of partitions. It must never change.
///
/// Of a hash by FNV-1a, each bit depends on the lower bits of the key's bytes only. The finalizer of MurmurHash3 makes
/// each depend on all.
pub(super) fn partition_of(key: &str, partitions: usize) -> usize {
    let bytes = key_to_bytes(key);
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let hash = hash ^ (hash >> 33);
    usize::try_from(hash % partitions.max(1) as u64).expect("less than a usize")
}

/// The keys of a topic and of one of its groups.
pub(super) struct GroupKeys {
    /// The key of the shared stream, and the prefix of the others.
    shared: String,
    group: String,
    streams: Vec<String>,
    owners: Vec<String>,
    groups: String,
    members: String,
    claims: String,
    due: String,
    scheduled: String,
    trim: String,
    sweep: String,
}

impl GroupKeys {
    pub fn new(namespace: &str, of: &Topic, group: &str, partitions: usize) -> Self {
        let shared = shared(namespace, of);
        // The last brace ends the name of the topic, which may contain any character.
        let group = group.replace('%', "%25").replace('}', "%7D");
        let partition = |n| partition(namespace, of, n);
        GroupKeys {
            streams: std::iter::once(shared.clone())
                .chain((0..partitions).map(partition))
                .collect(),
            owners: (0..partitions)
                .map(|n| format!("{shared}:owner/{n}:{group}"))
                .collect(),
            groups: format!("{shared}:groups"),
            members: format!("{shared}:members:{group}"),
            claims: format!("{shared}:claims:{group}"),
            due: due(namespace, of),
            scheduled: scheduled(namespace, of),
            trim: format!("{shared}:trim"),
            sweep: format!("{shared}:sweep:{group}"),
            shared,
            group,
        }
    }

    /// The shared stream, then the stream of each partition.
    pub fn streams(&self) -> &[String] {
        &self.streams
    }

    /// The owner of each partition.
    pub fn owners(&self) -> &[String] {
        &self.owners
    }

    pub fn groups(&self) -> &str {
        &self.groups
    }

    pub fn members(&self) -> &str {
        &self.members
    }

    pub fn claims(&self) -> &str {
        &self.claims
    }

    pub fn due(&self) -> &str {
        &self.due
    }

    pub fn scheduled(&self) -> &str {
        &self.scheduled
    }

    /// The keys that were confirmed in the n-th window.
    pub fn done(&self, window: u64) -> String {
        format!("{}:done/{window}:{}", self.shared, self.group)
    }

    pub fn trim(&self) -> &str {
        &self.trim
    }

    pub fn sweep(&self) -> &str {
        &self.sweep
    }
}

#[cfg(test)]
mod tests {
    use super::{GroupKeys, partition_of, topic_of_key};
    use static_bus_remote::transport::{Kind, Topic};

    #[test]
    fn a_key_stays_in_its_partition_for_all_time() {
        let partitions: Vec<_> = ["", "a", "order-1", "order-2", "kunde-ä", "42"]
            .map(|key| (partition_of(key, 8), partition_of(key, 1000)))
            .into();
        assert_eq!(
            partitions,
            [(6, 342), (3, 315), (5, 757), (3, 443), (5, 429), (4, 476)]
        );
    }

    /// Keys as programs make them: numbers, and numbers in texts that repeat their parts.
    fn families() -> Vec<(&'static str, Vec<String>)> {
        let of = |name, key: &dyn Fn(u32) -> String| (name, (0..4000).map(key).collect());
        vec![
            of("numbers", &|n| n.to_string()),
            of("every eighth number", &|n| (n * 8).to_string()),
            of("padded numbers", &|n| format!("{n:08}")),
            of("names and numbers", &|n| format!("order-{n}")),
            of("numbers and names", &|n| format!("{n}-order")),
            of("a part twice", &|n| format!("{n}{n}")),
            of("a part twice, separated", &|n| format!("{n}:{n}")),
            of("a part four times", &|n| format!("{n}/{n}/{n}/{n}")),
            of("hexadecimal numbers", &|n| format!("{n:x}")),
            of("a hexadecimal part twice", &|n| format!("{n:08x}{n:08x}")),
            of("addresses", &|n| format!("10.0.{}.{}", n / 256, n % 256)),
            of("mail addresses", &|n| format!("user{n}@example.com")),
            of("times", &|n| {
                format!("2026-11-30T{:02}:{:02}:00Z", n / 60 % 24, n % 60)
                    + &"x".repeat(n as usize / 1440)
            }),
            of("ids", &|n| {
                format!("{:08x}-0000-4000-8000-{:012x}", n, u64::from(n) << 16)
            }),
            of("paths", &|n| format!("/eu/{}/{}", n % 64, n / 64)),
            of("two letters, repeated", &|n| {
                "a".repeat(n as usize % 64) + &"b".repeat(n as usize / 64)
            }),
        ]
    }

    #[test]
    fn the_keys_of_each_family_are_spread_over_all_partitions_alike() {
        for (family, keys) in families() {
            for partitions in [2, 3, 4, 7, 8, 16, 31, 64] {
                let mut counts = vec![0_u32; partitions];
                for key in &keys {
                    counts[partition_of(key, partitions)] += 1;
                }
                let expected = keys.len() as f64 / partitions as f64;
                let squares = counts.iter().map(|n| (f64::from(*n) - expected).powi(2));
                let chi = squares.sum::<f64>() / expected;
                // Six standard deviations of the distribution of a random hash.
                let freedom = (partitions - 1) as f64;
                let bound = freedom + 6.0 * (2.0 * freedom).sqrt();
                assert!(chi < bound, "{family}: {counts:?}, {chi} of {bound}");
            }
        }
    }

    fn keys(name: &'static str, group: &str) -> GroupKeys {
        let topic = Topic {
            kind: Kind::Event,
            name: name.into(),
        };
        GroupKeys::new("ns", &topic, group, 1)
    }

    #[test]
    fn no_two_keys_collide() {
        let stream_of = |name| keys(name, "g").streams[0].clone();
        assert_ne!(
            keys("a", "g}/0").members,
            keys("a}:members:g", "g").streams[1]
        );
        assert_ne!(keys("a", "g}").members, stream_of("a}:members:g"));
        assert_ne!(keys("a", "g}").members, keys("a", "g%7D").members);
        assert_ne!(keys("a", "g").streams[1], stream_of("a}/0"));
        assert_ne!(keys("a", "5:g").done(7), keys("a", "g").done(75));
        assert_eq!(keys("a", "g").streams, ["ns:{event:a}", "ns:{event:a}/0"]);
    }

    #[test]
    fn the_topic_of_a_key_has_its_kind_and_name() {
        let text = |key| topic_of_key(key).map(|topic| topic.to_string());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(text("{command:orders.place}"), some("command orders.place"));
        assert_eq!(
            text("{command:orders.place}/7"),
            some("command orders.place")
        );
        assert_eq!(text("{event:a:}b{@c}"), some("event a:}b{@c"));
        assert_eq!(text("{query:users.get}"), some("query users.get"));
        assert_eq!(text("{event:a}:due"), some("event a"));
        assert_eq!(text("dead-letter"), some("dead-letter "));
        for other in [
            "{command:a}:members:handlers",
            "{command:a}:owner/0:handlers",
            "{command:a}:done/1:handlers",
            "{command:a}:scheduled",
            "{command:a}/x",
            "{query:a}:receivers",
            "{reply:1}",
            "partitions",
        ] {
            assert_eq!(text(other), None, "{other}");
        }
    }
}
