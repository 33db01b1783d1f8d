//! The partitions that a member has, what it has handed out of them, and what of that is committed.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata, base_consumer::PartitionQueue},
    error::{KafkaError, KafkaResult},
};

use self::{assigned::Assigned, commits::Commits};
use super::{
    consumer::KafkaReceipt, hold::Hold, membership::Events, partition::Partition,
    transactions::Output,
};
use static_bus_remote::transport::Delivery;

mod assigned;
mod commits;

pub(super) use self::commits::Wanted;

/// The client of a member.
pub(super) type Client = BaseConsumer<Events>;

/// What a member has.
pub(super) struct Assignment {
    topic: Arc<str>,
    handing_out: HandingOut,
    /// Commits are transactions.
    in_transactions: bool,
    /// None once the member has left for good.
    pub client: Option<Arc<Client>>,
    partitions: BTreeMap<i32, Assigned>,
    /// The partition that was read last.
    turn: i32,
    epoch: u32,
    commits: Commits,
    /// What goes with the next commit.
    mailbox: Vec<Settled>,
    /// Why reading failed.
    pub error: Option<KafkaError>,
}

/// How records are handed out.
#[derive(Clone, Copy)]
pub(super) enum HandingOut {
    /// Each under a lease for so long, until it is acknowledged.
    Leased(Duration),
    /// Each once, while its partition is held. A hold lasts for so long.
    Once(Duration),
}

/// A commit that is to be made, and reported.
pub(super) struct Commit {
    pub client: Arc<Client>,
    pub list: TopicPartitionList,
    /// What happens together with it.
    pub mailbox: Vec<Settled>,
    /// Which of the times it is that the group has divided its partitions; asked for with what is committed
    /// together.
    pub group: Option<ConsumerGroupMetadata>,
}

/// A record that is acknowledged, and what goes with that.
pub(super) struct Settled {
    pub receipt: KafkaReceipt,
    /// What its handler has sent.
    pub outputs: Vec<Output>,
    /// Its deduplication key.
    pub key: Option<Arc<str>>,
}

/// What is known of the group's backlog from the partitions that are here.
pub(super) struct Here {
    pub in_flight: u64,
    /// How many are not settled, for each partition.
    pub unsettled: BTreeMap<i32, u64>,
    /// When the oldest was appended that is not settled.
    pub oldest: Option<i64>,
}

impl Assignment {
    pub fn new(
        topic: Arc<str>,
        handing_out: HandingOut,
        in_transactions: bool,
        client: Arc<Client>,
    ) -> Self {
        Assignment {
            topic,
            handing_out,
            in_transactions,
            client: Some(client),
            partitions: BTreeMap::new(),
            turn: -1,
            epoch: 0,
            commits: Commits::new(),
            mailbox: Vec::new(),
            error: None,
        }
    }

    // ----- records

    /// Up to `max` records. They go on from partition to partition, for as long as there are any.
    pub fn take(&mut self, max: usize) -> Vec<Delivery<KafkaReceipt>> {
        let mut got = Vec::new();
        let after = self.partitions.range_mut((Excluded(self.turn), Unbounded));
        let mut numbers: Vec<i32> = after.map(|(number, _)| *number).collect();
        let before = self.partitions.range(..=self.turn);
        numbers.extend(before.map(|(number, _)| *number));
        for number in numbers {
            let Some(assigned) = self.partitions.get_mut(&number) else {
                continue;
            };
            while got.len() < max {
                let next = match self.handing_out {
                    HandingOut::Leased(lease) => assigned.next(lease),
                    HandingOut::Once(_) => assigned.next_once(),
                };
                match next {
                    Ok(Some((offset, record))) => got.push(Delivery {
                        receipt: KafkaReceipt::new(number, assigned.epoch, offset),
                        record,
                        attempt: 1,
                    }),
                    Ok(None) => break,
                    Err(error) => {
                        self.error = Some(error);
                        break;
                    }
                }
            }
            if got.len() >= max {
                self.turn = number;
                break;
            }
        }
        got
    }

    /// Acknowledges records. Gives what to wait for if this member has their partitions.
    pub fn acknowledge(&mut self, receipts: impl Iterator<Item = KafkaReceipt>) -> Option<Wanted> {
        let (mut here, mut news) = (false, false);
        for receipt in receipts {
            if let Some(assigned) = self.of(receipt) {
                here = true;
                if assigned.partition.acknowledge(receipt.offset) {
                    assigned.dirty = true;
                    news = true;
                }
            }
        }
        if news {
            self.commits.changed();
        }
        here.then(|| self.commits.wanted())
    }

    /// Acknowledges records, with what is to happen together with that. Says which of them come too late.
    pub fn settle(&mut self, settled: Vec<Settled>) -> (Option<Wanted>, Vec<Settled>) {
        let receipts: Vec<_> = settled.iter().map(|one| one.receipt).collect();
        let (mut late, mut mailbox) = (Vec::new(), Vec::new());
        for one in settled {
            match self.of(one.receipt) {
                Some(assigned) if assigned.partition.is_open(one.receipt.offset) => {
                    mailbox.push(one)
                }
                // It is acknowledged already: somebody has asked again.
                Some(_) => {}
                None => late.push(one),
            }
        }
        self.mailbox.append(&mut mailbox);
        (self.acknowledge(receipts.into_iter()), late)
    }

    pub fn release(&mut self, receipts: impl Iterator<Item = KafkaReceipt>) {
        for receipt in receipts {
            if let Some(assigned) = self.of(receipt) {
                assigned.partition.release(receipt.offset);
            }
        }
    }

    pub fn renew(&mut self, receipts: impl Iterator<Item = KafkaReceipt>) {
        let HandingOut::Leased(lease) = self.handing_out else {
            return;
        };
        let until = Instant::now() + lease;
        for receipt in receipts {
            if let Some(assigned) = self.of(receipt) {
                assigned.partition.renew(receipt.offset, until);
            }
        }
    }

    /// The partition of a record that was handed out since this member has it.
    fn of(&mut self, receipt: KafkaReceipt) -> Option<&mut Assigned> {
        let assigned = self.partitions.get_mut(&receipt.partition)?;
        (assigned.epoch == receipt.epoch && !assigned.closed).then_some(assigned)
    }

    fn is_here(&self, receipt: KafkaReceipt) -> bool {
        let assigned = self.partitions.get(&receipt.partition);
        assigned.is_some_and(|assigned| assigned.epoch == receipt.epoch)
    }

    // ----- commits

    /// Whether the broker has what was acknowledged.
    pub fn outcome(&self, wanted: Wanted) -> Option<Result<(), KafkaError>> {
        self.commits.outcome(wanted)
    }

    /// The next commit, unless there is nothing to commit, or one is on its way.
    pub fn next_commit(&mut self) -> Option<Commit> {
        let client = self.client.clone()?;
        if !self.commits.is_needed() {
            return None;
        }
        if !self.partitions.values().any(|assigned| assigned.dirty) {
            self.commits.forget();
            return None;
        }
        if self.commits.is_early() {
            return None;
        }
        let mut list = TopicPartitionList::new();
        let mut partitions = Vec::new();
        for (number, assigned) in self.partitions.iter_mut().filter(|(_, of)| of.dirty) {
            let (position, metadata) = assigned.commit();
            let mut place = list.add_partition(&self.topic, *number);
            // An offset that Kafka has given can be given back.
            let _ = place.set_offset(Offset::Offset(position));
            place.set_metadata(metadata);
            partitions.push((*number, assigned.epoch));
        }
        self.commits.begin(partitions);
        let group = match self.in_transactions {
            true => client.group_metadata(),
            false => None,
        };
        Some(Commit {
            client,
            list,
            mailbox: std::mem::take(&mut self.mailbox),
            group,
        })
    }

    /// The end of the commit that was on its way.
    pub fn on_committed(&mut self, result: &KafkaResult<()>, mut mailbox: Vec<Settled>) {
        let Some(ended) = self.commits.end(result) else {
            return;
        };
        for (number, epoch) in ended.partitions {
            match self.partitions.get_mut(&number) {
                Some(assigned) if assigned.epoch == epoch => match result {
                    Ok(()) => assigned.committed(ended.begun),
                    Err(_) => assigned.dirty = true,
                },
                _ => {}
            }
        }
        if result.is_err() {
            mailbox.retain(|one| self.is_here(one.receipt));
            mailbox.append(&mut self.mailbox);
            self.mailbox = mailbox;
        }
    }

    /// Has the holds renewed that are about to end.
    pub fn renew_holds(&mut self) {
        let mut renewed = false;
        for assigned in self.partitions.values_mut() {
            renewed |= assigned.renew_hold();
        }
        if renewed {
            self.commits.changed();
        }
    }

    /// Whether nothing is left to commit of these partitions.
    pub fn is_quiet(&self, numbers: &[i32]) -> bool {
        let dirty = |number| self.partitions.get(number).is_some_and(|of| of.dirty);
        !self.commits.is_about(numbers) && !numbers.iter().any(dirty)
    }

    // ----- partitions

    pub fn numbers(&self) -> Vec<i32> {
        self.partitions.keys().copied().collect()
    }

    /// A partition comes, with the position and the metadata that were committed last.
    pub fn add(
        &mut self,
        number: i32,
        (position, metadata): (i64, &str),
        queue: PartitionQueue<Events>,
    ) {
        self.epoch += 1;
        let hold = match self.handing_out {
            HandingOut::Leased(_) => None,
            HandingOut::Once(length) => Some(Hold::new(length, metadata)),
        };
        let partition = Partition::new(position, metadata);
        let assigned = Assigned::new(self.epoch, partition, queue, hold);
        if assigned.dirty {
            self.commits.changed();
        }
        self.partitions.insert(number, assigned);
    }

    /// Hands out nothing more of these partitions.
    pub fn stop(&mut self, numbers: &[i32]) {
        for number in numbers {
            if let Some(assigned) = self.partitions.get_mut(number)
                && assigned.stop()
            {
                self.commits.changed();
            }
        }
    }

    /// Gives up what is in flight of these partitions.
    pub fn close(&mut self, numbers: &[i32]) {
        self.stop(numbers);
        for number in numbers {
            if let Some(assigned) = self.partitions.get_mut(number) {
                assigned.closed = true;
            }
        }
    }

    /// These partitions are those of others.
    pub fn remove(&mut self, numbers: &[i32]) {
        for number in numbers {
            self.partitions.remove(number);
        }
        // Their new owner handles these again.
        self.mailbox
            .retain(|one| !numbers.contains(&one.receipt.partition));
    }

    /// How many records of these partitions are handed out and not settled.
    pub fn in_flight(&self, numbers: &[i32]) -> usize {
        let open = numbers.iter().filter_map(|n| self.partitions.get(n));
        let open = open.filter(|of| !of.closed);
        open.map(|of| of.partition.in_flight()).sum()
    }

    /// The partitions in which a lease has run out.
    pub fn run_out(&self) -> Vec<i32> {
        let now = Instant::now();
        let held = self.partitions.iter().filter(|(_, of)| !of.closed);
        let held = held.filter(|(_, of)| of.partition.has_run_out(now));
        held.map(|(number, _)| *number).collect()
    }

    /// How far the partitions that are here are behind, given where they begin and end.
    pub fn behind(&mut self, bounds: &BTreeMap<i32, (i64, i64)>) -> Here {
        let mut here = Here {
            in_flight: 0,
            unsettled: BTreeMap::new(),
            oldest: None,
        };
        for (number, assigned) in self.partitions.iter_mut().filter(|(_, of)| !of.closed) {
            let Some((begin, end)) = bounds.get(number) else {
                continue;
            };
            assigned.look_ahead();
            let oldest = [here.oldest, assigned.oldest()];
            here.oldest = oldest.into_iter().flatten().min();
            let unsettled = assigned.unsettled(*begin, *end);
            here.unsettled.insert(*number, unsettled);
            here.in_flight += assigned.partition.in_flight() as u64;
        }
        here
    }
}
