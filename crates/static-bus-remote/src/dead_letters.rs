//! Dead letters: messages that could not be handled, kept for inspection and replay.

mod filter;
mod search;

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    Envelope, Headers, Transport, TransportError, TransportErrorKind,
    transport::{Inspect, Kind, Record, Topic, TopicState},
};

pub use filter::DeadLetterFilter;
pub use search::DeadLetterSearch;

/// The greatest number of dead letters that a search reads at once.
const PAGE: usize = 1000;
/// The number of dead letters that [`DeadLetters::find`] reads first, if it may find fewer.
const FIRST_PAGE: usize = 100;

/// The topic of all dead letters.
#[doc(hidden)]
pub const DEAD_LETTERS: Topic = Topic {
    kind: Kind::DeadLetter,
    name: Cow::Borrowed(""),
};

/// The dead letters on a broker.
///
/// A message becomes a dead letter when all attempts to handle it have failed, when its handler
/// [refused](static_bus::asynchronous::BusError::refused) it, or when it cannot be read. Body and attributes are
/// kept as they were sent.
///
/// ```
/// # use std::time::Duration;
/// # use static_bus::{asynchronous::BusError, prelude::*};
/// # use static_bus_remote::{DeadLetters, MemoryBroker, RemoteBus, Worker};
/// # use serde::{Serialize, Deserialize};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #[derive(Serialize, Deserialize)]
/// struct Pay { invoice: u32 }
/// command!(Pay -> Result<(), &'static str>, name = "billing.pay");
///
/// let broker = MemoryBroker::new();
/// let bus = BusBuilder::new()
///     .register_command_async_fn(|_: Pay| async { Err(BusError::refused::<Pay>("no such invoice")) })
///     .build();
/// let worker = Worker::new(broker.clone(), bus).command::<Pay>().start().await?;
/// RemoteBus::connect(broker.clone()).await?.execute_async(Pay { invoice: 7 }).await?;
///
/// let dead = DeadLetters::of(broker);
/// let letter = loop {
///     if let Some(letter) = dead.list(None, 100).await?.pop() { break letter; }
///     tokio::time::sleep(Duration::from_millis(1)).await;
/// };
/// assert_eq!(letter.origin, "command billing.pay");
/// assert_eq!(letter.error, "billing.pay: its handler failed: no such invoice");
/// assert_eq!(letter.record.body, r#"{"invoice":7}"#);
///
/// // When the invoice exists:
/// dead.replay(&letter).await?;
/// # worker.shutdown(Duration::from_secs(1)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DeadLetters<T> {
    transport: T,
}

/// A message that could not be handled.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The position among the dead letters. Later ones have greater positions.
    pub position: String,
    /// The kind and the name of the message: `command orders.place`.
    pub origin: String,
    /// The location of the message in the terms of the broker, such as `partition 3, offset 1042`.
    pub place: Option<String>,
    /// The group that could not handle it: the subscriber of an event, otherwise `handlers`.
    pub group: String,
    /// The service whose worker wrote the dead letter.
    pub service: String,
    /// The number of attempts to handle it.
    pub attempts: u32,
    /// The last error. A text of more than 4096 bytes is cut there, and says so at its end.
    pub error: String,
    /// The time of the first failure, in the format of RFC 3339.
    pub first_failure: String,
    /// The time of the last failure, in the format of RFC 3339.
    pub last_failure: String,
    /// The message as it was sent, or without the parts that are [omitted](DeadLetter::omitted).
    pub record: Record,
    /// The number of bytes of the message that are not stored, because the broker refused a larger dead letter: its
    /// body, or, if that was not enough, body, attributes and key. Such a message cannot be replayed. 0: it is
    /// complete.
    pub omitted: usize,
}

impl<T: Transport> DeadLetters<T> {
    /// The dead letters on this broker.
    pub fn of(transport: T) -> Self {
        DeadLetters { transport }
    }

    /// Up to `limit` dead letters after the position `after`, the oldest first.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    pub async fn list(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, TransportError> {
        let records = self.transport.dead_letters(after, limit).await?;
        let read = |found: super::transport::DeadLetterRecord| read(found.position, found.record);
        Ok(records.into_iter().map(read).collect())
    }

    /// Up to `limit` dead letters after the position `after` that match a filter, the oldest first.
    ///
    /// Reads the dead letters from `after` to the last one that is returned, and some beyond it. To go through more of
    /// them, use a [`search`](Self::search).
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    pub async fn find(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, TransportError> {
        let matches_all = *filter == DeadLetterFilter::default();
        let mut search = self.search(filter.clone());
        if let Some(after) = after {
            search = search.after(after);
        }
        // Of what is read, at most half is beyond the last one.
        search.set_page(limit.max(FIRST_PAGE));
        let mut found = Vec::new();
        while found.len() < limit {
            let left = limit - found.len();
            if matches_all {
                search.set_page(left);
            }
            let Some(matches) = search.next().await? else {
                break;
            };
            found.extend(matches.into_iter().take(left));
        }
        Ok(found)
    }

    /// A pass over all dead letters that match a filter.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use static_bus_remote::{DeadLetterFilter, DeadLetters, MemoryBroker, TransportError};
    /// # async fn discard_old(dead: DeadLetters<MemoryBroker>) -> Result<(), TransportError> {
    /// let old = DeadLetterFilter::default().older_than(Duration::from_secs(30 * 24 * 3600));
    /// let mut search = dead.search(old);
    /// while let Some(letters) = search.next().await? {
    ///     dead.discard_all(&letters).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn search(&self, filter: DeadLetterFilter) -> DeadLetterSearch<'_, T> {
        DeadLetterSearch::new(self, filter)
    }

    /// The dead letter at a position; `None` if it is gone.
    ///
    /// Reads all dead letters up to the position.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    pub async fn get(&self, position: &str) -> Result<Option<DeadLetter>, TransportError> {
        Ok(self.get_all(&[position]).await?.pop().flatten())
    }

    /// The dead letters at these positions, in the same order; `None` for one that is gone.
    ///
    /// Reads all dead letters up to the last of the positions, once.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    pub async fn get_all(
        &self,
        positions: &[impl AsRef<str>],
    ) -> Result<Vec<Option<DeadLetter>>, TransportError> {
        let positions: Vec<_> = positions.iter().map(AsRef::as_ref).collect();
        let Some(last) = positions.iter().max() else {
            return Ok(Vec::new());
        };
        let mut search = self.search(DeadLetterFilter::default()).until(*last);
        let mut found: HashMap<&str, Option<DeadLetter>> =
            positions.iter().map(|position| (*position, None)).collect();
        while let Some(letters) = search.next().await? {
            for letter in letters {
                if let Some(place) = found.get_mut(&*letter.position) {
                    *place = Some(letter);
                }
            }
        }
        Ok(positions
            .iter()
            .map(|position| found[position].clone())
            .collect())
    }

    /// Removes a dead letter.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    pub async fn discard(&self, letter: &DeadLetter) -> Result<(), TransportError> {
        self.discard_all(std::slice::from_ref(letter)).await
    }

    /// Removes dead letters.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses. Some of the dead letters may be removed.
    pub async fn discard_all(&self, letters: &[DeadLetter]) -> Result<(), TransportError> {
        let positions: Vec<_> = letters.iter().map(|l| l.position.clone()).collect();
        self.transport.remove_dead_letters(&positions).await
    }
}

impl<T: Inspect> DeadLetters<T> {
    /// Sends the message again, to the group that could not handle it, and removes the dead letter.
    ///
    /// It is handled although it was seen before, unless another message with its idempotency key was
    /// handled meanwhile.
    ///
    /// The message is replayed at least once: if this fails or is interrupted, the dead letter may still exist.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses, when the message is an event and its topic has no group of that
    /// name any more, when parts of the message are [omitted](DeadLetter::omitted), or when the origin of the dead
    /// letter cannot be parsed: then no [`Worker`](super::Worker) wrote it.
    pub async fn replay(&self, letter: &DeadLetter) -> Result<(), TransportError> {
        let results = self.replay_all(std::slice::from_ref(letter)).await;
        results.into_iter().collect()
    }

    /// [Replays](Self::replay) messages, in as few round trips as the broker allows. Returns one result for each.
    pub async fn replay_all(&self, letters: &[DeadLetter]) -> Vec<Result<(), TransportError>> {
        let mut results = vec![Ok(()); letters.len()];
        let events = self.inspect_events(letters).await;
        let (mut records, mut sent) = (Vec::new(), Vec::new());
        for (at, letter) in letters.iter().enumerate() {
            match self.to_replay(letter, &events) {
                Ok(record) => {
                    records.push(record);
                    sent.push(at);
                }
                Err(error) => results[at] = Err(error),
            }
        }
        if records.is_empty() {
            return results;
        }
        let appended = self.transport.append(records).await;
        for (at, result) in sent.iter().zip(appended) {
            results[*at] = result;
        }
        sent.retain(|at| results[*at].is_ok());
        let positions: Vec<_> = sent
            .iter()
            .map(|at| letters[*at].position.clone())
            .collect();
        if let Err(error) = self.transport.remove_dead_letters(&positions).await {
            sent.iter().for_each(|at| results[*at] = Err(error.clone()));
        }
        results
    }

    /// The states of the topics of those dead letters that are events.
    async fn inspect_events(
        &self,
        letters: &[DeadLetter],
    ) -> Result<Vec<TopicState>, TransportError> {
        let topics = letters.iter().filter_map(|letter| topic(&letter.origin));
        let events: BTreeSet<_> = topics.filter(|topic| topic.kind == Kind::Event).collect();
        match events.is_empty() {
            true => Ok(Vec::new()),
            false => self.transport.inspect(&Vec::from_iter(events)).await,
        }
    }

    /// The message as it is sent again.
    ///
    /// # Errors
    /// The reason why it cannot be sent: that of the dead letter, or its group is not among those of the events.
    fn to_replay(
        &self,
        letter: &DeadLetter,
        events: &Result<Vec<TopicState>, TransportError>,
    ) -> Result<(Topic, Record), TransportError> {
        let refused = |reason| {
            TransportError::new(
                TransportErrorKind::Refused,
                self.transport.address(),
                reason,
            )
        };
        let (topic, record) = letter.to_replay().map_err(refused)?;
        if topic.kind != Kind::Event {
            return Ok((topic, record));
        }
        let group = &letter.group;
        let mut states = events.as_ref().map_err(Clone::clone)?.iter();
        let groups = states
            .find(|state| state.topic == topic)
            .map_or(&[][..], |state| &state.groups);
        if !groups.iter().any(|state| state.group == *group) {
            return Err(refused(format!(
                "the dead letter {} of {topic} cannot be replayed: the group {group:?} does not exist, or this user may \
                 not see it, and no other one would handle it; start the subscriber with this name, or discard the dead letter",
                letter.position
            )));
        }
        Ok((topic, record))
    }
}

impl DeadLetter {
    /// Omits the largest part of the message that is not omitted yet. Returns `false` if nothing is left.
    pub(crate) fn shrink(&mut self) -> bool {
        let Record {
            headers, body, key, ..
        } = &mut self.record;
        let before = self.omitted;
        self.omitted += std::mem::take(body).len();
        if self.omitted == before {
            let key = key.take().map_or(0, |key| key.len());
            self.omitted += std::mem::take(headers).as_str().len() + key;
        }
        self.omitted > before
    }

    /// The record of the dead letter; `member` is the worker that wrote it.
    pub(crate) fn to_record(&self, member: &str) -> Record {
        let mut headers = Headers::default();
        headers.push("origin", &self.origin);
        if let Some(place) = &self.place {
            headers.push("place", place);
        }
        headers.push("group", &self.group);
        headers.push("service", &self.service);
        headers.push("member", member);
        headers.push("attempts", &self.attempts.to_string());
        headers.push("error", &self.error);
        headers.push("firstfailure", &self.first_failure);
        headers.push("lastfailure", &self.last_failure);
        if let Some(key) = &self.record.key {
            headers.push("key", key);
        }
        if self.omitted > 0 {
            headers.push("omitted", &self.omitted.to_string());
        }
        headers.push("headers", self.record.headers.as_str());
        Record {
            headers,
            body: self.record.body.clone(),
            ..Record::default()
        }
    }

    /// The message as it is sent again.
    ///
    /// # Errors
    /// The reason why it cannot be sent: parts of it are omitted, or its origin cannot be parsed.
    fn to_replay(&self) -> Result<(Topic, Record), String> {
        let DeadLetter {
            position,
            origin,
            omitted,
            ..
        } = self;
        if *omitted > 0 {
            return Err(format!(
                "the dead letter {position} of {origin} cannot be replayed: {omitted} bytes of the message were too \
                 large to be stored with it; send the message again, and discard the dead letter"
            ));
        }
        let topic = topic(origin)
            .ok_or_else(|| format!("the dead letter's origin cannot be read: {origin:?}"))?;
        let mut record = self.record.clone();
        // A message that cannot be read is replayed unchanged: a newer version may read it.
        if let Ok(envelope) = Envelope::parse(&self.record.headers) {
            record.headers = self.record.headers.without(&["attempt", "onlyfor"]);
            let attempt = envelope.attempt.saturating_add(1);
            record.headers.push("attempt", &attempt.to_string());
            if topic.kind == Kind::Event {
                record.headers.push("onlyfor", &self.group);
            }
        }
        Ok((topic, record))
    }
}

/// Parses a dead letter. Missing attributes are left empty.
fn read(position: String, dead: Record) -> DeadLetter {
    let text = |name| dead.headers.get(name).unwrap_or_default().into_owned();
    let attributes = text("headers");
    DeadLetter {
        position,
        origin: text("origin"),
        place: dead.headers.get("place").map(Cow::into_owned),
        group: text("group"),
        service: text("service"),
        attempts: text("attempts").parse().unwrap_or_default(),
        error: text("error"),
        first_failure: text("firstfailure"),
        last_failure: text("lastfailure"),
        record: Record {
            headers: Headers::from_raw(attributes),
            body: Bytes::clone(&dead.body),
            key: dead.headers.get("key").map(|key| Arc::from(&*key)),
            ..Record::default()
        },
        omitted: text("omitted").parse().unwrap_or_default(),
    }
}

/// The topic of an origin.
fn topic(origin: &str) -> Option<Topic> {
    let (kind, name) = origin.split_once(' ')?;
    let kind = [Kind::Command, Kind::Event]
        .into_iter()
        .find(|k| k.as_str() == kind)?;
    Some(Topic {
        kind,
        name: Cow::Owned(name.to_owned()),
    })
}
