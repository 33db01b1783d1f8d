//! The streams of a topic, as a member sees them: the shared stream, and the partitions that the member owns.

mod stream;

use std::{borrow::Cow, cmp::Reverse, time::Duration};

use tokio::time::Instant;

use self::stream::{Buffered, Stream};
use super::{
    receipt::{Ids, RedisReceipt},
    wire::{Entry, EntryId},
};
use static_bus_remote::{
    time::later,
    transport::{Delivery, Lease},
};

/// All streams of a topic: number 0 is the shared stream, number n + 1 is partition n.
pub(super) struct Streams {
    streams: Vec<Stream>,
    reclaim: Reclaim,
}

/// The search of the shared stream for entries whose lease ran out, of any member.
enum Reclaim {
    /// Begins at this time.
    From(Instant),
    /// Goes on at this cursor of `XAUTOCLAIM`.
    At(String),
}

/// The server's decision on a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assignment {
    /// Not owned by this member.
    Foreign,
    /// Owned as before.
    Kept,
    /// Owned from now on.
    Taken,
}

impl Streams {
    /// This number of streams, without any partition owned.
    pub fn new(number: usize) -> Self {
        let now = Instant::now();
        let shared = Stream::shared(later(now, Duration::MAX));
        let partitions = std::iter::repeat_with(Stream::partition).take(number - 1);
        Streams {
            streams: std::iter::once(shared).chain(partitions).collect(),
            reclaim: Reclaim::From(now),
        }
    }

    // Deliveries and leases.

    /// Buffers entries that were read or taken over, with the number of times they were delivered.
    pub fn insert(
        &mut self,
        stream: usize,
        entries: impl IntoIterator<Item = (Entry, u32)>,
        until: Instant,
    ) {
        let now = Instant::now();
        for (entry, attempt) in entries {
            let buffered = Buffered {
                entry,
                attempt,
                until,
            };
            self.streams[stream].insert(buffered, now);
        }
    }

    /// Hands out up to `max` entries. Those of partitions go first.
    pub fn hand_out(&mut self, max: usize) -> Vec<Delivery<RedisReceipt>> {
        let now = Instant::now();
        let mut deliveries = Vec::new();
        for (number, stream) in self.streams.iter_mut().enumerate().rev() {
            while deliveries.len() < max
                && let Some((buffered, delivery)) = stream.hand_out(now)
            {
                deliveries.push(Delivery {
                    receipt: RedisReceipt::new(number, buffered.entry.id, delivery),
                    record: buffered.entry.record,
                    attempt: buffered.attempt,
                });
            }
        }
        deliveries
    }

    /// Returns whether there is an entry to hand out.
    pub fn is_ready(&self) -> bool {
        let now = Instant::now();
        self.streams.iter().any(|stream| stream.is_ready(now))
    }

    /// Returns whether the entry is buffered or held.
    pub fn has(&self, stream: usize, id: EntryId) -> bool {
        self.streams[stream].has(id)
    }

    /// Returns whether the entry was handed out and not settled.
    pub fn was_handed_out(&self, stream: usize, id: EntryId) -> bool {
        self.streams[stream].was_handed_out(id)
    }

    pub fn is_holding(&self) -> bool {
        self.streams.iter().any(|stream| stream.held() > 0)
    }

    /// Ends the lease of an entry.
    pub fn settle(&mut self, stream: usize, id: EntryId) {
        self.streams[stream].settle(id);
    }

    /// The leases of entries that are not to be delivered again, nor were since.
    pub fn last<'l>(&self, leases: &'l [Lease<RedisReceipt>]) -> Cow<'l, [Lease<RedisReceipt>]> {
        let is_superseded = |lease: &Lease<RedisReceipt>| {
            let receipt = lease.receipt;
            self.streams[receipt.stream()].is_superseded(receipt.id(), receipt.delivery())
        };
        match leases.iter().any(is_superseded) {
            true => leases
                .iter()
                .filter(|lease| !is_superseded(lease))
                .cloned()
                .collect(),
            false => leases.into(),
        }
    }

    /// Ends the leases of released entries, and searches for them.
    pub fn release(&mut self, leases: &[Lease<RedisReceipt>]) {
        for lease in leases {
            let stream = lease.receipt.stream();
            self.settle(stream, lease.receipt.id());
            match stream {
                0 => self.reclaim = Reclaim::From(Instant::now()),
                partition => self.streams[partition].search(),
            }
        }
    }

    /// Sets the ends of leases that have not ended.
    pub fn renew(&mut self, leases: &[Lease<RedisReceipt>], until: Instant) {
        for lease in leases {
            let receipt = lease.receipt;
            self.streams[receipt.stream()].renew(receipt.id(), until);
        }
    }

    /// Ends the leases that ran out, and searches for their entries. Returns whether there was one of a partition.
    pub fn expire(&mut self) -> bool {
        let now = Instant::now();
        let mut has_expired = false;
        for (number, stream) in self.streams.iter_mut().enumerate() {
            if stream.expire(now) && number > 0 {
                stream.search();
                has_expired = true;
            }
        }
        has_expired
    }

    /// The buffered entries whose leases have less than two thirds of their length left, and more than a tenth.
    pub fn expiring(&self, lease: Duration) -> Ids {
        let now = Instant::now();
        let (after, before) = (now + lease / 10, now + lease * 2 / 3);
        let streams = self.streams.iter().enumerate();
        let ids = streams.map(|(number, stream)| (number, stream.expiring(after, before)));
        ids.filter(|(_, ids)| !ids.is_empty()).collect()
    }

    /// Sets the ends of leases of buffered entries.
    pub fn renew_buffered(&mut self, ids: &Ids, until: Instant) {
        for (stream, ids) in ids {
            self.streams[*stream].renew_buffered(ids, until);
        }
    }

    pub fn clear_buffers(&mut self) {
        self.streams.iter_mut().for_each(Stream::clear_buffer);
    }

    // Reads.

    /// The streams from which new entries are to be read.
    pub fn readable(&self) -> Vec<usize> {
        let now = Instant::now();
        let streams = self.streams.iter().enumerate();
        let readable = streams.filter(|(_, stream)| stream.is_readable(now));
        readable.map(|(number, _)| number).collect()
    }

    pub fn begin_read(&mut self, streams: &[usize]) {
        streams.iter().for_each(|n| self.streams[*n].begin_read());
    }

    pub fn end_read(&mut self, streams: &[usize]) {
        streams.iter().for_each(|n| self.streams[*n].end_read());
    }

    /// The position and the number of the search for pending entries of a stream, if there is one.
    pub fn searching(&self, stream: usize) -> Option<(EntryId, u64)> {
        self.streams[stream].searching(Instant::now())
    }

    /// Moves the search with this number forward, or ends it at `None`.
    pub fn searched(&mut self, stream: usize, number: u64, last: Option<EntryId>) {
        self.streams[stream].searched(number, last);
    }

    /// Searches all streams, after the loss of an answer that may have had entries of any.
    pub fn search_all(&mut self) {
        self.streams.iter_mut().for_each(Stream::search);
    }

    /// Searches the shared stream, after the loss of an answer that may have had entries of it.
    pub fn search_shared(&mut self) {
        self.streams[0].search();
    }

    /// Searches the partitions, where the read of a former owner may have taken entries late.
    pub fn search_partitions(&mut self) {
        self.streams.iter_mut().skip(1).for_each(Stream::search);
    }

    /// The cursor at which to look for entries whose lease ran out, if it is time to.
    pub fn reclaim_cursor(&self) -> Option<String> {
        match &self.reclaim {
            Reclaim::At(cursor) => Some(cursor.clone()),
            Reclaim::From(time) => (*time <= Instant::now()).then(|| "0-0".to_owned()),
        }
    }

    /// Goes on at a cursor, or begins again after some time.
    pub fn set_reclaim_cursor(&mut self, cursor: Option<String>, pause: Duration) {
        self.reclaim = match cursor {
            Some(cursor) => Reclaim::At(cursor),
            None => Reclaim::From(Instant::now() + pause),
        };
    }

    // Ownership of partitions.

    /// The partitions that can be given up now, as numbers of streams.
    pub fn left(&self) -> Vec<usize> {
        let streams = self.streams.iter().enumerate();
        let left = streams.filter(|(_, stream)| stream.is_left());
        left.map(|(number, _)| number).collect()
    }

    /// Takes over the server's decisions on the partitions.
    pub fn assign(&mut self, assignments: &[Assignment], until: Instant) {
        let now = Instant::now();
        for (stream, assignment) in self.streams[1..].iter_mut().zip(assignments) {
            match assignment {
                Assignment::Foreign => stream.lose(),
                Assignment::Kept => stream.keep(until, now),
                Assignment::Taken => stream.take(until),
            }
        }
    }

    /// Begins to leave the partitions beyond this number, those with the fewest held entries first. Returns their
    /// buffered entries, which are to be released.
    pub fn leave_all_but(&mut self, share: usize) -> Ids {
        let streams = self.streams.iter_mut().enumerate().skip(1);
        let mut owned: Vec<_> = streams.filter(|(_, stream)| stream.is_owned()).collect();
        owned.sort_by_key(|(_, stream)| (stream.is_leaving(), Reverse(stream.held())));
        let mut buffered = Ids::new();
        for (rank, (number, stream)) in owned.into_iter().enumerate() {
            if rank < share {
                stream.stay();
                continue;
            }
            let ids = stream.leave();
            if !ids.is_empty() {
                buffered.insert(number, ids);
            }
        }
        buffered
    }
}
