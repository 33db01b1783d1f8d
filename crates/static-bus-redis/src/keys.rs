//! The keys on the server.
//!
//! | key | type | content |
//! |---|---|---|
//! | `<ns>:query:<name>`, `<ns>:reply:<name>` | list | records, one blob each |
//! | `<ns>:receivers:<name>` | string | expires when a query has had no receiver for the grace time |
//! | `<ns>:command:<name>`, `<ns>:event:<name>` | stream | records without a key |
//! | `<ns>:command/<n>:<name>`, `<ns>:event/<n>:<name>` | stream | records of the keys of partition n |
//! | `<ns>:dead-letter` | stream | dead letters |
//! | `<ns>:partitions` | hash | topic → number of partitions |
//! | `<ns>:members:<topic>@<group>` | sorted set | member → the end of its membership |
//! | `<ns>:owner/<n>:<topic>@<group>` | string | the owner of partition n |
//! | `<ns>:claims:<topic>@<group>` | sorted set | deduplication key → the end of its claim |
//! | `<ns>:done:<topic>@<group>:<n>` | set | keys that were confirmed in the n-th window of time |
//! | `<ns>:trim:<topic>`, `<ns>:sweep:<topic>@<group>` | string | a lock: the work was done within the interval |

use static_bus_remote::transport::{Kind, Topic, key_to_bytes};

/// The list of a query or reply, the stream of records without a key, or the stream of dead letters.
pub(super) fn shared(namespace: &str, topic: &Topic) -> String {
    match topic.kind {
        Kind::DeadLetter => dead_letters(namespace),
        kind => format!("{namespace}:{}:{}", kind.as_str(), topic.name),
    }
}

/// The presence of receivers of a query.
pub(super) fn receivers(namespace: &str, topic: &Topic) -> String {
    format!("{namespace}:receivers:{}", topic.name)
}

/// Returns whether a topic is kept in streams: the shared one, and one for each partition.
pub(super) fn is_partitioned(topic: &Topic) -> bool {
    matches!(topic.kind, Kind::Command | Kind::Event)
}

pub(super) fn partition(namespace: &str, topic: &Topic, number: usize) -> String {
    format!(
        "{namespace}:{}/{number}:{}",
        topic.kind.as_str(),
        topic.name
    )
}

pub(super) fn dead_letters(namespace: &str) -> String {
    format!("{namespace}:dead-letter")
}

pub(super) fn partitions(namespace: &str) -> String {
    format!("{namespace}:partitions")
}

pub(super) fn topic(topic: &Topic) -> String {
    format!("{}:{}", topic.kind.as_str(), topic.name)
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
    streams: Vec<String>,
    owners: Vec<String>,
    members: String,
    claims: String,
    done: String,
    trim: String,
    sweep: String,
}

impl GroupKeys {
    pub fn new(namespace: &str, of: &Topic, group: &str, partitions: usize) -> Self {
        let name = topic(of);
        // The name of a topic may contain any character. That of the group is escaped, so that it ends at the last `@`.
        let group = group.replace('%', "%25").replace('@', "%40");
        GroupKeys {
            streams: std::iter::once(shared(namespace, of))
                .chain((0..partitions).map(|n| partition(namespace, of, n)))
                .collect(),
            owners: (0..partitions)
                .map(|n| format!("{namespace}:owner/{n}:{name}@{group}"))
                .collect(),
            members: format!("{namespace}:members:{name}@{group}"),
            claims: format!("{namespace}:claims:{name}@{group}"),
            done: format!("{namespace}:done:{name}@{group}:"),
            trim: format!("{namespace}:trim:{name}"),
            sweep: format!("{namespace}:sweep:{name}@{group}"),
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

    pub fn members(&self) -> &str {
        &self.members
    }

    pub fn claims(&self) -> &str {
        &self.claims
    }

    /// The keys that were confirmed in the n-th window.
    pub fn done(&self, window: u64) -> String {
        format!("{}{window}", self.done)
    }

    pub fn done_prefix(&self) -> &str {
        &self.done
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
    use super::{GroupKeys, partition_of};
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

    #[test]
    fn no_two_keys_collide() {
        let keys = |name: &'static str, group: &str| {
            let topic = Topic {
                kind: Kind::Event,
                name: name.into(),
            };
            GroupKeys::new("ns", &topic, group, 1)
        };
        assert_ne!(keys("a@b", "c").members, keys("a", "b@c").members);
        assert_ne!(keys("a", "g").streams[1], keys("0:a", "g").streams[0]);
        assert_eq!(keys("a", "g").streams, ["ns:event:a", "ns:event/0:a"]);
    }
}
