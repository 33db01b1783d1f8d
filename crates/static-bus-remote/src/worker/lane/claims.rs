//! The claims of deduplication keys that were held for other messages.

use std::sync::Arc;

use super::{item::Item, triage::Triage};
use crate::{
    transport::{Claim, Consumer},
    worker::{
        call::{Ongoing, ended},
        health::{Report, Task},
    },
};

/// Messages whose keys are claimed again.
pub(super) struct Claims<C: Consumer> {
    consumer: Arc<C>,
    report: Report,
    waiting: Vec<Item<C::Receipt>>,
    /// The messages of the claim under way.
    claimed: Vec<Item<C::Receipt>>,
    claiming: Ongoing<Vec<Option<Claim>>>,
}

impl<C: Consumer> Claims<C> {
    pub fn new(consumer: Arc<C>, report: Report) -> Self {
        Claims {
            consumer,
            report,
            waiting: Vec::new(),
            claimed: Vec::new(),
            claiming: None,
        }
    }

    pub fn add(&mut self, item: Item<C::Receipt>) {
        self.waiting.push(item);
    }

    pub fn is_under_way(&self) -> bool {
        self.claiming.is_some()
    }

    /// Claims the keys of all messages that were added, unless a claim is under way.
    pub fn start(&mut self) {
        if self.claiming.is_some() || self.waiting.is_empty() {
            return;
        }
        self.claimed = std::mem::take(&mut self.waiting);
        let keys = self.claimed.iter();
        let keys: Vec<_> = keys.map(|item| item.deduplication_key.clone()).collect();
        let (consumer, report) = (self.consumer.clone(), self.report.clone());
        self.claiming = Some(Box::pin(
            async move { claim(&*consumer, &keys, &report).await },
        ));
    }

    /// Waits for the results of the claim under way; forever if there is none.
    pub async fn claimed(&mut self) -> Vec<Triage<C::Receipt>> {
        let claims = ended(&mut self.claiming).await;
        let claimed = self.claimed.drain(..).zip(claims);
        claimed
            .map(|(item, claim)| Triage::apply_claim(item, claim))
            .collect()
    }

    /// Cancels the claim under way, and removes all messages.
    pub fn drain(&mut self) -> impl Iterator<Item = Item<C::Receipt>> {
        self.claiming = None;
        self.claimed.drain(..).chain(self.waiting.drain(..))
    }
}

/// Claims keys. Returns `None` for each key if the broker does not answer.
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
            // No message is lost, however many claims the engine returns.
            claims.resize(keys.len(), None);
            claims
        }
        Err(error) => {
            report.of(Task::Claim, Err(error));
            vec![None; keys.len()]
        }
    }
}
