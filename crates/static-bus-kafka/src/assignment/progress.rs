//! The modes of delivery.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::error::KafkaResult;

use super::source::Source;
use crate::receipt::KafkaReceipt;
use static_bus_remote::transport::Record;

/// The progress of a member in one partition.
pub(crate) trait Progress: Sized + Send + 'static {
    /// A received record.
    type Item: Send;

    /// `true` if a partition that is given up is committed even without a change.
    const COMMITS_END: bool;

    /// The progress in a partition with this committed position and metadata; `length` is that of leases or holds.
    fn new(length: Duration, position: i64, metadata: &str) -> Self;

    /// The offset and the record of the next delivery.
    fn next(&mut self, source: &mut Source) -> KafkaResult<Option<(i64, Arc<Record>)>>;

    /// Begins again at this offset, because the topic was deleted and created again.
    fn rewind(&mut self, offset: i64);

    /// The item of a delivery.
    fn item(receipt: KafkaReceipt, record: Arc<Record>) -> Self::Item;

    /// The position and the metadata to commit; `is_last` before the partition is given up.
    fn commit(&self, is_last: bool) -> (i64, String);

    /// Notes the success of a commit that was begun at this time.
    fn committed(&mut self, begun: Instant) {
        _ = begun;
    }

    /// Returns `true` if a commit is due without a change.
    fn is_commit_due(&self) -> bool {
        false
    }

    /// The number of leased records.
    fn in_flight(&self) -> usize {
        0
    }

    /// Returns `true` if a lease has run out.
    fn has_expired_lease(&self, now: Instant) -> bool {
        _ = now;
        false
    }
}
