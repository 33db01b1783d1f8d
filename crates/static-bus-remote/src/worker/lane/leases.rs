//! The leases of a lane.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use foldhash::HashMap;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{
    lock::lock,
    retry,
    time::later,
    transport::{Consumer, Lease},
    worker::health::{Report, Task},
};

/// The leases of a lane. A task of their own renews them until they are removed: a
/// handler that blocks the lane does not lose them.
pub(super) struct Leases<C: Consumer> {
    held: Arc<Held<C>>,
    lease: Duration,
    renewing: JoinHandle<()>,
}

/// The leases by the receipts of their records.
type Held<C> = Mutex<HashMap<<C as Consumer>::Receipt, HeldLease>>;

struct HeldLease {
    claim: Option<Arc<str>>,
    /// The time at which it runs out, as far as this worker knows. A lease that has run out is not given again.
    until: Instant,
}

impl<C: Consumer> Leases<C> {
    pub fn new(consumer: Arc<C>, lease: Duration, report: Report) -> Self {
        let held = Arc::new(Mutex::default());
        let renewal = Renewal {
            held: held.clone(),
            consumer,
            lease,
            report,
        };
        Leases {
            held,
            lease,
            renewing: tokio::spawn(renewal.run()),
        }
    }

    /// Adds leases, or their claims, with the times at which their records were received.
    pub fn add<'l>(&self, leases: impl Iterator<Item = (&'l Lease<C::Receipt>, Instant)>) {
        let mut held = lock(&self.held);
        for (Lease { receipt, claim }, received) in leases {
            let until = later(received, self.lease);
            let new = HeldLease { claim: None, until };
            held.entry(receipt.clone()).or_insert(new).claim = claim.clone();
        }
    }

    pub fn remove(&self, leases: &[Lease<C::Receipt>]) {
        let mut held = lock(&self.held);
        for lease in leases {
            held.remove(&lease.receipt);
        }
    }

    /// Returns `true` if the lease of a record that was received at this time may have run out.
    pub fn has_run_out(&self, receipt: &C::Receipt, received: Instant) -> bool {
        let now = Instant::now();
        if now < later(received, self.lease) {
            return false;
        }
        let held = lock(&self.held);
        let until = held.get(receipt).map(|lease| lease.until);
        until.is_none_or(|until| until <= now)
    }
}
impl<C: Consumer> Drop for Leases<C> {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

fn leases<C: Consumer>(held: &Held<C>) -> Vec<Lease<C::Receipt>> {
    let lease = |(receipt, held): (&C::Receipt, &HeldLease)| Lease {
        receipt: receipt.clone(),
        claim: held.claim.clone(),
    };
    lock(held).iter().map(lease).collect()
}

/// The task that renews the leases.
struct Renewal<C: Consumer> {
    held: Arc<Held<C>>,
    consumer: Arc<C>,
    lease: Duration,
    report: Report,
}

impl<C: Consumer> Renewal<C> {
    /// Renews the leases three times in the length of one, and sooner after a failure.
    async fn run(self) {
        let pause = (self.lease / 3).max(Duration::from_millis(1));
        let mut backoff = retry::reconnect();
        let mut next = pause;
        let mut held_up = None;
        loop {
            let planned = later(Instant::now(), next);
            sleep_until(planned).await;
            next = pause;
            let began = Instant::now();
            self.report_delay(&mut held_up, planned, began);
            let leases = leases::<C>(&self.held);
            let renewed = match leases.is_empty() {
                true => Ok(()),
                false => self.consumer.renew(&leases).await,
            };
            match &renewed {
                Ok(()) => {
                    self.note(&leases, began);
                    backoff.reset();
                }
                Err(_) => next = backoff.next_delay().min(pause),
            }
            self.report.of(Task::Renew, renewed);
        }
    }

    /// Notes a renewal that succeeded, and the time at which it began.
    fn note(&self, renewed: &[Lease<C::Receipt>], began: Instant) {
        let mut held = lock(&self.held);
        for lease in renewed {
            if let Some(lease) = held.get_mut(&lease.receipt)
                && lease.until > began
            {
                lease.until = later(began, self.lease);
            }
        }
    }

    /// Reports a renewal that began late, for the length of a lease. Then the runtime did not run this task: its
    /// threads were blocked, or the process was suspended.
    fn report_delay(&self, held_up: &mut Option<Instant>, planned: Instant, now: Instant) {
        let late = now.saturating_duration_since(planned);
        if late > self.lease / 3 {
            *held_up = Some(now);
            let trouble = format!(
                "by {late:?}, because the process was suspended, or handlers block the threads of the runtime: run \
                 blocking code with `tokio::task::spawn_blocking`"
            );
            self.report.trouble(Task::RenewInTime, Some(trouble));
        } else if held_up.is_some_and(|then| now >= later(then, self.lease)) {
            *held_up = None;
            self.report.trouble(Task::RenewInTime, None);
        }
    }
}
