//! The intake of a lane: it receives records and claims their deduplication keys, a batch at a time.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Draining, claims,
    triage::{Triage, TriageConfig},
};
use crate::{
    time::later,
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
    draining: Draining,
    receiving: Call<Batch<C::Receipt>>,
    /// The keys whose messages were given back since the request under way began. The messages of these keys that it
    /// brings are released: they would overtake those that were given back.
    given_back: HashSet<Arc<str>>,
    lease: Duration,
    /// Leases that are to be released. No record is received before they are released or have run out: the
    /// next records of their keys would overtake them.
    unreleased: Vec<Lease<C::Receipt>>,
    unreleased_until: Instant,
    releasing: Call<Vec<Lease<C::Receipt>>>,
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
        lease: Duration,
        report: Report,
        draining: Draining,
    ) -> Self {
        Intake {
            consumer,
            config: Arc::new(config),
            isolate_after,
            receiving: Call::new(report.clone(), Task::Receive),
            releasing: Call::new(report.clone(), Task::Release),
            given_back: HashSet::new(),
            report,
            draining,
            lease,
            unreleased: Vec::new(),
            unreleased_until: Instant::now(),
            is_isolating: false,
        }
    }

    /// Returns `true` if the next message is handled alone: a message that came may have ended workers, and the
    /// others are not to be suspected with it.
    pub fn is_isolating(&self) -> bool {
        self.is_isolating
    }

    /// Returns `true` if records were requested, and are not received yet.
    pub fn is_under_way(&self) -> bool {
        self.receiving.is_under_way()
    }

    /// Returns `true` if records may be requested, apart from the delay after a failure.
    pub fn may_receive(&self) -> bool {
        let is_released = self.unreleased.is_empty() && !self.releasing.is_under_way();
        is_released && !self.receiving.is_under_way()
    }

    /// The time from which records may be requested; `None` while a request is under way.
    pub fn not_before(&self) -> Option<Instant> {
        self.receiving.not_before()
    }

    /// The time from which a failed release may be repeated; `None` if there is none.
    pub fn release_not_before(&self) -> Option<Instant> {
        let not_before = self.releasing.not_before();
        not_before.filter(|_| !self.unreleased.is_empty())
    }

    /// Requests up to `max` records, one while it isolates, unless a request has just failed.
    pub fn start(&mut self, max: usize) {
        if self.may_receive() && self.receiving.may_start() {
            let max = if self.is_isolating { 1 } else { max };
            self.receiving.start(receive(
                self.consumer.clone(),
                self.config.clone(),
                self.isolate_after,
                max,
                self.report.clone(),
                self.draining.clone(),
            ));
        }
    }

    /// Releases messages. No record is received before they are released, or a lease is over.
    pub fn release(&mut self, leases: Vec<Lease<C::Receipt>>) {
        if !leases.is_empty() {
            self.unreleased.extend(leases);
            self.unreleased_until = later(Instant::now(), self.lease);
        }
    }

    /// Releases all messages of a key, or one without a key.
    pub fn give_back(&mut self, key: Option<Arc<str>>, leases: Vec<Lease<C::Receipt>>) {
        if self.is_under_way() {
            self.given_back.extend(key);
        }
        self.release(leases);
    }

    /// Releases what waits for it, and repeats a failed release, unless it has just failed again.
    pub fn start_releasing(&mut self) {
        if self.unreleased.is_empty() {
            return;
        }
        if Instant::now() >= self.unreleased_until {
            self.unreleased.clear();
            self.report.of(Task::Release, Ok(()));
        } else if self.releasing.may_start() {
            let leases = std::mem::take(&mut self.unreleased);
            self.releasing.start(release(self.consumer.clone(), leases));
        }
    }

    /// Cancels the request under way. Returns the leases that are to be released.
    pub fn cancel(&mut self) -> Vec<Lease<C::Receipt>> {
        self.receiving.cancel();
        std::mem::take(&mut self.unreleased)
    }

    /// Waits for the messages of the request under way, or the end of a release; forever if there is neither.
    pub async fn received(&mut self) -> Vec<Triage<C::Receipt>> {
        let received = tokio::select! {
            biased;
            received = self.receiving.ended() => received,
            released = self.releasing.ended() => {
                self.unreleased.extend(released.err().into_iter().flatten());
                return Vec::new();
            }
        };
        let given_back = std::mem::take(&mut self.given_back);
        let Ok(mut batch) = received else {
            return Vec::new();
        };
        if batch.is_suspect || !batch.messages.is_empty() {
            self.is_isolating = batch.is_suspect;
        }
        self.release(batch.unreleased);
        let overtakes =
            |triage: &mut Triage<_>| triage.item.key().is_some_and(|k| given_back.contains(k));
        let overtaking = batch.messages.extract_if(.., overtakes);
        let overtaking = overtaking.map(|triage| triage.into_item().into_lease());
        self.release(overtaking.collect());
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
    report: Report,
    mut draining: Draining,
) -> Result<Batch<C::Receipt>, (Batch<C::Receipt>, TransportError)> {
    let received = tokio::select! {
        biased;
        received = consumer.receive(max, WAIT) => received,
        _ = draining.changed() => Ok(Vec::new()),
    };
    let mut batch = Batch {
        messages: Vec::new(),
        unreleased: Vec::new(),
        is_suspect: false,
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
        let released = released.map(|delivery| Lease {
            receipt: delivery.receipt,
            claim: None,
        });
        let released = release(consumer.clone(), released.collect()).await;
        if let Err((unreleased, _)) = released {
            batch.unreleased = unreleased;
        }
    }
    let now = Instant::now();
    let messages = deliveries.into_iter();
    batch.messages = messages
        .map(|delivery| Triage::of(delivery, now, &config))
        .collect();
    if !config.deduplicates {
        return Ok(batch);
    }
    let handled = batch.messages.iter().filter(|triage| triage.is_handled());
    let keys = handled.map(|triage| triage.item.deduplication_key.clone());
    let keys: Vec<_> = keys.collect();
    let mut claims = claims::claim(&*consumer, &keys, &report).await.into_iter();
    let messages = batch.messages.into_iter().map(|triage| {
        if triage.is_handled() {
            Triage::apply_claim(triage.item, claims.next().flatten())
        } else {
            triage
        }
    });
    batch.messages = messages.collect();
    Ok(batch)
}

async fn release<C: Consumer>(
    consumer: Arc<C>,
    leases: Vec<Lease<C::Receipt>>,
) -> Result<Vec<Lease<C::Receipt>>, (Vec<Lease<C::Receipt>>, TransportError)> {
    if leases.is_empty() {
        return Ok(leases);
    }
    match consumer.release(&leases).await {
        Ok(()) => Ok(Vec::new()),
        Err(error) => Err((leases, error)),
    }
}
