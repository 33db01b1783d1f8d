//! The decision on a message that was received.

use std::borrow::Cow;

use tokio::time::Instant;

use super::item::Item;
use crate::{
    Codec,
    envelope::attribute,
    transport::{Claim, Delivery, Lease},
};

/// The longest deduplication key in bytes: the indexes of databases have a limit. A longer one would fail each claim of which
/// it is part.
const LONGEST_KEY: usize = 1024;

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
    pub fn of(delivery: Delivery<R>, received: Instant, config: &TriageConfig) -> Self {
        let mut item = Item::new(delivery, received);
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
    let message = &item.message;
    if let Err(error) = message.check() {
        return Decision::Unreadable(error.to_string());
    }
    let value = |attribute| message.value(attribute).unwrap_or_default();
    if let Some(group) = message.value(attribute::ONLY_FOR)
        && group != config.group
    {
        return Decision::OtherGroup;
    }
    let found = value(attribute::TYPE);
    if found != config.message {
        let error = format!("its type is {found:?}, and nobody here serves that");
        return Decision::Unreadable(error);
    }
    let codec = match Codec::of(&value(attribute::CONTENT_TYPE)) {
        Ok(codec) => codec,
        Err(error) => return Decision::Unreadable(error.to_string()),
    };
    if config.deduplicates {
        let key = message.value(attribute::IDEMPOTENCY_KEY);
        let key = key.unwrap_or_else(|| value(attribute::ID));
        if key.len() > LONGEST_KEY {
            let length = key.len();
            let error = format!(
                "its idempotency key, or its id, has {length} bytes, and the limit is {LONGEST_KEY}"
            );
            return Decision::Unreadable(error);
        }
        item.deduplication_key = key.into();
    }
    item.codec = codec;
    Decision::Handle
}
