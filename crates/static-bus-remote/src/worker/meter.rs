//! The metrics of a worker, through the [`metrics`] facade.

use std::{sync::Arc, time::Duration};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::time::MissedTickBehavior;

use super::served::Served;
use crate::transport::{Backlog, Consumer};

/// The interval between requests for the backlog.
const EVERY: Duration = Duration::from_secs(10);

/// The metrics of one message and subscriber. They belong to the recorder that is installed when
/// the worker starts.
#[derive(Clone)]
pub(super) struct Meter {
    pub(super) processed: Counter,
    pub(super) failed: Counter,
    pub(super) retried: Counter,
    pub(super) dead_lettered: Counter,
    pub(super) duplicates: Counter,
    pub(super) handler_seconds: Histogram,
}

/// The metrics of the backlog of one message and subscriber.
pub(super) struct BacklogMeter {
    pending: Gauge,
    lag: Gauge,
    oldest: Gauge,
}

fn labels(served: &Served) -> [(&'static str, String); 2] {
    [
        ("message", served.message.to_owned()),
        ("group", served.group.clone().into_owned()),
    ]
}

impl Meter {
    pub(super) fn new(served: &Served) -> Self {
        let labels = labels(served);
        Meter {
            processed: counter!("static_bus_processed_total", &labels),
            failed: counter!("static_bus_failed_total", &labels),
            retried: counter!("static_bus_retried_total", &labels),
            dead_lettered: counter!("static_bus_dead_lettered_total", &labels),
            duplicates: counter!("static_bus_duplicates_total", &labels),
            handler_seconds: histogram!("static_bus_handler_seconds", &labels),
        }
    }
}

impl BacklogMeter {
    pub(super) fn new(served: &Served) -> Self {
        let labels = labels(served);
        BacklogMeter {
            pending: gauge!("static_bus_pending", &labels),
            lag: gauge!("static_bus_lag", &labels),
            oldest: gauge!("static_bus_oldest_seconds", &labels),
        }
    }

    fn set(&self, backlog: Backlog) {
        self.pending.set(backlog.pending as f64);
        self.lag.set(backlog.lag as f64);
        self.oldest.set(backlog.oldest.as_secs_f64());
    }
}

/// Measures the backlogs, at intervals.
pub(super) async fn measure<C: Consumer>(watched: Vec<(Arc<C>, BacklogMeter)>) {
    let mut ticks = tokio::time::interval(EVERY);
    // Measurements that were late, as in an outage, are not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (consumer, meter) in &watched {
            // A broker that is unreachable shows in the health of the worker.
            if let Ok(backlog) = consumer.backlog().await {
                meter.set(backlog);
            }
        }
    }
}
