//! Dead letters: messages that could not be handled, kept whole, to be looked at and replayed.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;

use super::{
    Envelope, Headers, Transport, TransportError, TransportErrorKind,
    envelope::now,
    transport::{Kind, Record, Topic},
    worker::{Item, Served},
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
/// [refused](static_bus::asynchronous::BusError::refused) it, or when it cannot be read. Nothing of it is lost:
/// body and attributes are as they were sent.
///
/// ```
/// # use std::time::Duration;
/// # use static_bus::prelude::*;
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
/// // When the invoice is there:
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
    /// Where it is; later ones have greater positions.
    pub position: String,
    /// Kind and name of the message: `command orders.place`.
    pub origin: String,
    /// Where the broker had it, as those who operate it say it, such as `partition 3, offset 1042`.
    pub place: Option<String>,
    /// Who could not handle it: the subscriber of an event, otherwise `handlers`.
    pub group: String,
    /// The service whose worker gave it up.
    pub service: String,
    /// How often its handler was begun.
    pub attempts: u32,
    /// The last error.
    pub error: String,
    /// When it first failed, as RFC 3339 writes times.
    pub first_failure: String,
    /// When it last failed.
    pub last_failure: String,
    /// The message as it was sent.
    pub record: Record,
}

impl<T: Transport> DeadLetters<T> {
    /// Those on this broker.
    pub fn of(transport: T) -> Self {
        DeadLetters { transport }
    }

    /// Up to `limit` of those that come after the position `after`, the oldest first.
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

    /// Sends it again, to the group that could not handle it, and removes it.
    ///
    /// It is handled although it was seen before, unless another message with its idempotency key was
    /// handled meanwhile.
    ///
    /// If this fails or is interrupted the dead letter may be there still: it is replayed at least once.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses, or when its origin cannot be read: then it was not
    /// a [`Worker`](super::Worker) that wrote it.
    pub async fn replay(&self, letter: &DeadLetter) -> Result<(), TransportError> {
        let address = self.transport.address();
        let topic = topic(&letter.origin).ok_or_else(|| {
            let text = format!(
                "the dead letter's origin cannot be read: {:?}",
                letter.origin
            );
            TransportError::new(TransportErrorKind::Refused, address, text)
        })?;
        let mut record = letter.record.clone();
        // What cannot be read is replayed as it is: it may be read by a newer version.
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

    /// Removes it.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    pub async fn discard(&self, letter: &DeadLetter) -> Result<(), TransportError> {
        let positions = std::slice::from_ref(&letter.position);
        self.transport.remove_dead_letters(positions).await
    }
}

/// Writes a dead letter.
pub(crate) fn write<R>(
    served: &Served,
    place: Option<String>,
    service: &str,
    member: &str,
    item: &Item<R>,
) -> Record {
    let mut headers = Headers::default();
    headers.push("origin", &served.topic.to_string());
    if let Some(place) = place {
        headers.push("place", &place);
    }
    headers.push("group", &served.group);
    headers.push("service", service);
    headers.push("member", member);
    headers.push("attempts", &item.attempts().to_string());
    let now = now();
    let (error, first, last) = match &item.failures {
        Some(failures) => (&failures.error, &failures.first, &failures.last),
        None => (&item.crashed(), &now, &now),
    };
    headers.push("error", error);
    headers.push("firstfailure", first);
    headers.push("lastfailure", last);
    if let Some(key) = &item.record.key {
        headers.push("key", key);
    }
    headers.push("headers", item.record.headers.as_str());
    Record {
        headers,
        body: item.record.body.clone(),
        key: None,
        expires: None,
    }
}

/// Reads a dead letter; what is missing is left empty.
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
            expires: None,
        },
    }
}

/// The topic that is written so.
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
