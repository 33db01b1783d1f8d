//! The names of deliveries.

use std::collections::BTreeMap;

use super::wire::EntryId;
use static_bus_remote::transport::Lease;

/// The name of a delivery of a [`RedisConsumer`](super::RedisConsumer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RedisReceipt {
    stream: u16,
    id: EntryId,
}

impl RedisReceipt {
    pub(super) fn new(stream: usize, id: EntryId) -> Self {
        let stream = u16::try_from(stream).expect("a topic has at most 1,000 partitions");
        RedisReceipt { stream, id }
    }

    /// The number of the stream: 0 for the shared stream, n + 1 for partition n.
    pub(super) fn stream(&self) -> usize {
        self.stream.into()
    }

    pub(super) fn id(&self) -> EntryId {
        self.id
    }
}

/// The ids of entries by the number of their stream, ascending.
pub(super) type Ids = BTreeMap<usize, Vec<EntryId>>;

/// The ids of leased entries.
pub(super) fn ids(leases: &[Lease<RedisReceipt>]) -> Ids {
    let mut all = Ids::new();
    for lease in leases {
        let receipt = lease.receipt;
        all.entry(receipt.stream()).or_default().push(receipt.id());
    }
    all.values_mut().for_each(|ids| ids.sort_unstable());
    all
}
