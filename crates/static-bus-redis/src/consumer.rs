//! A member of a group, of either kind.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{list::List, stream::StreamMember, wire::EntryId};
use static_bus_remote::transport::{Backlog, Claim, Consumer, Delivery, Lease, TransportError};

/// A member of a group on Redis; made by [`consume`](static_bus_remote::Transport::consume).
///
/// It has a connection of its own, on which it waits for records. One of commands or events has two
/// tasks besides, which end when it is closed or dropped. A dropped one gives nothing back: what it
/// held goes to others when its leases run out.
pub struct RedisConsumer {
    pub(super) member: Member,
}

pub(super) enum Member {
    List { list: Box<List>, number: AtomicU64 },
    Stream(StreamMember),
}

/// Names a record that was handed out by a [`RedisConsumer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RedisReceipt {
    /// Elements of lists have no lease, and any number.
    place: Result<(u16, EntryId), u64>,
}

impl RedisReceipt {
    pub(super) fn entry(stream: usize, id: EntryId) -> Self {
        let stream = u16::try_from(stream).expect("partitions are at most 1,000");
        RedisReceipt {
            place: Ok((stream, id)),
        }
    }

    pub(super) fn place(&self) -> Option<(usize, EntryId)> {
        let (stream, id) = self.place.ok()?;
        Some((stream.into(), id))
    }
}

impl Consumer for RedisConsumer {
    type Receipt = RedisReceipt;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<RedisReceipt>>, TransportError> {
        match &self.member {
            Member::List { list, number } => {
                let records = list.receive(max, wait).await?;
                let delivery = |record| Delivery {
                    receipt: RedisReceipt {
                        place: Err(number.fetch_add(1, Ordering::Relaxed)),
                    },
                    record: Arc::new(record),
                    attempt: 1,
                };
                Ok(records.into_iter().map(delivery).collect())
            }
            Member::Stream(member) => member.receive(max, wait).await,
        }
    }

    async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        match &self.member {
            Member::List { .. } => Ok(vec![Claim::Granted; keys.len()]),
            Member::Stream(member) => member.claim(keys).await,
        }
    }

    async fn acknowledge(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        match &self.member {
            Member::List { .. } => Ok(()),
            Member::Stream(member) => member.acknowledge(leases).await,
        }
    }

    fn place(&self, receipt: &RedisReceipt) -> Option<String> {
        match (&self.member, receipt.place) {
            (Member::Stream(member), Ok((stream, id))) => Some(member.place(stream, id)),
            _ => None,
        }
    }

    async fn renew(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        match &self.member {
            Member::List { .. } => Ok(()),
            Member::Stream(member) => member.renew(leases).await,
        }
    }

    async fn release(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        match &self.member {
            Member::List { .. } => Ok(()),
            Member::Stream(member) => member.release(leases).await,
        }
    }

    async fn close(&self) -> Result<(), TransportError> {
        match &self.member {
            Member::List { list, .. } => list.close().await,
            Member::Stream(member) => member.close().await,
        }
    }

    async fn backlog(&self) -> Result<Backlog, TransportError> {
        match &self.member {
            Member::List { list, .. } => list.backlog().await,
            Member::Stream(member) => member.backlog().await,
        }
    }
}

impl fmt::Debug for RedisConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConsumer").finish_non_exhaustive()
    }
}
