//! Delivery at most once, while the partition is held.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::error::KafkaResult;

use super::{progress::Progress, source::Source};
use crate::{hold::Hold, receipt::KafkaReceipt};
use static_bus_remote::{time::now_millis, transport::Record};

/// The progress of a receiver in a partition: its position, and the hold that permits deliveries.
pub(crate) struct Held {
    hold: Hold,
    /// The offset after the last record that was read.
    position: i64,
}

impl Progress for Held {
    type Item = Arc<Record>;

    const COMMITS_END: bool = true;

    fn new(length: Duration, position: i64, metadata: &str) -> Self {
        Held {
            hold: Hold::new(length, metadata),
            position,
        }
    }

    fn next(&mut self, source: &mut Source) -> KafkaResult<Option<(i64, Arc<Record>)>> {
        if !self.hold.is_valid() {
            return Ok(None);
        }
        let Held { hold, position } = self;
        while let Some(fetched) = source.next(|offset| {
            let is_new = offset >= *position;
            *position = (*position).max(offset + 1);
            is_new
        })? {
            let sent = u64::try_from(fetched.appended).unwrap_or(0);
            if !hold.skips(sent) && fetched.record.expires != Some(Duration::ZERO) {
                return Ok(Some((fetched.offset, fetched.record)));
            }
        }
        Ok(None)
    }

    fn rewind(&mut self, offset: i64) {
        self.position = offset;
    }

    fn item(_: KafkaReceipt, record: Arc<Record>) -> Arc<Record> {
        record
    }

    fn commit(&self, is_last: bool) -> (i64, String) {
        let metadata = match is_last {
            true => self.hold.last_metadata(),
            false => self.hold.metadata(now_millis()),
        };
        (self.position, metadata)
    }

    fn committed(&mut self, begun: Instant) {
        self.hold.committed(begun);
    }

    fn is_commit_due(&self) -> bool {
        self.hold.is_due()
    }
}
