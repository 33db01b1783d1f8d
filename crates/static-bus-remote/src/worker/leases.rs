//! The leases that a lane holds, and how they are kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::task::JoinHandle;

use super::health::{Report, Task};
use crate::{
    retry,
    transport::{Consumer, Lease},
};

/// The leases that a lane holds. They are renewed until they are let go, by a task of their own: a
/// handler that blocks its lane must not lose what the lane holds.
pub(super) struct Leases<C: Consumer> {
    held: Arc<Held<C>>,
    renewing: JoinHandle<()>,
}

/// The claims, by the receipts of their records.
struct Held<C: Consumer>(Mutex<HashMap<C::Receipt, Option<Arc<str>>>>);

impl<C: Consumer> Leases<C> {
    pub(super) fn new(consumer: Arc<C>, lease: Duration, report: Report) -> Self {
        let held = Arc::new(Held(Mutex::default()));
        let renewing = tokio::spawn(renew(held.clone(), consumer, lease, report));
        Leases { held, renewing }
    }

    pub(super) fn hold<'l>(&self, leases: impl Iterator<Item = &'l Lease<C::Receipt>>) {
        let leases = leases.map(|lease| (lease.receipt.clone(), lease.claim.clone()));
        self.held.lock().extend(leases);
    }

    pub(super) fn let_go(&self, leases: &[Lease<C::Receipt>]) {
        let mut held = self.held.lock();
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

impl<C: Consumer> Held<C> {
    fn lock(&self) -> MutexGuard<'_, HashMap<C::Receipt, Option<Arc<str>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> Vec<Lease<C::Receipt>> {
        let lease = |(receipt, claim): (&C::Receipt, &Option<_>)| Lease {
            receipt: receipt.clone(),
            claim: claim.clone(),
        };
        self.lock().iter().map(lease).collect()
    }
}

/// Renews them three times in a lease, and sooner if that fails.
async fn renew<C: Consumer>(held: Arc<Held<C>>, consumer: Arc<C>, lease: Duration, report: Report) {
    let pause = (lease / 3).max(Duration::from_millis(1));
    let mut backoff = retry::reconnect();
    let mut next = pause;
    loop {
        tokio::time::sleep(next).await;
        next = pause;
        let leases = held.leases();
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
