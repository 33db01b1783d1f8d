//! The partitions that are assigned to a member, the records that it delivers from them, and their commits.
//!
//! The mode of delivery is a type, the [`Progress`] of a partition: [`Leased`] for consumers, [`Held`] for
//! receivers of queries.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{Consumer as _, base_consumer::PartitionQueue},
    error::{KafkaError, KafkaResult},
};

use self::{commits::Commits, source::Source};
use super::{
    events::{Client, Events},
    outputs::Acknowledgement,
    receipt::KafkaReceipt,
    transactions::Failure,
};

mod commit;
mod commits;
mod held;
mod leased;
mod progress;
mod source;

pub(super) use self::{
    commit::Commit, commits::Ticket, held::Held, leased::Leased, progress::Progress,
};

/// The shortest and the longest interval at which leases are checked.
const LEASE_CHECK_INTERVAL: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_millis(500));

/// The partitions of a member.
pub(super) struct Assignment<P> {
    topic: Arc<str>,
    /// The length of leases or holds.
    length: Duration,
    /// `true` if commits are transactions.
    is_transactional: bool,
    /// `None` when the member has left for good.
    client: Option<Arc<Client>>,
    /// The events of the client.
    events: Events,
    partitions: BTreeMap<i32, Assigned<P>>,
    /// The partition of the last delivery.
    last_delivered: i32,
    epoch: u32,
    commits: Commits,
    /// The acknowledgements of the next transaction.
    acknowledgements: Vec<Acknowledgement>,
    /// A failure of the client that the next call of `take` returns.
    error: Option<KafkaError>,
    /// `true` if partitions were abandoned, and the member has not left its group since.
    is_in_doubt: bool,
    /// `true` if the client has not fetched a record for too long.
    stands_still: bool,
}

/// A partition of a member.
struct Assigned<P> {
    /// The number of the assignment, counted by the member.
    epoch: u32,
    progress: P,
    source: Source,
    /// `true` if the leases of its records are lost, so that acknowledgements have no effect.
    is_closed: bool,
    /// `true` if it has changes to commit.
    is_dirty: bool,
    /// The offset up to which the client has fetched while another one reads a later record, and the time of the first
    /// look that found it so.
    unfetched: Option<(i64, Instant)>,
}

impl<P: Progress> Assignment<P> {
    /// No partitions. `length` is that of leases or holds.
    pub fn new(
        topic: Arc<str>,
        length: Duration,
        is_transactional: bool,
        client: Arc<Client>,
    ) -> Self {
        Assignment {
            topic,
            length,
            is_transactional,
            events: (**client.context()).clone(),
            client: Some(client),
            partitions: BTreeMap::new(),
            last_delivered: -1,
            epoch: 0,
            commits: Commits::new(),
            acknowledgements: Vec::new(),
            error: None,
            is_in_doubt: false,
            stands_still: false,
        }
    }

    /// The Kafka topic.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The client, until the member has left for good.
    pub fn client(&self) -> Option<Arc<Client>> {
        self.client.clone()
    }

    /// Exchanges the client of a member that has left its group.
    pub fn replace_client(&mut self, client: Arc<Client>) {
        self.events = (**client.context()).clone();
        self.client = Some(client);
    }

    /// The events of the client.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The interval at which leases are checked.
    pub fn lease_check_interval(&self) -> Duration {
        let (shortest, longest) = LEASE_CHECK_INTERVAL;
        (self.length / 20).clamp(shortest, longest)
    }

    // ----- records

    /// Delivers up to `max` records, from one partition after the other. Returns a failure of the client, too.
    pub fn take(&mut self, max: usize) -> (Vec<P::Item>, Option<KafkaError>) {
        let mut taken = Vec::new();
        let after = (Excluded(self.last_delivered), Unbounded);
        let after = self.partitions.range(after).map(|(number, _)| *number);
        let before = self.partitions.range(..=self.last_delivered);
        let numbers: Vec<i32> = after.chain(before.map(|(number, _)| *number)).collect();
        for number in numbers {
            let Some(assigned) = self.partitions.get_mut(&number) else {
                continue;
            };
            while taken.len() < max {
                match assigned.progress.next(&mut assigned.source) {
                    Ok(Some((offset, record))) => {
                        let receipt = KafkaReceipt::new(number, assigned.epoch, offset);
                        taken.push(P::item(receipt, record));
                    }
                    Ok(None) => match assigned.source.rewind() {
                        // Receipts for the records of the deleted topic have no effect.
                        Some(offset) => {
                            self.epoch += 1;
                            assigned.epoch = self.epoch;
                            assigned.progress.rewind(offset);
                            assigned.is_dirty = true;
                            self.commits.changed();
                        }
                        None => break,
                    },
                    Err(error) => {
                        self.error = Some(error);
                        break;
                    }
                }
            }
            if taken.len() >= max {
                self.last_delivered = number;
                break;
            }
        }
        (taken, self.error.take())
    }

    /// Notes a failure of the client, which the next call of [`take`](Self::take) returns.
    pub fn fail(&mut self, error: KafkaError) {
        self.error = Some(error);
    }

    // ----- commits

    /// The outcome of the commit of a change, if it is known.
    pub fn outcome(&self, ticket: Ticket) -> Option<KafkaResult<()>> {
        self.commits.outcome(ticket)
    }

    /// The next commit, if one is due and none is in progress.
    pub fn next_commit(&mut self) -> Option<Commit> {
        self.commit_progress();
        let client = self.client.clone()?;
        if !self.commits.is_needed() {
            return None;
        }
        if !self.partitions.values().any(|assigned| assigned.is_dirty) {
            self.commits.forget();
            return None;
        }
        if self.commits.is_early() {
            return None;
        }
        let mut offsets = TopicPartitionList::new();
        let mut partitions = Vec::new();
        for (number, assigned) in self.partitions.iter_mut().filter(|(_, of)| of.is_dirty) {
            assigned.is_dirty = false;
            let (position, metadata) = assigned.progress.commit(assigned.source.is_stopped());
            let mut place = offsets.add_partition(&self.topic, *number);
            // An offset of Kafka is valid.
            let _ = place.set_offset(Offset::Offset(position));
            place.set_metadata(metadata);
            partitions.push((*number, assigned.epoch));
        }
        self.commits.begin(partitions);
        let acknowledgements = std::mem::take(&mut self.acknowledgements);
        Some(self.commit_of(client, offsets, acknowledgements))
    }

    fn commit_of(
        &self,
        client: Arc<Client>,
        offsets: TopicPartitionList,
        acknowledgements: Vec<Acknowledgement>,
    ) -> Commit {
        // A member that has lost its partitions may have no id, and the cluster would accept its offsets unchecked.
        let group = match self.is_transactional {
            true => client
                .group_metadata()
                .filter(|_| !client.assignment_lost()),
            false => None,
        };
        Commit::new(client, offsets, acknowledgements, group)
    }

    /// Ends the commit that is in progress. If its outcome is unknown, or output was refused, the member gives up its
    /// partitions, and the cluster decides which records are delivered again.
    pub fn on_committed(
        &mut self,
        result: Result<(), Failure>,
        mut acknowledgements: Vec<Acknowledgement>,
    ) {
        let ends_leases = result.as_ref().is_err_and(|failure| failure.ends_leases);
        let result = result.map_err(|failure| failure.error);
        let Some(ended) = self.commits.end(&result, ends_leases) else {
            return;
        };
        let mut given_up = Vec::new();
        for (number, epoch) in ended.partitions {
            match self.partitions.get_mut(&number) {
                Some(assigned) if assigned.epoch == epoch => match result {
                    Ok(()) => assigned.progress.committed(ended.begun),
                    Err(_) if ends_leases => given_up.push(number),
                    Err(_) => assigned.is_dirty = true,
                },
                _ => {}
            }
        }
        if !given_up.is_empty() {
            self.abandon(&given_up);
            acknowledgements.retain(|one| !given_up.contains(&one.receipt.partition()));
        }
        if result.is_err() {
            let epoch = |number| self.partitions.get(&number).map(|of| of.epoch);
            acknowledgements
                .retain(|one| epoch(one.receipt.partition()) == Some(one.receipt.epoch()));
            acknowledgements.append(&mut self.acknowledgements);
            self.acknowledgements = acknowledgements;
        }
    }

    /// Marks partitions whose commit is due without a change.
    fn commit_progress(&mut self) {
        for assigned in self.partitions.values_mut() {
            let is_due = assigned.progress.is_commit_due() && !assigned.source.is_stopped();
            if is_due && !assigned.is_dirty {
                assigned.is_dirty = true;
                self.commits.changed();
            }
        }
    }

    /// Returns `true` if nothing is left to commit of these partitions.
    pub fn is_committed(&self, numbers: &[i32]) -> bool {
        let dirty = |number| self.partitions.get(number).is_some_and(|of| of.is_dirty);
        !self.commits.concerns(numbers) && !numbers.iter().any(dirty)
    }

    // ----- partitions

    /// The numbers of the partitions.
    pub fn numbers(&self) -> Vec<i32> {
        self.partitions.keys().copied().collect()
    }

    /// Adds a partition with its committed position and metadata. One whose position is unknown is closed: it has
    /// nothing to commit.
    pub fn add(
        &mut self,
        number: i32,
        committed: Option<(i64, &str)>,
        queue: PartitionQueue<Events>,
    ) {
        self.epoch += 1;
        let (position, metadata) = committed.unwrap_or_default();
        let mut source = Source::new(queue, position);
        if committed.is_none() {
            source.stop();
        }
        let assigned = Assigned {
            epoch: self.epoch,
            progress: P::new(self.length, position, metadata),
            source,
            is_closed: committed.is_none(),
            is_dirty: false,
            unfetched: None,
        };
        self.partitions.insert(number, assigned);
    }

    /// Stops the delivery from these partitions.
    pub fn stop(&mut self, numbers: &[i32]) {
        for number in numbers {
            if let Some(assigned) = self.partitions.get_mut(number)
                && assigned.source.stop()
                && P::COMMITS_END
            {
                assigned.is_dirty = true;
                self.commits.changed();
            }
        }
    }

    /// Stops the delivery from these partitions, and ends all leases.
    pub fn close(&mut self, numbers: &[i32]) {
        self.stop(numbers);
        for number in numbers {
            if let Some(assigned) = self.partitions.get_mut(number) {
                assigned.is_closed = true;
            }
        }
    }

    /// Ends all leases of partitions whose records are delivered again from the committed positions, and commits no more
    /// changes of them.
    fn abandon(&mut self, numbers: &[i32]) {
        self.close(numbers);
        for number in numbers {
            if let Some(assigned) = self.partitions.get_mut(number) {
                assigned.is_dirty = false;
            }
        }
        self.acknowledgements
            .retain(|one| !numbers.contains(&one.receipt.partition()));
        self.is_in_doubt = true;
    }

    /// Returns `true` if partitions were abandoned since the last call: the member must leave its group, and reads
    /// their positions when it has joined again.
    pub fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.is_in_doubt)
    }

    /// Returns `true` if the client was found to stand still since the last call: the member must leave its group, and
    /// join it with another client.
    pub fn take_standstill(&mut self) -> bool {
        std::mem::take(&mut self.stands_still)
    }

    /// Forgets that the client has not fetched records: it could not.
    pub fn forget_unfetched(&mut self) {
        self.stands_still = false;
        for assigned in self.partitions.values_mut() {
            assigned.unfetched = None;
        }
    }

    /// The offset of the next message of a partition that its client fetches.
    pub fn next_fetched(&self, number: i32) -> Option<i64> {
        let assigned = self.partitions.get(&number)?;
        (!assigned.is_closed).then(|| assigned.source.next_fetched())
    }

    /// Reads a partition from the queue of another client, until the [end of detours](Self::end_detours).
    pub fn begin_detour(&mut self, number: i32, queue: PartitionQueue<Events>) {
        if let Some(assigned) = self.partitions.get_mut(&number) {
            assigned.source.begin_detour(queue);
        }
    }

    /// Reads all partitions from the queues of the member's client again.
    pub fn end_detours(&mut self) {
        for assigned in self.partitions.values_mut() {
            assigned.source.end_detour();
        }
    }

    /// Removes partitions that belong to other members.
    pub fn remove(&mut self, numbers: &[i32]) {
        for number in numbers {
            self.partitions.remove(number);
        }
        // The new owner delivers these records again.
        self.acknowledgements
            .retain(|one| !numbers.contains(&one.receipt.partition()));
    }

    /// Removes all partitions and the client.
    pub fn end(&mut self) {
        let numbers = self.numbers();
        self.remove(&numbers);
        self.client = None;
    }

    /// The number of leased records of these partitions.
    pub fn in_flight(&self, numbers: &[i32]) -> usize {
        let open = numbers.iter().filter_map(|n| self.partitions.get(n));
        let open = open.filter(|of| !of.is_closed);
        open.map(|of| of.progress.in_flight()).sum()
    }

    /// The partitions with a lease that has run out.
    pub fn with_expired_leases(&self) -> Vec<i32> {
        let now = Instant::now();
        let open = self.partitions.iter().filter(|(_, of)| !of.is_closed);
        let expired = open.filter(|(_, of)| of.progress.has_expired_lease(now));
        expired.map(|(number, _)| *number).collect()
    }
}

#[cfg(test)]
mod tests;
