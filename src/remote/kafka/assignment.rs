//! The partitions that a member has, what it has handed out of them, and what of that is committed.
//!
//! One commit is on its way at a time; what is acknowledged meanwhile goes with the next. Each
//! acknowledgement has a number, and waits until the broker has all up to it.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata, base_consumer::PartitionQueue},
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode as Code,
};

use super::{
    consumer::KafkaReceipt, membership::Events, partition::Partition, transactions::Output, wire,
};
use crate::remote::transport::{Delivery, Record};

/// How long nothing is committed after that failed.
const AGAIN: Duration = Duration::from_millis(200);

/// The client of a member.
pub(super) type Client = BaseConsumer<Events>;

/// What a member has.
pub(super) struct Assignment {
    topic: Arc<str>,
    lease: Duration,
    /// Records are gone when they are handed out.
    at_most_once: bool,
    /// Commits are transactions.
    in_transactions: bool,
    /// None once the member has left for good.
    pub client: Option<Arc<Client>>,
    partitions: BTreeMap<i32, Assigned>,
    /// The partition that was read last.
    turn: i32,
    epoch: u32,
    /// What is handed out once that is committed, with the number of the commit.
    ready: VecDeque<(u64, Delivery<KafkaReceipt>)>,
    /// The number of the last change that is to be committed.
    changes: u64,
    /// Up to this number all is committed.
    committed: u64,
    committing: Option<Committing>,
    commit_again: Instant,
    failed: Option<Failed>,
    outcomes: u64,
    /// What goes with the next commit.
    outbox: Vec<Settled>,
    /// Why reading failed.
    pub error: Option<KafkaError>,
}

/// A partition that this member has.
struct Assigned {
    epoch: u32,
    partition: Partition<Record>,
    /// None when no more is handed out.
    queue: Option<PartitionQueue<Events>>,
    /// Whether what is in flight is given up: its acknowledgement comes too late.
    closed: bool,
    dirty: bool,
}

struct Committing {
    change: u64,
    partitions: Vec<(i32, u32)>,
}

struct Failed {
    outcome: u64,
    change: u64,
    error: KafkaError,
}

/// A commit that is to be made, and reported.
pub(super) struct Commit {
    pub client: Arc<Client>,
    pub list: TopicPartitionList,
    /// What happens together with it.
    pub outbox: Vec<Settled>,
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

/// What an acknowledgement waits for.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    change: u64,
    since: u64,
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
        lease: Duration,
        at_most_once: bool,
        in_transactions: bool,
        client: Arc<Client>,
    ) -> Self {
        Assignment {
            topic,
            lease,
            at_most_once,
            in_transactions,
            client: Some(client),
            partitions: BTreeMap::new(),
            turn: -1,
            epoch: 0,
            ready: VecDeque::new(),
            changes: 0,
            committed: 0,
            committing: None,
            commit_again: Instant::now(),
            failed: None,
            outcomes: 0,
            outbox: Vec::new(),
            error: None,
        }
    }

    // ----- records

    /// Up to `max` records. They go on from partition to partition, for as long as there are any.
    pub fn take(&mut self, max: usize) -> Vec<Delivery<KafkaReceipt>> {
        let mut got = Vec::new();
        self.read(max, &mut got);
        got
    }

    /// Prepares up to `max` records, each to be handed out once.
    pub fn prepare(&mut self, max: usize) {
        let mut got = Vec::new();
        self.read(max.saturating_sub(self.ready.len()), &mut got);
        self.changes += u64::from(self.partitions.values().any(|of| of.dirty));
        let change = self.changes;
        self.ready.extend(got.into_iter().map(|one| (change, one)));
    }

    /// Up to `max` of those that were prepared, and cannot come again.
    pub fn take_prepared(&mut self, max: usize) -> Vec<Delivery<KafkaReceipt>> {
        let known = self.ready.iter().take(max);
        let known = known.take_while(|(change, _)| *change <= self.committed);
        let known = known.count();
        self.ready.drain(..known).map(|(_, one)| one).collect()
    }

    fn read(&mut self, max: usize, got: &mut Vec<Delivery<KafkaReceipt>>) {
        let after = self.partitions.range_mut((Excluded(self.turn), Unbounded));
        let mut numbers: Vec<i32> = after.map(|(number, _)| *number).collect();
        numbers.extend(
            self.partitions
                .range(..=self.turn)
                .map(|(number, _)| *number),
        );
        for number in numbers {
            let Some(assigned) = self.partitions.get_mut(&number) else {
                continue;
            };
            while got.len() < max {
                let next = match self.at_most_once {
                    true => assigned.next_once(),
                    false => assigned.next(self.lease),
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
                return;
            }
        }
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
        self.changes += u64::from(news);
        let wanted = Wanted {
            change: self.changes,
            since: self.outcomes,
        };
        here.then_some(wanted)
    }

    /// Acknowledges records, with what is to happen together with that. Says which of them come too late.
    pub fn settle(&mut self, settled: Vec<Settled>) -> (Option<Wanted>, Vec<Settled>) {
        let receipts: Vec<_> = settled.iter().map(|one| one.receipt).collect();
        let (mut late, mut outbox) = (Vec::new(), Vec::new());
        for one in settled {
            match self.of(one.receipt) {
                Some(assigned) if assigned.partition.is_open(one.receipt.offset) => {
                    outbox.push(one)
                }
                // It is acknowledged already: somebody has asked again.
                Some(_) => {}
                None => late.push(one),
            }
        }
        self.outbox.append(&mut outbox);
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
        let until = Instant::now() + self.lease;
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
        if self.committed >= wanted.change {
            return Some(Ok(()));
        }
        let failed = self.failed.as_ref()?;
        let of_this = failed.outcome > wanted.since && failed.change >= wanted.change;
        of_this.then(|| Err(failed.error.clone()))
    }

    /// The next commit, unless there is nothing to commit, or one is on its way.
    pub fn next_commit(&mut self) -> Option<Commit> {
        let client = self.client.clone()?;
        if self.committing.is_some() || self.committed == self.changes {
            return None;
        }
        if !self.partitions.values().any(|assigned| assigned.dirty) {
            // What it was about has moved.
            self.committed = self.changes;
            return None;
        }
        if Instant::now() < self.commit_again {
            return None;
        }
        let mut list = TopicPartitionList::new();
        let mut partitions = Vec::new();
        for (number, assigned) in self.partitions.iter_mut().filter(|(_, of)| of.dirty) {
            let (position, metadata) = assigned.partition.commit();
            let mut place = list.add_partition(&self.topic, *number);
            // An offset that Kafka has given can be given back.
            let _ = place.set_offset(Offset::Offset(position));
            place.set_metadata(metadata);
            partitions.push((*number, assigned.epoch));
            assigned.dirty = false;
        }
        self.committing = Some(Committing {
            change: self.changes,
            partitions,
        });
        let outbox = std::mem::take(&mut self.outbox);
        let group = match self.in_transactions {
            true => client.group_metadata(),
            false => None,
        };
        Some(Commit {
            client,
            list,
            outbox,
            group,
        })
    }

    /// The end of the commit that was on its way.
    pub fn on_committed(&mut self, result: KafkaResult<()>, outbox: Vec<Settled>) {
        let Some(committing) = self.committing.take() else {
            return;
        };
        self.outcomes += 1;
        let Err(error) = result else {
            self.committed = committing.change;
            return;
        };
        let mut outbox = outbox;
        outbox.retain(|one| self.is_here(one.receipt));
        outbox.append(&mut self.outbox);
        self.outbox = outbox;
        self.commit_again = Instant::now() + AGAIN;
        for (number, epoch) in committing.partitions {
            match self.partitions.get_mut(&number) {
                Some(assigned) if assigned.epoch == epoch => assigned.dirty = true,
                _ => {}
            }
        }
        // Of partitions that are about to move it will be known soon whose they are.
        if !has_moved(&error) {
            self.failed = Some(Failed {
                outcome: self.outcomes,
                change: committing.change,
                error,
            });
        }
    }

    /// Whether nothing is left to commit of these partitions.
    pub fn is_quiet(&self, numbers: &[i32]) -> bool {
        let of_these = |committing: &Committing| {
            let mut numbers = numbers.iter();
            numbers.any(|n| committing.partitions.iter().any(|(number, _)| number == n))
        };
        let dirty = |number| self.partitions.get(number).is_some_and(|of| of.dirty);
        !self.committing.as_ref().is_some_and(of_these) && !numbers.iter().any(dirty)
    }

    // ----- partitions

    pub fn numbers(&self) -> Vec<i32> {
        self.partitions.keys().copied().collect()
    }

    /// A partition comes, of which so much is done.
    pub fn add(&mut self, number: i32, of: Partition<Record>, queue: PartitionQueue<Events>) {
        self.epoch += 1;
        let assigned = Assigned {
            epoch: self.epoch,
            partition: of,
            queue: Some(queue),
            closed: false,
            dirty: false,
        };
        self.partitions.insert(number, assigned);
    }

    /// Hands out nothing more of these partitions.
    pub fn stop(&mut self, numbers: &[i32]) {
        for number in numbers {
            if let Some(assigned) = self.partitions.get_mut(number) {
                assigned.queue = None;
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
        let committed = self.committed;
        self.ready.retain(|(change, one)| {
            *change <= committed || !numbers.contains(&one.receipt.partition)
        });
        for number in numbers {
            self.partitions.remove(number);
        }
        // Their new owner handles these again.
        self.outbox
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
            let unsettled = assigned.partition.unsettled(*begin, *end);
            here.unsettled.insert(*number, unsettled);
            here.in_flight += assigned.partition.in_flight() as u64;
            let oldest = [here.oldest, assigned.partition.oldest()];
            here.oldest = oldest.into_iter().flatten().min();
        }
        here
    }
}

impl Assigned {
    /// The next record, under a lease.
    fn next(&mut self, lease: Duration) -> KafkaResult<Option<(i64, Record)>> {
        if self.queue.is_none() {
            return Ok(None);
        }
        let until = Instant::now() + lease;
        if let Some(again) = self.partition.hand_out_again(until) {
            return Ok(Some(again));
        }
        let Some((offset, record, appended)) = self.pull()? else {
            return Ok(None);
        };
        self.partition
            .hand_out(offset, record.clone(), appended, until);
        Ok(Some((offset, record)))
    }

    /// The next record that has not expired; it does not come again.
    fn next_once(&mut self) -> KafkaResult<Option<(i64, Record)>> {
        while let Some((offset, record, _)) = self.pull()? {
            self.dirty = true;
            if record.expires != Some(Duration::ZERO) {
                return Ok(Some((offset, record)));
            }
        }
        Ok(None)
    }

    fn pull(&mut self) -> KafkaResult<Option<(i64, Record, i64)>> {
        let Some(queue) = &self.queue else {
            return Ok(None);
        };
        while let Some(message) = queue.poll(Duration::ZERO) {
            let message = message?;
            if self.partition.is_new(message.offset()) {
                let now = wire::now_millis();
                let appended = message.timestamp().to_millis();
                let record = wire::decode(&message, now);
                return Ok(Some((message.offset(), record, appended.unwrap_or(0))));
            }
        }
        Ok(None)
    }

    /// Reads one record to see how old it is. It is to be handed out as if it had been given back.
    fn look_ahead(&mut self) {
        if self.partition.oldest().is_none()
            && let Ok(Some((offset, record, appended))) = self.pull()
        {
            let until = Instant::now();
            self.partition.hand_out(offset, record, appended, until);
            self.partition.release(offset);
        }
    }
}

/// Whether a commit failed because partitions are no longer this member's.
fn has_moved(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::RebalanceInProgress
                | Code::AssignmentLost
        )
    )
}
