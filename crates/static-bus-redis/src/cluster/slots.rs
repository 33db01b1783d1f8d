//! Hash slots, and the nodes that have them.

use std::{ops::RangeInclusive, sync::Arc};

use crc16::{State, XMODEM};
use redis::{ErrorKind, RedisError, RedisResult, Value, cmd};

use super::{super::node::Node, Address};

/// The number of slots of a cluster.
const SLOTS: u16 = 16384;

/// The slot of a key: that of the text between the first `{` and the next `}`, or of the whole key if there is none or it
/// is empty. Source: [the specification](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
pub fn slot_of(key: &str) -> u16 {
    let after = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    let tag = after.map(|(tag, _)| tag).filter(|tag| !tag.is_empty());
    State::<XMODEM>::calculate(tag.unwrap_or(key).as_bytes()) % SLOTS
}

/// The answer to `CLUSTER SLOTS`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Slots {
    pub primaries: Vec<(RangeInclusive<u16>, Address)>,
    pub replicas: Vec<Address>,
}

impl Slots {
    /// The slots, by the answer of a node.
    pub async fn of(node: &Node, address: &Address) -> RedisResult<Self> {
        let mut command = cmd("CLUSTER");
        command.arg("SLOTS");
        let mut connection = node.connection().await?;
        let answer = connection.send(&command).await;
        let answer = answer.inspect_err(|_| node.forget(&connection))?;
        let slots = Slots::parse(answer, &address.0);
        slots
            .filter(|slots| !slots.primaries.is_empty())
            .ok_or_else(no_node)
    }

    /// The slots in `[[first, last, [host, port, …] of the primary, [host, port, …] of a replica, …], …]`. The node at
    /// `host` that answers leaves out its own host if it does not know it.
    fn parse(answer: Value, host: &Arc<str>) -> Option<Self> {
        let number = |value: &Value| match value {
            Value::Int(number) => u16::try_from(*number).ok(),
            _ => None,
        };
        let address = |value: &Value| {
            let Value::Array(parts) = value else {
                return None;
            };
            let port = number(parts.get(1)?)?;
            match parts.first()? {
                Value::Nil => Some((host.clone(), port)),
                Value::BulkString(name) => match str::from_utf8(name).ok()? {
                    "" => Some((host.clone(), port)),
                    "?" => None,
                    name => Some((name.into(), port)),
                },
                _ => None,
            }
        };
        let Value::Array(ranges) = answer else {
            return None;
        };
        let mut slots = Slots::default();
        for range in &ranges {
            let Value::Array(parts) = range else {
                return None;
            };
            let range = number(parts.first()?)?..=number(parts.get(1)?)?;
            // A primary whose address is unknown has no reachable slots.
            let primary = parts.get(2).and_then(&address);
            slots
                .primaries
                .extend(primary.map(|primary| (range, primary)));
            slots
                .replicas
                .extend(parts.iter().skip(3).filter_map(&address));
        }
        Some(slots)
    }

    /// The primaries, each once.
    pub fn addresses(&self) -> Vec<Address> {
        let mut addresses: Vec<_> = self.primaries.iter().map(|(_, at)| at.clone()).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }
}

/// The error of a slot that no node has.
pub fn no_node() -> RedisError {
    let what = "no node of the cluster has the slot";
    RedisError::from((ErrorKind::ClusterConnectionNotFound, what))
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::{Slots, slot_of};

    /// The slots that `CLUSTER KEYSLOT` returns.
    #[test]
    fn the_slot_of_a_key_is_that_of_its_first_hash_tag() {
        assert_eq!(
            slot_of("123456789"),
            0x31C3,
            "the example of the specification"
        );
        assert_eq!(slot_of("foo"), 12182);
        for key in [
            "shop:{foo}",
            "{foo}/7",
            "shop:{foo}:owner/{bar}:g",
            "{foo}}",
        ] {
            assert_eq!(slot_of(key), slot_of("foo"), "{key}");
        }
        assert_ne!(slot_of("{}foo"), slot_of("foo"), "the whole key");
        assert_ne!(slot_of("{foo"), slot_of("foo"), "the whole key");
    }

    #[test]
    fn the_answer_of_a_node_has_the_primary_of_each_range() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), text("id")]);
        let range = |first, last, nodes: Vec<Value>| {
            let numbers = [Value::Int(first), Value::Int(last)];
            Value::Array(numbers.into_iter().chain(nodes).collect())
        };
        let answer = Value::Array(vec![
            range(0, 5460, vec![node(text("10.0.0.1"), 1), node(text("b"), 2)]),
            range(5461, 5461, vec![node(text(""), 3), node(text("?"), 4)]),
            range(5462, 16383, vec![node(Value::Nil, 5)]),
        ]);
        let slots = Slots::parse(answer, &"asked".into()).unwrap();
        let primaries = [
            (0..=5460, ("10.0.0.1".into(), 1)),
            (5461..=5461, ("asked".into(), 3)),
            (5462..=16383, ("asked".into(), 5)),
        ];
        let replicas = vec![("b".into(), 2)];
        assert_eq!(
            slots,
            Slots {
                primaries: primaries.into(),
                replicas
            }
        );
        assert_eq!(Slots::parse(Value::Nil, &"asked".into()), None);
    }
}
