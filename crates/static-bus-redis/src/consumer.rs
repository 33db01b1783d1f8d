//! A member of a group of commands or events.

use std::{fmt, sync::Arc, time::Duration};

use super::{stream::StreamMember, wire::EntryId};
use static_bus_remote::transport::{Backlog, Claim, Consumer, Delivery, Lease, TransportError};

/// A member of a group on Redis; made by [`consume`](static_bus_remote::Transport::consume).
///
/// It has a connection of its own, on which it waits for records, and two tasks, which end when it is closed or
/// dropped. A dropped consumer releases nothing: its records go to others when its leases run out.
pub struct RedisConsumer {
    pub(super) member: StreamMember,
}

/// The name of a delivery of a [`RedisConsumer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RedisReceipt {
    stream: u16,
    id: EntryId,
}

impl RedisReceipt {
    pub(super) fn entry(stream: usize, id: EntryId) -> Self {
        let stream = u16::try_from(stream).expect("partitions are at most 1,000");
        RedisReceipt { stream, id }
    }

    pub(super) fn place(&self) -> (usize, EntryId) {
        (self.stream.into(), self.id)
    }
}

impl Consumer for RedisConsumer {
    type Receipt = RedisReceipt;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<RedisReceipt>>, TransportError> {
        self.member.receive(max, wait).await
    }

    async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        self.member.claim(keys).await
    }

    async fn acknowledge(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        self.member.acknowledge(leases).await
    }

    fn place(&self, receipt: &RedisReceipt) -> Option<String> {
        Some(self.member.place(receipt.stream, receipt.id))
    }

    async fn renew(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        self.member.renew(leases).await
    }

    async fn release(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        self.member.release(leases).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.member.close().await
    }

    async fn backlog(&self) -> Result<Backlog, TransportError> {
        self.member.backlog().await
    }
}

impl fmt::Debug for RedisConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConsumer").finish_non_exhaustive()
    }
}
