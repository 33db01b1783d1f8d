//! A message that a lane holds.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    Codec, DeadLetter,
    envelope::now,
    received::Received,
    transport::{Delivery, Lease},
    worker::{running::InHand, served::Served},
};

/// A message that a lane holds, from intake to acknowledgement.
pub(super) struct Item<R> {
    pub lease: Lease<R>,
    pub message: Arc<Received>,
    pub codec: Codec,
    /// The deduplication key; empty where nothing is deduplicated.
    pub deduplication_key: Arc<str>,
    pub received: Instant,
    /// The number of earlier deliveries.
    delivered_before: u32,
    /// The number of attempts of this worker that count.
    begun: u32,
    /// The number of successive attempts that failed because of the broker, which do not count.
    failed_by_broker: u32,
    /// Apart: most messages have none, and are moved often.
    failures: Option<Box<Failures>>,
}

struct Failures {
    last_error: String,
    first: String,
    last: String,
}

impl<R: Clone + Send + 'static> InHand for Item<R> {
    type Receipt = R;

    fn received(&self) -> &Arc<Received> {
        &self.message
    }

    fn receipt(&self) -> R {
        self.lease.receipt.clone()
    }
}

impl<R> Item<R> {
    pub fn new(delivery: Delivery<R>, received: Instant) -> Self {
        Item {
            lease: Lease {
                receipt: delivery.receipt,
                claim: None,
            },
            message: Arc::new(Received::new(delivery.record)),
            codec: Codec::default(),
            deduplication_key: Arc::default(),
            received,
            delivered_before: delivery.attempt.saturating_sub(1),
            begun: 0,
            failed_by_broker: 0,
            failures: None,
        }
    }

    /// The ordering key.
    pub fn key(&self) -> Option<&Arc<str>> {
        self.message.record().key.as_ref()
    }

    pub fn delivered_before(&self) -> u32 {
        self.delivered_before
    }

    /// Counts an attempt.
    pub fn begin(&mut self) {
        self.begun += 1;
    }

    /// Notes an error of the message itself.
    pub fn fail(&mut self, error: String) {
        let now = now();
        let failures = self.failures.get_or_insert_with(|| {
            Box::new(Failures {
                last_error: String::new(),
                first: now.clone(),
                last: String::new(),
            })
        });
        failures.last_error = error;
        failures.last = now;
    }

    /// Notes a failed attempt. Returns the number of failed attempts of this kind.
    pub fn fail_attempt(&mut self, error: String, is_by_broker: bool) -> u32 {
        self.fail(error);
        if is_by_broker {
            self.begun -= 1;
            self.failed_by_broker = self.failed_by_broker.saturating_add(1);
            self.failed_by_broker
        } else {
            self.failed_by_broker = 0;
            self.attempts()
        }
    }

    /// The number of attempts that count, of all workers.
    fn attempts(&self) -> u32 {
        self.delivered_before.saturating_add(self.begun)
    }

    pub fn into_lease(self) -> Lease<R> {
        self.lease
    }

    pub fn dead_letter(&self, served: &Served, place: Option<String>, service: &str) -> DeadLetter {
        let now = now();
        let (error, first, last) = match &self.failures {
            Some(failures) => (
                failures.last_error.clone(),
                failures.first.clone(),
                failures.last.clone(),
            ),
            None => (self.never_settled(), now.clone(), now),
        };
        DeadLetter {
            position: String::new(),
            origin: served.topic.to_string(),
            place,
            group: served.group.clone().into_owned(),
            service: service.to_owned(),
            attempts: self.attempts(),
            error,
            first_failure: first,
            last_failure: last,
            record: self.message.record().clone(),
            omitted: 0,
        }
    }

    /// The error of a message that failed in no handler: each worker that had it ended.
    fn never_settled(&self) -> String {
        let times = self.delivered_before;
        format!("it was handed out {times} times, and no worker came to its end: it may kill them")
    }
}
