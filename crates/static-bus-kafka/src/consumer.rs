//! Members of groups, and those who wait for replies.

use std::{fmt, sync::Arc, time::Duration};

use super::{member::Member, replies::Replies, settings::Settings};
use static_bus_remote::transport::{
    Backlog, Claim, Consumer, Delivery, Kind, Lease, Subscription, TransportError,
};

/// A member of a group, or the one that waits for the replies to a process.
pub struct KafkaConsumer(Is);

enum Is {
    Member(Box<Member>),
    Replies(Replies),
}

/// Names a record that was handed out by a [`KafkaConsumer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KafkaReceipt {
    pub(super) partition: i32,
    /// Which of the times it is that the member has the partition.
    pub(super) epoch: u32,
    pub(super) offset: i64,
}

impl KafkaReceipt {
    pub(super) fn new(partition: i32, epoch: u32, offset: i64) -> Self {
        KafkaReceipt {
            partition,
            epoch,
            offset,
        }
    }

    /// Whether it names the same record, handed out at another time.
    pub(super) fn is_same_record(&self, other: &Self) -> bool {
        (self.partition, self.offset) == (other.partition, other.offset)
    }
}

impl KafkaConsumer {
    pub(super) async fn join(
        settings: &Arc<Settings>,
        subscription: Subscription,
    ) -> Result<Self, TransportError> {
        Ok(KafkaConsumer(match subscription.topic.kind {
            Kind::Reply => Is::Replies(Replies::open(settings, &subscription.topic).await?),
            _ => Is::Member(Box::new(Member::join(settings, subscription).await?)),
        }))
    }
}

impl Consumer for KafkaConsumer {
    type Receipt = KafkaReceipt;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<KafkaReceipt>>, TransportError> {
        match &self.0 {
            Is::Member(member) => member.receive(max, wait).await,
            Is::Replies(replies) => replies.receive(max, wait).await,
        }
    }

    async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        match &self.0 {
            Is::Member(member) => member.claim(keys).await,
            Is::Replies(_) => Ok(vec![Claim::Granted; keys.len()]),
        }
    }

    async fn acknowledge(&self, leases: &[Lease<KafkaReceipt>]) -> Result<(), TransportError> {
        match &self.0 {
            Is::Member(member) => member.acknowledge(leases).await,
            Is::Replies(_) => Ok(()),
        }
    }

    fn place(&self, receipt: &KafkaReceipt) -> Option<String> {
        let KafkaReceipt {
            partition, offset, ..
        } = receipt;
        Some(format!("partition {partition}, offset {offset}"))
    }

    fn failed(&self, receipt: &KafkaReceipt) {
        if let Is::Member(member) = &self.0 {
            member.failed(receipt);
        }
    }

    async fn renew(&self, leases: &[Lease<KafkaReceipt>]) -> Result<(), TransportError> {
        match &self.0 {
            Is::Member(member) => member.renew(leases).await,
            Is::Replies(_) => Ok(()),
        }
    }

    async fn release(&self, leases: &[Lease<KafkaReceipt>]) -> Result<(), TransportError> {
        match &self.0 {
            Is::Member(member) => member.release(leases).await,
            Is::Replies(_) => Ok(()),
        }
    }

    async fn close(&self) -> Result<(), TransportError> {
        match &self.0 {
            Is::Member(member) => member.close().await,
            Is::Replies(replies) => replies.close().await,
        }
    }

    async fn backlog(&self) -> Result<Backlog, TransportError> {
        match &self.0 {
            Is::Member(member) => member.backlog().await,
            Is::Replies(_) => Ok(Backlog::default()),
        }
    }
}

impl fmt::Debug for KafkaConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConsumer").finish_non_exhaustive()
    }
}
