//! The intake of a lane: it receives records and claims their deduplication keys, a batch at a time.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    claims,
    triage::{Triage, TriageConfig},
};
use crate::{
    transport::{Consumer, Lease, TransportError},
    worker::{
        call::Call,
        health::{Report, Task},
    },
};

/// The time that one request for records waits.
const WAIT: Duration = Duration::from_secs(5);

/// The requests of a lane for records.
pub(super) struct Intake<C: Consumer> {
    consumer: Arc<C>,
    config: Arc<TriageConfig>,
    /// The number of deliveries without an end after which a message is handled alone.
    isolate_after: u32,
    report: Report,
    draining: watch::Receiver<Option<Instant>>,
    receiving: Call<Batch<C::Receipt>>,
    /// Leases whose release has failed. They are released before the next records are received: the records of
    /// their keys would overtake them.
    unreleased: Vec<Lease<C::Receipt>>,
    is_isolating: bool,
}

struct Batch<R> {
    messages: Vec<Triage<R>>,
    unreleased: Vec<Lease<R>>,
    /// `true` if a record came that may have ended the workers that had it. Then it is alone in the batch, or it
    /// was released for now with those behind it.
    is_suspect: bool,
}

impl<C: Consumer> Intake<C> {
    pub fn new(
        consumer: Arc<C>,
        config: TriageConfig,
        isolate_after: u32,
        report: Report,
        draining: watch::Receiver<Option<Instant>>,
    ) -> Self {
        Intake {
            consumer,
            config: Arc::new(config),
            isolate_after,
            receiving: Call::new(report.clone(), Task::Receive),
            report,
            draining,
            unreleased: Vec::new(),
            is_isolating: false,
        }
    }

    /// Returns `true` if the next message is handled alone: a message that came may have ended workers, and the others are
    /// not to be suspected with it.
    pub fn is_isolating(&self) -> bool {
        self.is_isolating
    }

    pub fn is_under_way(&self) -> bool {
        self.receiving.is_under_way()
    }

    /// The time from which records may be requested; `None` while a request is under way.
    pub fn not_before(&self) -> Option<Instant> {
        self.receiving.not_before()
    }

    /// Requests up to `max` records.
    pub fn start(&mut self, max: usize) {
        if self.receiving.may_start() {
            let max = if self.is_isolating { 1 } else { max };
            let batch = Batch {
                messages: Vec::new(),
                unreleased: std::mem::take(&mut self.unreleased),
                is_suspect: false,
            };
            self.receiving.start(receive(
                self.consumer.clone(),
                self.config.clone(),
                self.isolate_after,
                max,
                batch,
                self.report.clone(),
                self.draining.clone(),
            ));
        }
    }

    pub fn cancel(&mut self) {
        self.receiving.cancel();
    }

    /// Waits for the messages of the request under way; forever if there is none.
    pub async fn received(&mut self) -> Vec<Triage<C::Receipt>> {
        let received = self.receiving.ended().await;
        let is_received = received.is_ok();
        let (Ok(batch) | Err(batch)) = received;
        if is_received && (batch.is_suspect || !batch.messages.is_empty()) {
            self.is_isolating = batch.is_suspect;
        }
        self.unreleased = batch.unreleased;
        batch.messages
    }
}

/// Receives up to `max` records and claims their keys. It stops waiting for records when the worker drains, but
/// drops none that it has received. A record that may have ended the workers that had it is alone in its batch.
async fn receive<C: Consumer>(
    consumer: Arc<C>,
    config: Arc<TriageConfig>,
    isolate_after: u32,
    max: usize,
    mut batch: Batch<C::Receipt>,
    report: Report,
    mut draining: watch::Receiver<Option<Instant>>,
) -> Result<Batch<C::Receipt>, (Batch<C::Receipt>, TransportError)> {
    if let Err(error) = release(&*consumer, &mut batch.unreleased).await {
        return Err((batch, error));
    }
    let received = tokio::select! {
        biased;
        received = consumer.receive(max, WAIT) => received,
        _ = draining.changed() => Ok(Vec::new()),
    };
    let mut deliveries = match received {
        Ok(deliveries) => deliveries,
        Err(error) => return Err((batch, error)),
    };
    let suspect = deliveries.iter().position(|d| d.attempt > isolate_after);
    if let Some(suspect) = suspect {
        batch.is_suspect = true;
        // The suspect stays if it is the first, and is released with those behind it otherwise.
        let released = deliveries.split_off(suspect.max(1)).into_iter();
        batch.unreleased.extend(released.map(|delivery| Lease {
            receipt: delivery.receipt,
            claim: None,
        }));
        // If this fails, it is repeated before the next records are received.
        _ = release(&*consumer, &mut batch.unreleased).await;
    }
    let messages = deliveries.into_iter();
    batch.messages = messages
        .map(|delivery| Triage::of(delivery, &config))
        .collect();
    if !config.deduplicates {
        return Ok(batch);
    }
    let keys: Vec<_> = batch
        .messages
        .iter()
        .filter_map(Triage::wanted_key)
        .collect();
    let mut claims = claims::claim(&*consumer, &keys, &report).await.into_iter();
    let messages = batch.messages.into_iter().map(|triage| match triage {
        Triage::Handle(item) => Triage::apply_claim(item, claims.next().flatten()),
        other => other,
    });
    batch.messages = messages.collect();
    Ok(batch)
}

async fn release<C: Consumer>(
    consumer: &C,
    leases: &mut Vec<Lease<C::Receipt>>,
) -> Result<(), TransportError> {
    if !leases.is_empty() {
        consumer.release(leases).await?;
        leases.clear();
    }
    Ok(())
}
