//! Dead letters: messages that could not be handled, kept for inspection and replay.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;

use super::{
    Envelope, Headers, Transport, TransportError, TransportErrorKind,
    transport::{Kind, Record, Topic},
};

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

    /// Sends the message again, to the group that could not handle it, and removes the dead letter.
    ///
    /// It is handled although it was seen before, unless another message with its idempotency key was
    /// handled meanwhile.
    ///
    /// The message is replayed at least once: if this fails or is interrupted, the dead letter may still exist.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses, when parts of the message are [omitted](DeadLetter::omitted), or
    /// when the origin of the dead letter cannot be parsed: then no [`Worker`](super::Worker) wrote it.
    pub async fn replay(&self, letter: &DeadLetter) -> Result<(), TransportError> {
        let address = self.transport.address();
        letter.check_complete(address)?;
        let topic = topic(&letter.origin).ok_or_else(|| {
            let text = format!(
                "the dead letter's origin cannot be read: {:?}",
                letter.origin
            );
            TransportError::new(TransportErrorKind::Refused, address, text)
        })?;
        let mut record = letter.record.clone();
        // A message that cannot be read is replayed unchanged: a newer version may read it.
        if let Ok(envelope) = Envelope::parse(&letter.record.headers) {
            record.headers = letter.record.headers.without(&["attempt", "onlyfor"]);
            let attempt = envelope.attempt.saturating_add(1);
            record.headers.push("attempt", &attempt.to_string());
            if topic.kind == Kind::Event {
                record.headers.push("onlyfor", &letter.group);
            }
        }
        let results = self.transport.append(vec![(topic, record)]).await;
        results.into_iter().collect::<Result<(), _>>()?;
        self.discard(letter).await
    }

    /// Removes a dead letter.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    pub async fn discard(&self, letter: &DeadLetter) -> Result<(), TransportError> {
        let positions = std::slice::from_ref(&letter.position);
        self.transport.remove_dead_letters(positions).await
    }
}

impl DeadLetter {
    /// # Errors
    /// If parts of the message are omitted.
    fn check_complete(&self, address: &str) -> Result<(), TransportError> {
        if self.omitted == 0 {
            return Ok(());
        }
        let text = format!(
            "the dead letter {} of {} cannot be replayed: {} bytes of the message were too large to be stored with \
             it; send the message again, and discard the dead letter",
            self.position, self.origin, self.omitted
        );
        Err(TransportError::new(
            TransportErrorKind::Refused,
            address,
            text,
        ))
    }

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
