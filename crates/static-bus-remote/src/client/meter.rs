//! The metrics of a client, through the [`metrics`] facade.

use std::{sync::Arc, time::Instant};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::transport::Kind;

/// The metrics of one message. They belong to the recorder that is installed when the first message of its type is
/// sent.
pub(super) struct Meter {
    sent: Counter,
    failed: Counter,
    pending_queries: Gauge,
    round_trip: Histogram,
}

impl Meter {
    pub(super) fn new(message: &'static str) -> Self {
        Meter {
            sent: counter!("static_bus_sent_total", "message" => message),
            failed: counter!("static_bus_send_failed_total", "message" => message),
            pending_queries: gauge!("static_bus_pending_queries", "message" => message),
            round_trip: histogram!("static_bus_round_trip_seconds", "message" => message),
        }
    }

    /// Counts the results of a batch.
    pub(super) fn count<R, E>(&self, results: &[Result<R, E>]) {
        let failed = results.iter().filter(|result| result.is_err()).count();
        self.sent.increment((results.len() - failed) as u64);
        self.failed.increment(failed as u64);
    }
}

/// A message that is being sent. It has failed if this is dropped before it succeeds.
pub(super) struct Sending {
    meter: Arc<Meter>,
    began: Instant,
    is_query: bool,
    succeeded: bool,
}

impl Sending {
    pub(super) fn begin(meter: Arc<Meter>, kind: Kind) -> Self {
        let is_query = kind == Kind::Query;
        if is_query {
            meter.pending_queries.increment(1);
        }
        Sending {
            meter,
            began: Instant::now(),
            is_query,
            succeeded: false,
        }
    }

    pub(super) fn end<R, E>(mut self, result: &Result<R, E>) {
        self.succeeded = result.is_ok();
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let meter = &self.meter;
        if self.is_query {
            meter.pending_queries.decrement(1);
        }
        if self.succeeded {
            meter.sent.increment(1);
            meter.round_trip.record(self.began.elapsed());
        } else {
            meter.failed.increment(1);
        }
    }
}
