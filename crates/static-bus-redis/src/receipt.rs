//! The names of deliveries.

use std::collections::BTreeMap;

use super::wire::EntryId;
use static_bus_remote::transport::Lease;

/// The name of a delivery of a [`RedisConsumer`](super::RedisConsumer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RedisReceipt {
    stream: u16,
    delivery: u32,
    id: EntryId,
}

impl RedisReceipt {
    pub(super) fn new(stream: usize, id: EntryId, delivery: u32) -> Self {
        let stream = u16::try_from(stream).expect("a topic has at most 1,000 partitions");
        RedisReceipt {
            stream,
            delivery,
            id,
        }
    }

    /// The number of the stream: 0 for the shared stream, n + 1 for partition n.
    pub(super) fn stream(&self) -> usize {
        self.stream.into()
    }

    pub(super) fn id(&self) -> EntryId {
        self.id
    }

    /// The number of the delivery, counted by the member.
    pub(super) fn delivery(&self) -> u32 {
        self.delivery
    }
}

/// The ids of entries by the number of their stream.
pub(super) type Ids = BTreeMap<usize, Vec<EntryId>>;

/// The same ids in parts of up to `max`.
pub(super) fn pieces(ids: &Ids, max: usize) -> Vec<Ids> {
    let all = ids
        .iter()
        .flat_map(|(n, ids)| ids.iter().map(|id| (*n, *id)));
    let all: Vec<_> = all.collect();
    let piece = |part: &[(usize, EntryId)]| {
        let mut piece = Ids::new();
        for (stream, id) in part {
            piece.entry(*stream).or_default().push(*id);
        }
        piece
    };
    all.chunks(max).map(piece).collect()
}

/// The ids of leased entries.
pub(super) fn ids(leases: &[Lease<RedisReceipt>]) -> Ids {
    let mut all = Ids::new();
    for lease in leases {
        let receipt = lease.receipt;
        all.entry(receipt.stream()).or_default().push(receipt.id());
    }
    all
}
