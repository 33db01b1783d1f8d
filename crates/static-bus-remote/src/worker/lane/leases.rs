//! The leases of a lane.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::{
    lock::lock,
    retry,
    transport::{Consumer, Lease},
    worker::health::{Report, Task},
};

/// The leases of a lane. A task of their own renews them until they are removed: a
/// handler that blocks the lane does not lose them.
pub(super) struct Leases<C: Consumer> {
    held: Arc<Held<C>>,
    renewing: JoinHandle<()>,
}

/// The claims, by the receipts of their records.
type Held<C> = Mutex<HashMap<<C as Consumer>::Receipt, Option<Arc<str>>>>;

impl<C: Consumer> Leases<C> {
    pub fn new(consumer: Arc<C>, lease: Duration, report: Report) -> Self {
        let held = Arc::new(Mutex::default());
        let renewing = tokio::spawn(renew(held.clone(), consumer, lease, report));
        Leases { held, renewing }
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

/// Renews the leases three times in the length of one, and sooner after a failure.
async fn renew<C: Consumer>(held: Arc<Held<C>>, consumer: Arc<C>, lease: Duration, report: Report) {
    let pause = (lease / 3).max(Duration::from_millis(1));
    let mut backoff = retry::reconnect();
    let mut next = pause;
    loop {
        tokio::time::sleep(next).await;
        next = pause;
        let leases = leases::<C>(&held);
        let renewed = match leases.is_empty() {
            true => Ok(()),
            false => consumer.renew(&leases).await,
        };
        match &renewed {
            Ok(()) => backoff.reset(),
            Err(_) => next = backoff.next_delay().min(pause),
        }
        report.of(Task::Renew, renewed);
    }
}
