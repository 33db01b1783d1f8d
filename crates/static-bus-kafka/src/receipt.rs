//! The names of deliveries.

/// The name of a delivery to a [`KafkaConsumer`](crate::KafkaConsumer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KafkaReceipt {
    partition: i32,
    epoch: u32,
    offset: i64,
}

impl KafkaReceipt {
    /// A delivery by a member that was assigned the partition in this epoch.
    pub(super) fn new(partition: i32, epoch: u32, offset: i64) -> Self {
        KafkaReceipt {
            partition,
            epoch,
            offset,
        }
    }

    /// The number of the partition.
    pub(super) fn partition(&self) -> i32 {
        self.partition
    }

    /// The number of the assignment, counted by the member.
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The offset of the record in the partition.
    pub(super) fn offset(&self) -> i64 {
        self.offset
    }
}
