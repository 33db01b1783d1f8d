//! A partition that a member has.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message,
    consumer::base_consumer::PartitionQueue,
    error::{KafkaError, KafkaResult},
    message::{BorrowedMessage, OwnedMessage},
};

use super::super::{hold::Hold, membership::Events, partition::Partition, wire};
use static_bus_remote::transport::Record;

pub(super) struct Assigned {
    /// Which of the times it is that the member has it.
    pub epoch: u32,
    pub partition: Partition<Arc<Record>>,
    /// None when no more is handed out.
    queue: Option<PartitionQueue<Events>>,
    /// What was read and is to be handed out next.
    ahead: Option<OwnedMessage>,
    /// Whether the last record was read, when it was last looked.
    at_end: bool,
    /// Of queries, which are handed out once.
    hold: Option<Hold>,
    /// Whether what is in flight is given up: its acknowledgement comes too late.
    pub closed: bool,
    /// Whether it is to be committed.
    pub dirty: bool,
}

impl Assigned {
    /// A partition comes, of which so much is done.
    pub fn new(
        epoch: u32,
        partition: Partition<Arc<Record>>,
        queue: PartitionQueue<Events>,
        hold: Option<Hold>,
    ) -> Self {
        Assigned {
            epoch,
            partition,
            queue: Some(queue),
            ahead: None,
            at_end: false,
            dirty: hold.is_some(),
            hold,
            closed: false,
        }
    }

    /// The next record, under a lease.
    pub fn next(&mut self, lease: Duration) -> KafkaResult<Option<(i64, Arc<Record>)>> {
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

    /// The next record that has not expired, and that nobody was given before, if the partition is held.
    pub fn next_once(&mut self) -> KafkaResult<Option<(i64, Arc<Record>)>> {
        if !self.hold.as_ref().is_some_and(Hold::is_valid) {
            return Ok(None);
        }
        while let Some((offset, record, sent)) = self.pull()? {
            let sent = u64::try_from(sent).unwrap_or(0);
            let is_old = self
                .hold
                .as_ref()
                .is_some_and(|hold| hold.passes_over(sent));
            if !is_old && record.expires != Some(Duration::ZERO) {
                return Ok(Some((offset, record)));
            }
        }
        Ok(None)
    }

    /// The next record that is not done, and its timestamp.
    fn pull(&mut self) -> KafkaResult<Option<(i64, Arc<Record>, i64)>> {
        if let Some(message) = self.ahead.take()
            && self.partition.is_new(message.offset())
        {
            return Ok(Some(decode(&message)));
        }
        let Some(queue) = &self.queue else {
            return Ok(None);
        };
        while let Some(message) = read(queue, &mut self.at_end)? {
            if self.partition.is_new(message.offset()) {
                return Ok(Some(decode(&message)));
            }
        }
        Ok(None)
    }

    /// Reads the record that is to be handed out next, to see what is still to come.
    pub fn look_ahead(&mut self) {
        while self.ahead.is_none()
            && let Some(queue) = &self.queue
            && let Ok(Some(message)) = read(queue, &mut self.at_end)
        {
            if !self.partition.has_had(message.offset()) {
                self.ahead = Some(message.detach());
            }
        }
    }

    /// When the oldest record was appended that is not done, as far as it is known here.
    pub fn oldest(&self) -> Option<i64> {
        let ahead = || self.ahead.as_ref().map(timestamp);
        self.partition.oldest().or_else(ahead)
    }

    /// How many records are not done, if the partition begins and ends there. After the last one there may be
    /// offsets that nobody sees: markers of transactions.
    pub fn unsettled(&self, begin: i64, end: i64) -> u64 {
        match self.at_end && self.ahead.is_none() {
            true => self.partition.open(),
            false => self.partition.unsettled(begin, end),
        }
    }

    /// Hands out nothing more. Says whether that is to be committed.
    pub fn stop(&mut self) -> bool {
        self.ahead = None;
        let ends = self.queue.take().is_some() && self.hold.is_some();
        self.dirty |= ends;
        ends
    }

    /// Says whether the hold is to be committed, and is not about to be.
    pub fn renew_hold(&mut self) -> bool {
        let is_due = self.hold.as_ref().is_some_and(Hold::is_due);
        let is_due = is_due && self.queue.is_some() && !self.dirty;
        self.dirty |= is_due;
        is_due
    }

    /// The offset to commit, and the metadata to commit with it.
    pub fn commit(&mut self) -> (i64, String) {
        self.dirty = false;
        let (position, done) = self.partition.commit();
        match (&self.hold, &self.queue) {
            (Some(hold), Some(_)) => (position, hold.metadata(wire::now_millis())),
            (Some(hold), None) => (position, hold.last_metadata()),
            (None, _) => (position, done),
        }
    }

    /// The broker has what was to be committed then.
    pub fn committed(&mut self, begun: Instant) {
        if let Some(hold) = &mut self.hold {
            hold.committed(begun);
        }
    }
}

/// The next message, if it has arrived. Notes whether it was the last.
fn read<'q>(
    queue: &'q PartitionQueue<Events>,
    at_end: &mut bool,
) -> KafkaResult<Option<BorrowedMessage<'q>>> {
    loop {
        match queue.poll(Duration::ZERO) {
            None => return Ok(None),
            Some(Ok(message)) => {
                *at_end = false;
                return Ok(Some(message));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => *at_end = true,
            Some(Err(error)) => return Err(error),
        }
    }
}

/// A record with its offset and timestamp.
fn decode(message: &impl Message) -> (i64, Arc<Record>, i64) {
    let record = wire::decode(message, wire::now_millis());
    (message.offset(), Arc::new(record), timestamp(message))
}

fn timestamp(message: &impl Message) -> i64 {
    message.timestamp().to_millis().unwrap_or(0)
}
