//! Delivery at least once, under leases.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{Offset, TopicPartitionList, error::KafkaResult};

use super::{
    Assigned, Assignment, commit::Commit, commits::Ticket, progress::Progress, source::Source,
};
use crate::{
    backlog::{GroupOffsets, OwnBacklog, Waiting},
    outputs::Acknowledgement,
    partition::Partition,
    receipt::KafkaReceipt,
};
use static_bus_remote::transport::{Delivery, Record};

/// The progress of a consumer in a partition: the leased and the acknowledged records.
pub(crate) struct Leased {
    lease: Duration,
    partition: Partition<Arc<Record>>,
}

impl Progress for Leased {
    type Item = Delivery<KafkaReceipt>;

    const COMMITS_END: bool = false;

    fn new(lease: Duration, position: i64, metadata: &str) -> Self {
        Leased {
            lease,
            partition: Partition::new(position, metadata),
        }
    }

    fn next(&mut self, source: &mut Source) -> KafkaResult<Option<(i64, Arc<Record>)>> {
        if source.is_stopped() {
            return Ok(None);
        }
        let Leased { lease, partition } = self;
        let until = Instant::now() + *lease;
        if let Some(released) = partition.deliver_again(until) {
            return Ok(Some(released));
        }
        if !partition.has_room() {
            return Ok(None);
        }
        let Some(fetched) = source.next(|offset| partition.advance(offset))? else {
            return Ok(None);
        };
        let record = fetched.record.clone();
        partition.deliver(fetched.offset, record, fetched.appended, until);
        Ok(Some((fetched.offset, fetched.record)))
    }

    fn rewind(&mut self, offset: i64) {
        self.partition = Partition::new(offset, "");
    }

    fn item(receipt: KafkaReceipt, record: Arc<Record>) -> Delivery<KafkaReceipt> {
        Delivery {
            receipt,
            record,
            attempt: 1,
        }
    }

    fn commit(&self, _: bool) -> (i64, String) {
        self.partition.commit()
    }

    fn in_flight(&self) -> usize {
        self.partition.in_flight()
    }

    fn has_expired_lease(&self, now: Instant) -> bool {
        self.partition.has_expired_lease(now)
    }
}

impl Assignment<Leased> {
    /// Acknowledges records. Returns a ticket if the member has one of their partitions.
    pub fn acknowledge(
        &mut self,
        receipts: impl IntoIterator<Item = KafkaReceipt>,
    ) -> Option<Ticket> {
        let (mut is_assigned, mut is_changed) = (false, false);
        for receipt in receipts {
            if let Some(assigned) = self.delivered_from(receipt) {
                is_assigned = true;
                if assigned.progress.partition.acknowledge(receipt.offset()) {
                    assigned.is_dirty = true;
                    is_changed = true;
                }
            }
        }
        if is_changed {
            self.commits.changed();
        }
        is_assigned.then(|| self.commits.ticket())
    }

    /// Acknowledges records, with the changes that belong to the same transaction. Returns a ticket, and the keys
    /// of the records whose lease is lost.
    pub fn acknowledge_with(
        &mut self,
        acknowledgements: Vec<Acknowledgement>,
    ) -> (Option<Ticket>, Vec<Arc<str>>) {
        let receipts: Vec<_> = acknowledgements.iter().map(|one| one.receipt).collect();
        let (mut lost, mut pending) = (Vec::new(), Vec::new());
        for one in acknowledgements {
            match self.delivered_from(one.receipt) {
                Some(assigned) if assigned.progress.partition.is_open(one.receipt.offset()) => {
                    pending.push(one);
                }
                // A repeated acknowledgement.
                Some(_) => {}
                None => lost.extend(one.key),
            }
        }
        self.acknowledgements.append(&mut pending);
        (self.acknowledge(receipts), lost)
    }

    /// A commit of this acknowledgement alone, for a trial. `None` if the lease is lost.
    pub fn trial(&mut self, acknowledgement: Acknowledgement) -> Option<Commit> {
        let receipt = acknowledgement.receipt;
        self.delivered_from(receipt)?;
        let offset = Offset::Offset(receipt.offset());
        let mut offsets = TopicPartitionList::new();
        // An offset of Kafka is valid.
        _ = offsets.add_partition_offset(&self.topic, receipt.partition(), offset);
        Some(self.commit_of(self.client()?, offsets, vec![acknowledgement]))
    }

    /// Releases records, which are delivered again.
    pub fn release(&mut self, receipts: impl IntoIterator<Item = KafkaReceipt>) {
        for receipt in receipts {
            if let Some(assigned) = self.delivered_from(receipt) {
                assigned.progress.partition.release(receipt.offset());
            }
        }
    }

    /// Renews the leases of records.
    pub fn renew(&mut self, receipts: impl IntoIterator<Item = KafkaReceipt>) {
        for receipt in receipts {
            if let Some(Assigned { progress, .. }) = self.delivered_from(receipt) {
                let until = Instant::now() + progress.lease;
                progress.partition.renew(receipt.offset(), until);
            }
        }
    }

    /// The partition of a delivery, if the member has not lost it since.
    fn delivered_from(&mut self, receipt: KafkaReceipt) -> Option<&mut Assigned<Leased>> {
        let assigned = self.partitions.get_mut(&receipt.partition())?;
        (assigned.epoch == receipt.epoch() && !assigned.is_closed).then_some(assigned)
    }

    /// The backlog of the assigned partitions.
    pub fn backlog(&mut self, group: &GroupOffsets) -> OwnBacklog {
        let mut backlog = OwnBacklog::default();
        for (number, assigned) in self.partitions.iter_mut().filter(|(_, of)| !of.is_closed) {
            let Some(bounds) = group.bounds(*number) else {
                continue;
            };
            let partition = &assigned.progress.partition;
            assigned
                .source
                .look_ahead(|offset| !partition.has_seen(offset));
            let ahead = assigned.source.appended_ahead();
            backlog.add(*number, partition, bounds, ahead);
        }
        backlog
    }

    /// Notes the partitions in which records wait that the client had not fetched at this time. It stands still if it
    /// fetches nothing of one of them for longer than `longest`, and another client can read it.
    pub fn note_unfetched(
        &mut self,
        waiting: &BTreeMap<i32, Waiting>,
        looked: Instant,
        longest: Duration,
    ) {
        for (number, assigned) in &mut self.partitions {
            let waiting = waiting.get(number);
            let waiting = waiting.filter(|_| !assigned.source.is_stopped());
            let is_read = waiting.is_some_and(|waiting| waiting.appended.is_some());
            let fetched = assigned.source.fetched();
            let noted = assigned.unfetched.filter(|(at, _)| *at == fetched);
            let noted = noted.filter(|_| waiting.is_some());
            let is_long = noted.is_some_and(|(_, since)| looked - since > longest);
            self.stands_still |= is_read && is_long;
            assigned.unfetched = noted.or(is_read.then_some((fetched, looked)));
        }
    }
}
