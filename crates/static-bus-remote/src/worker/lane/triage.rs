//! The decision on a message that was received.

use std::{borrow::Cow, sync::Arc};

use super::item::Item;
use crate::{
    Codec,
    transport::{Claim, Delivery},
};

pub(super) struct TriageConfig {
    pub message: &'static str,
    pub group: Cow<'static, str>,
    /// `true` if deduplication keys are claimed.
    pub deduplicates: bool,
}

/// A received message, and the decision on it.
pub(super) enum Triage<R> {
    /// It is handled.
    Handle(Item<R>),
    /// Its deduplication key is held for another message: it is claimed again later.
    ClaimLater(Item<R>),
    /// A message with its deduplication key was handled.
    Duplicate(Item<R>),
    /// It is for another group.
    OtherGroup(Item<R>),
    /// It cannot be read, for this reason.
    Unreadable(Item<R>, String),
}

impl<R> Triage<R> {
    /// The decision from the attributes alone.
    pub fn of(delivery: Delivery<R>, config: &TriageConfig) -> Self {
        let mut item = Item::new(delivery);
        let message = item.message.clone();
        let envelope = match message.envelope() {
            Ok(envelope) => envelope,
            Err(error) => return Triage::Unreadable(item, error.to_string()),
        };
        let group = envelope.only_for.as_deref();
        if group.is_some_and(|group| group != config.group) {
            return Triage::OtherGroup(item);
        }
        if envelope.message_type != config.message {
            let found = &envelope.message_type;
            let error = format!("its type is {found:?}, and nobody here serves that");
            return Triage::Unreadable(item, error);
        }
        match Codec::of(&envelope.content_type) {
            Ok(codec) => item.codec = codec,
            Err(error) => return Triage::Unreadable(item, error.to_string()),
        }
        if config.deduplicates {
            let key = envelope.idempotency_key.as_deref();
            item.deduplication_key = key.unwrap_or(&envelope.id).into();
        }
        Triage::Handle(item)
    }

    /// The decision when the result of the claim is known; `None` if the broker did not answer.
    pub fn apply_claim(mut item: Item<R>, claim: Option<Claim>) -> Self {
        match claim {
            Some(Claim::Granted) => {
                item.lease.claim = Some(item.deduplication_key.clone());
                Triage::Handle(item)
            }
            Some(Claim::Done) => Triage::Duplicate(item),
            Some(Claim::Held) | None => Triage::ClaimLater(item),
        }
    }

    pub fn item(&self) -> &Item<R> {
        let (Triage::Handle(item)
        | Triage::ClaimLater(item)
        | Triage::Duplicate(item)
        | Triage::OtherGroup(item)
        | Triage::Unreadable(item, _)) = self;
        item
    }

    pub fn into_item(self) -> Item<R> {
        let (Triage::Handle(item)
        | Triage::ClaimLater(item)
        | Triage::Duplicate(item)
        | Triage::OtherGroup(item)
        | Triage::Unreadable(item, _)) = self;
        item
    }

    /// The key to claim.
    pub fn wanted_key(&self) -> Option<Arc<str>> {
        match self {
            Triage::Handle(item) => Some(item.deduplication_key.clone()),
            _ => None,
        }
    }
}
