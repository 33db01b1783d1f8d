//! The names of what is kept on the server.
//!
//! | key | type | content |
//! |---|---|---|
//! | `<ns>:query:<name>`, `<ns>:reply:<name>` | list | records in one blob each |
//! | `<ns>:command:<name>`, `<ns>:event:<name>` | stream | records without a key |
//! | `<ns>:command/<n>:<name>`, `<ns>:event/<n>:<name>` | stream | records of the keys of partition n |
//! | `<ns>:dead-letter` | stream | dead letters |
//! | `<ns>:partitions` | hash | topic → number of partitions |
//! | `<ns>:members:<topic>@<group>` | sorted set | member → when it counts as gone |
//! | `<ns>:owner/<n>:<topic>@<group>` | string | the member that consumes partition n |
//! | `<ns>:claims:<topic>@<group>` | sorted set | deduplication key → until when it is claimed |
//! | `<ns>:done:<topic>@<group>:<n>` | set | keys that were handled in the n-th stretch of time |
//! | `<ns>:trim:<topic>`, `<ns>:sweep:<topic>@<group>` | string | who tidied up last |

use static_bus_remote::transport::{Kind, Topic};

/// The list of a query or reply, the stream of records without a key, or that of dead letters.
pub(super) fn shared(namespace: &str, topic: &Topic) -> String {
    match topic.kind {
        Kind::DeadLetter => dead_letters(namespace),
        kind => format!("{namespace}:{}:{}", kind.as_str(), topic.name),
    }
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

/// The partition of a key, for all time: FNV-1a of 64 bits, modulo the number of partitions.
pub(super) fn partition_of(key: &str, partitions: usize) -> usize {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    usize::try_from(hash % partitions.max(1) as u64).expect("less than a usize")
}

/// What a group keeps beside its streams.
pub(super) struct GroupKeys {
    /// The shared stream, then each partition's.
    pub streams: Vec<String>,
    /// For each partition, who consumes it.
    pub owners: Vec<String>,
    pub members: String,
    pub claims: String,
    pub done: String,
    pub trim: String,
    pub sweep: String,
}

impl GroupKeys {
    pub fn new(namespace: &str, of: &Topic, group: &str, partitions: usize) -> Self {
        let name = topic(of);
        // A topic's name may contain anything, a group's nothing that ends it.
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
            [(5, 37), (4, 996), (5, 325), (4, 692), (6, 478), (3, 691)]
        );
    }

    #[test]
    fn no_two_things_have_one_name() {
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
