//! The leases of a lane.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

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
    times: Arc<Mutex<Times>>,
    renewing: JoinHandle<()>,
}

/// The claims, by the receipts of their records.
type Held<C> = Mutex<HashMap<<C as Consumer>::Receipt, Option<Arc<str>>>>;

impl<C: Consumer> Leases<C> {
    pub fn new(consumer: Arc<C>, lease: Duration, report: Report) -> Self {
        let held = Arc::new(Mutex::default());
        let times = Arc::new(Mutex::new(Times::new(lease)));
        let renewal = Renewal {
            held: held.clone(),
            times: times.clone(),
            consumer,
            lease,
            report,
        };
        Leases {
            held,
            times,
            renewing: tokio::spawn(renewal.run()),
        }
    }

    pub fn add<'l>(&self, leases: impl Iterator<Item = &'l Lease<C::Receipt>>) {
        let leases = leases.map(|lease| (lease.receipt.clone(), lease.claim.clone()));
        lock(&self.held).extend(leases);
    }

    pub fn remove(&self, leases: &[Lease<C::Receipt>]) {
        let mut held = lock(&self.held);
        for lease in leases {
            held.remove(&lease.receipt);
        }
    }

    /// Returns `true` if the lease of a record that was received at this time may have run out.
    pub fn has_run_out(&self, received: Instant) -> bool {
        lock(&self.times).has_run_out(received, Instant::now())
    }
}
impl<C: Consumer> Drop for Leases<C> {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

fn leases<C: Consumer>(held: &Held<C>) -> Vec<Lease<C::Receipt>> {
    let lease = |(receipt, claim): (&C::Receipt, &Option<_>)| Lease {
        receipt: receipt.clone(),
        claim: claim.clone(),
    };
    lock(held).iter().map(lease).collect()
}

/// The times at which the leases of a lane were renewed.
struct Times {
    lease: Duration,
    /// The beginning of the last renewal that succeeded.
    renewed: Instant,
    /// The leases of records that were received no later than this ran out before a renewal.
    lost: Option<Instant>,
}

impl Times {
    fn new(lease: Duration) -> Self {
        Times {
            lease,
            renewed: Instant::now(),
            lost: None,
        }
    }

    fn has_run_out(&self, received: Instant, now: Instant) -> bool {
        let is_lost = self.lost.is_some_and(|lost| received <= lost);
        is_lost || later(self.renewed.max(received), self.lease) <= now
    }

    /// Notes a renewal that succeeded, and the time at which it began.
    fn renewed(&mut self, began: Instant) {
        if later(self.renewed, self.lease) <= began {
            self.lost = began.checked_sub(self.lease).or(self.lost);
        }
        self.renewed = began;
    }
}

/// The task that renews the leases.
struct Renewal<C: Consumer> {
    held: Arc<Held<C>>,
    times: Arc<Mutex<Times>>,
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
                    lock(&self.times).renewed(began);
                    backoff.reset();
                }
                Err(_) => next = backoff.next_delay().min(pause),
            }
            self.report.of(Task::Renew, renewed);
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
