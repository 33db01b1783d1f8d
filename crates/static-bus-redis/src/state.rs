//! What a member knows of its entries: which wait here to be handed out, which are in hand, and
//! which partitions are its own. Nothing here waits.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    consumer::RedisReceipt,
    wire::{Entry, EntryId},
};
use static_bus_remote::transport::{Delivery, TransportError};

/// Everything that the member's tasks and its caller share.
pub(super) struct State {
    /// The shared stream first, then each partition.
    pub streams: Vec<Stream>,
    pub held: HashMap<RedisReceipt, Instant>,
    /// Deduplication keys that were claimed and not settled, with the ends of the claims.
    pub claims: HashMap<Arc<str>, u64>,
    /// What the server's clock was, in milliseconds, and when.
    pub clock: (Instant, u64),
    /// How many entries the caller wants, and until when it waits.
    pub wanted: Option<(usize, Instant)>,
    /// When the caller last wanted entries.
    pub asked: Instant,
    /// The connection on which a read blocks.
    pub blocked: Option<i64>,
    /// Counts attempts to get entries, so that a caller knows that one was made for it.
    pub rounds: u64,
    /// Why the last attempt failed.
    pub trouble: Option<TransportError>,
    /// Where the search for entries that others left behind is.
    pub reclaim: Reclaim,
}

/// A stream, as this member sees it.
#[derive(Default)]
pub(super) struct Stream {
    /// Whether this member may read it: the shared stream always, a partition while it is its own.
    pub owned: Option<Owned>,
    /// Read and not handed out, in the order in which they are.
    pub buffer: BTreeMap<EntryId, Buffered>,
    /// How many are in hand.
    pub held: usize,
    /// How many calls under way may bring entries of it.
    pub reading: u32,
}

pub(super) struct Owned {
    /// Until when nobody else reads it.
    pub until: Instant,
    /// It is about to be given up.
    pub leaving: bool,
    /// Entries may be pending that are neither here nor in hand; those up to this were looked at.
    pub recover: Option<EntryId>,
    /// Counts the reasons to look from the start.
    pub reasons: u64,
}

pub(super) struct Buffered {
    pub entry: Entry,
    pub attempt: u32,
    /// Until when it is this member's.
    pub until: Instant,
}

pub(super) enum Reclaim {
    /// All was looked at; again at this time.
    Rests(Instant),
    /// Goes on here.
    At(String),
}

impl Owned {
    pub fn new(until: Instant) -> Self {
        Owned {
            until,
            leaving: false,
            recover: Some(EntryId::default()),
            reasons: 0,
        }
    }
}

impl State {
    pub fn new(streams: usize) -> Self {
        let now = Instant::now();
        let mut streams: Vec<_> = std::iter::repeat_with(Stream::default)
            .take(streams)
            .collect();
        streams[0].owned = Some(Owned {
            until: now + Duration::from_secs(u64::from(u32::MAX)),
            leaving: false,
            recover: None,
            reasons: 0,
        });
        State {
            streams,
            held: HashMap::new(),
            claims: HashMap::new(),
            clock: (now, 0),
            wanted: None,
            asked: now,
            blocked: None,
            rounds: 0,
            trouble: None,
            reclaim: Reclaim::Rests(now),
        }
    }

    /// Adds entries that were read or taken over; those in hand are not.
    pub fn insert(
        &mut self,
        stream: usize,
        entries: impl IntoIterator<Item = (Entry, u32)>,
        until: Instant,
    ) {
        let now = Instant::now();
        // Entries of a partition that is not ours any more are left to its new owner.
        if !self.streams[stream].may_read(now) {
            return;
        }
        for (entry, attempt) in entries {
            let id = entry.id;
            if !self.held.contains_key(&RedisReceipt::entry(stream, id)) {
                let buffered = Buffered {
                    entry,
                    attempt,
                    until,
                };
                self.streams[stream].buffer.insert(id, buffered);
            }
        }
    }

    /// What the server's clock is, in milliseconds.
    pub fn server_time(&self) -> u64 {
        let (when, was) = self.clock;
        was + u64::try_from(when.elapsed().as_millis()).unwrap_or(0)
    }

    /// Whether the entry is here or in hand.
    pub fn has(&self, stream: usize, id: EntryId) -> bool {
        self.streams[stream].buffer.contains_key(&id)
            || self.held.contains_key(&RedisReceipt::entry(stream, id))
    }

    /// Hands out up to `max` entries.
    pub fn hand_out(&mut self, max: usize) -> Vec<Delivery<RedisReceipt>> {
        let now = Instant::now();
        let mut deliveries = Vec::new();
        for number in (0..self.streams.len()).rev() {
            let stream = &mut self.streams[number];
            while deliveries.len() < max && stream.ready(number, now) {
                let Some((id, buffered)) = stream.buffer.pop_first() else {
                    break;
                };
                // It may be somebody else's by now, and if not it comes again.
                if buffered.until <= now {
                    continue;
                }
                let receipt = RedisReceipt::entry(number, id);
                self.held.insert(receipt, buffered.until);
                stream.held += 1;
                deliveries.push(Delivery {
                    receipt,
                    record: buffered.entry.record.into(),
                    attempt: buffered.attempt,
                });
            }
        }
        deliveries
    }

    /// Whether there is an entry to hand out.
    pub fn is_ready(&self) -> bool {
        let now = Instant::now();
        self.streams
            .iter()
            .enumerate()
            .any(|(number, stream)| stream.ready(number, now))
    }

    /// Ends the leases that ran out, and tells of which streams.
    pub fn expire(&mut self) -> Vec<usize> {
        let now = Instant::now();
        let late: Vec<_> = self
            .held
            .iter()
            .filter_map(|(receipt, until)| (*until <= now).then_some(*receipt))
            .collect();
        late.iter().filter_map(|r| self.settle(r)).collect()
    }

    /// Ends a lease, whether it was kept or ran out.
    pub fn settle(&mut self, receipt: &RedisReceipt) -> Option<usize> {
        self.held.remove(receipt)?;
        let (stream, _) = receipt.place();
        self.streams[stream].held -= 1;
        Some(stream)
    }

    /// Entries of this stream may be pending that are neither here nor in hand.
    pub fn look_again(&mut self, stream: usize) {
        if let Some(owned) = &mut self.streams[stream].owned {
            owned.recover = Some(EntryId::default());
            owned.reasons += 1;
        }
    }

    pub fn needs_recovery(&self, stream: usize) -> bool {
        let stream = &self.streams[stream];
        stream.may_read(Instant::now())
            && stream.owned.as_ref().is_some_and(|o| o.recover.is_some())
    }

    /// A read ended without an answer, which may have been lost with it.
    pub fn look_everywhere(&mut self) {
        for stream in 0..self.streams.len() {
            self.look_again(stream);
        }
    }

    /// The streams to read new entries from.
    pub fn readable(&self) -> Vec<usize> {
        let now = Instant::now();
        let fits =
            |s: &Stream| s.may_read(now) && s.owned.as_ref().is_some_and(|o| o.recover.is_none());
        (0..self.streams.len())
            .filter(|&n| fits(&self.streams[n]))
            .collect()
    }
}

impl Stream {
    pub fn may_read(&self, now: Instant) -> bool {
        self.owned
            .as_ref()
            .is_some_and(|owned| !owned.leaving && owned.until > now)
    }

    /// Whether its first entry can be handed out. A partition's entries come in order: none before
    /// all that may be pending was looked at.
    fn ready(&self, number: usize, now: Instant) -> bool {
        let recover = self.owned.as_ref().and_then(|owned| owned.recover);
        let first = self.buffer.first_key_value().map(|(id, _)| *id);
        self.may_read(now)
            && match (first, recover) {
                (None, _) => false,
                (Some(id), Some(seen)) if number > 0 => id <= seen,
                (Some(_), _) => true,
            }
    }

    /// Gives it up, with what is here.
    pub fn disown(&mut self) {
        self.owned = None;
        self.buffer.clear();
    }
}

impl Reclaim {
    pub fn is_due(&self) -> bool {
        match self {
            Reclaim::Rests(until) => *until <= Instant::now(),
            Reclaim::At(_) => true,
        }
    }
}
