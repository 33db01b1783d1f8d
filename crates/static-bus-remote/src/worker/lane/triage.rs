//! The decision on a message that was received.

use std::borrow::Cow;

use tokio::time::Instant;

use super::item::Item;
use crate::{
    Codec,
    transport::{Claim, Delivery, Lease},
};

pub(super) struct TriageConfig {
    pub message: &'static str,
    pub group: Cow<'static, str>,
    /// `true` if deduplication keys are claimed.
    pub deduplicates: bool,
}

/// A received message, and the decision on it.
pub(super) struct Triage<R> {
    pub item: Item<R>,
    pub decision: Decision,
}

pub(super) enum Decision {
    /// The message is handled.
    Handle,
    /// Its deduplication key is held for another message: it is claimed again later.
    ClaimLater,
    /// A message with its deduplication key was handled.
    Duplicate,
    /// It is for another group.
    OtherGroup,
    /// It cannot be read, for this reason.
    Unreadable(String),
}

impl<R> Triage<R> {
    /// The decision from the attributes alone.
    pub fn of(delivery: Delivery<R>, config: &TriageConfig) -> Self {
        let mut item = Item::new(delivery);
        let decision = decide(&mut item, config);
        Triage { item, decision }
    }

    /// The decision when the result of the claim is known; `None` if the broker did not answer.
    pub fn apply_claim(mut item: Item<R>, claim: Option<Claim>) -> Self {
        let decision = match claim {
            Some(Claim::Granted) => {
                item.lease.claim = Some(item.deduplication_key.clone());
                Decision::Handle
            }
            Some(Claim::Done) => Decision::Duplicate,
            Some(Claim::Held) | None => Decision::ClaimLater,
        };
        Triage { item, decision }
    }

    /// The lease of the message, and the time at which it was received.
    pub fn lease(&self) -> (&Lease<R>, Instant) {
        (&self.item.lease, self.item.received)
    }

    /// Returns `true` if the message is handled.
    pub fn is_handled(&self) -> bool {
        matches!(self.decision, Decision::Handle)
    }

    pub fn into_item(self) -> Item<R> {
        self.item
    }
}

/// Decides on a message, and sets its codec and deduplication key.
fn decide<R>(item: &mut Item<R>, config: &TriageConfig) -> Decision {
    let message = item.message.clone();
    let envelope = match message.envelope() {
        Ok(envelope) => envelope,
        Err(error) => return Decision::Unreadable(error.to_string()),
    };
    let group = envelope.only_for.as_deref();
    if group.is_some_and(|group| group != config.group) {
        return Decision::OtherGroup;
    }
    if envelope.message_type != config.message {
        let found = &envelope.message_type;
        let error = format!("its type is {found:?}, and nobody here serves that");
        return Decision::Unreadable(error);
    }
    match Codec::of(&envelope.content_type) {
        Ok(codec) => item.codec = codec,
        Err(error) => return Decision::Unreadable(error.to_string()),
    }
    if config.deduplicates {
        let key = envelope.idempotency_key.as_deref();
        item.deduplication_key = key.unwrap_or(&envelope.id).into();
    }
    Decision::Handle
}
