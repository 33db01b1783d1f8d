//! What comes in: records are received, and their deduplication keys claimed, a batch at a time.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    health::{Report, Task},
    item::Item,
};
use crate::{
    Codec, Envelope,
    transport::{Claim, Consumer, Delivery, Lease, TransportError},
};

/// How long an idle lane waits before it asks again.
const WAIT: Duration = Duration::from_secs(5);

/// A message that came in, and what is to be done with it.
pub(super) enum Taken<R> {
    /// It is handled.
    Handle(Item<R>),
    /// Its key is held by another: it is claimed again later.
    ClaimLater(Item<R>),
    /// It was handled before.
    Duplicate(Item<R>),
    /// It is meant for another group.
    NotForUs(Item<R>),
    /// It cannot be read, and this is why.
    Unreadable(Item<R>, String),
    /// It is another message than the one that is served, and this says which.
    Unknown(Item<R>, String),
}

/// What came in at once.
pub(super) struct Batch<R> {
    pub(super) taken: Vec<Taken<R>>,
    /// Whether a record came that may have ended the workers that had it. If so it is alone here, or was given
    /// back for now with those behind it.
    pub(super) careful: bool,
}

/// Who asks, and for what.
pub(super) struct Asking {
    pub(super) message: &'static str,
    pub(super) group: Arc<str>,
    /// Whether deduplication keys are claimed.
    pub(super) claiming: bool,
    /// How often a record was handed out, and came to no end, before it is handled alone.
    pub(super) suspect: u32,
}

/// Receives up to `max` records, and claims their keys. It does not wait for records when the worker
/// is draining, but those that it has it does not drop.
pub(super) async fn take<C: Consumer>(
    consumer: Arc<C>,
    asking: Arc<Asking>,
    max: usize,
    report: Report,
    mut draining: watch::Receiver<Option<Instant>>,
) -> Result<Batch<C::Receipt>, TransportError> {
    let mut deliveries = tokio::select! {
        biased;
        received = consumer.receive(max, WAIT) => received?,
        _ = draining.changed() => Vec::new(),
    };
    let careful = set_apart(&*consumer, &mut deliveries, asking.suspect).await;
    let taken: Vec<_> = deliveries
        .into_iter()
        .map(|delivery| sort(delivery, &asking))
        .collect();
    if !asking.claiming {
        return Ok(Batch { taken, careful });
    }
    let keys: Vec<Arc<str>> = taken.iter().filter_map(Taken::wanted_key).collect();
    let mut claims = claim(&*consumer, &keys, &report).await.into_iter();
    let judged = taken.into_iter().map(|taken| match taken {
        Taken::Handle(item) => judge(item, claims.next().flatten()),
        other => other,
    });
    let taken = judged.collect();
    Ok(Batch { taken, careful })
}

/// Gives back all from the first record on that may have ended the workers that had it, unless it is that one
/// alone; says whether there was one.
async fn set_apart<C: Consumer>(
    consumer: &C,
    deliveries: &mut Vec<Delivery<C::Receipt>>,
    suspect: u32,
) -> bool {
    let first = deliveries.iter().position(|d| d.attempt > suspect);
    let Some(first) = first else { return false };
    let back = deliveries.split_off(first.max(1));
    let back: Vec<_> = back
        .into_iter()
        .map(|delivery| Lease {
            receipt: delivery.receipt,
            claim: None,
        })
        .collect();
    if !back.is_empty() {
        // What is not given back comes again when its lease has run out.
        _ = consumer.release(&back).await;
    }
    true
}

/// What became of each claim; `None` if the broker did not answer.
pub(super) async fn claim<C: Consumer>(
    consumer: &C,
    keys: &[Arc<str>],
    report: &Report,
) -> Vec<Option<Claim>> {
    if keys.is_empty() {
        return Vec::new();
    }
    match consumer.claim(keys).await {
        Ok(claims) => {
            report.of(Task::Claim, Ok(()));
            let mut claims: Vec<_> = claims.into_iter().map(Some).collect();
            // No message may be forgotten, whatever the engine says.
            claims.resize(keys.len(), None);
            claims
        }
        Err(error) => {
            report.of(Task::Claim, Err(error));
            vec![None; keys.len()]
        }
    }
}

/// What is to be done with an item once it is known what became of its claim.
pub(super) fn judge<R>(mut item: Item<R>, claim: Option<Claim>) -> Taken<R> {
    match claim {
        Some(Claim::Granted) => {
            item.lease.claim = Some(item.key.clone());
            Taken::Handle(item)
        }
        Some(Claim::Done) => Taken::Duplicate(item),
        Some(Claim::Held) | None => Taken::ClaimLater(item),
    }
}

impl<R> Taken<R> {
    pub(super) fn item(&self) -> &Item<R> {
        let (Taken::Handle(item)
        | Taken::ClaimLater(item)
        | Taken::Duplicate(item)
        | Taken::NotForUs(item)
        | Taken::Unreadable(item, _)
        | Taken::Unknown(item, _)) = self;
        item
    }

    pub(super) fn into_item(self) -> Item<R> {
        let (Taken::Handle(item)
        | Taken::ClaimLater(item)
        | Taken::Duplicate(item)
        | Taken::NotForUs(item)
        | Taken::Unreadable(item, _)
        | Taken::Unknown(item, _)) = self;
        item
    }

    fn wanted_key(&self) -> Option<Arc<str>> {
        match self {
            Taken::Handle(item) => Some(item.key.clone()),
            _ => None,
        }
    }
}

fn sort<R>(delivery: Delivery<R>, asking: &Asking) -> Taken<R> {
    let Delivery {
        receipt,
        record,
        attempt,
    } = delivery;
    let mut item = Item {
        lease: Lease {
            receipt,
            claim: None,
        },
        record,
        before: attempt.saturating_sub(1),
        begun: 0,
        failed_by_broker: 0,
        codec: Codec::default(),
        key: Arc::default(),
        deadline: None,
        failures: None,
    };
    let record = item.record.clone();
    let envelope = match Envelope::parse(&record.headers) {
        Ok(envelope) => envelope,
        Err(error) => return Taken::Unreadable(item, error.to_string()),
    };
    if envelope
        .only_for
        .is_some_and(|group| group != *asking.group)
    {
        return Taken::NotForUs(item);
    }
    if envelope.message_type != asking.message {
        let found = &envelope.message_type;
        let error = format!("its type is {found:?}, and nobody here serves that");
        return Taken::Unknown(item, error);
    }
    match Codec::of(&envelope.content_type) {
        Ok(codec) => item.codec = codec,
        Err(error) => return Taken::Unreadable(item, error.to_string()),
    }
    item.deadline = envelope.deadline;
    if asking.claiming {
        item.key = envelope
            .idempotency_key
            .as_deref()
            .unwrap_or(&envelope.id)
            .into();
    }
    Taken::Handle(item)
}
