//! Consumers of commands and events.

use std::{
    collections::HashSet,
    error::Error,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use static_bus_remote::{
    lock::lock,
    time::later,
    transport::{Backlog, Claim, Consumer, Delivery, Lease, Scope, Subscription, TransportError},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    claims::Claiming,
    dialect::Dialect,
    group::{Join, Leave, Membership, Touch},
    inbox::{Attempt, Destination, Handled},
    inspection,
    pending::Pending,
    receipt::SqlReceipt,
    record::duration,
    scheduler::SCHEDULER,
    settle::{End, Remove, Settle},
    take::{Mix, take},
    transport::Shared,
    wake::Reader,
};

/// The number of records in a call from which a member is busy: the next ones gather before it takes them, as a call costs the
/// database as much as some records.
const BUSY: usize = 32;
/// The time for which they gather.
const GATHERING: Duration = Duration::from_millis(5);

/// A member of a group in a database; made by [`consume`](static_bus_remote::Transport::consume).
///
/// A dropped consumer releases nothing: its records go to others when its leases run out.
pub struct SqlConsumer<D: Dialect> {
    shared: Arc<Shared<D>>,
    membership: Membership,
    name: Arc<str>,
    reader: Reader,
    pending: tokio::sync::Mutex<Pending<Delivery<SqlReceipt>>>,
    is_partial: Arc<AtomicBool>,
    mix: Arc<Mutex<Mix>>,
    is_closed: AtomicBool,
    closing: Notify,
    /// The records that were acknowledged in the transactions of their handlers.
    handled: Mutex<HashSet<SqlReceipt>>,
    /// The deduplication keys that the member may hold.
    claims: Mutex<HashSet<Arc<str>>>,
    /// The time at which the member says again that it is there.
    touch: Mutex<Instant>,
    /// The time until which the next records gather.
    gathered: Mutex<Instant>,
}

impl<D: Dialect> SqlConsumer<D> {
    pub(crate) async fn join(
        shared: Arc<Shared<D>>,
        subscription: Subscription,
    ) -> Result<Self, TransportError> {
        let name = subscription.member.clone();
        let membership = shared.store.transact(Join(subscription)).await?;
        let consumer = SqlConsumer {
            reader: shared.wakers.member(membership.topic, membership.group),
            shared,
            membership,
            name,
            pending: tokio::sync::Mutex::new(Pending::new()),
            is_partial: Arc::default(),
            mix: Arc::default(),
            is_closed: AtomicBool::new(false),
            closing: Notify::new(),
            handled: Mutex::default(),
            claims: Mutex::default(),
            touch: Mutex::new(Instant::now()),
            gathered: Mutex::new(Instant::now()),
        };
        consumer.touched();
        // Records may have been due before.
        consumer.shared.wakers.wake(SCHEDULER);
        Ok(consumer)
    }

    /// Notes that the member was heard of.
    fn touched(&self) {
        let silence = duration(self.membership.silence());
        *lock(&self.touch) = Instant::now() + silence / 4;
    }

    async fn touch(&self) -> Result<(), TransportError> {
        if Instant::now() < *lock(&self.touch) {
            return Ok(());
        }
        let touch = Touch {
            membership: self.membership,
            name: self.name.clone(),
        };
        self.shared.store.transact(touch).await?;
        self.touched();
        Ok(())
    }

    async fn take(
        &self,
        pending: &mut Pending<Delivery<SqlReceipt>>,
        max: usize,
    ) -> Result<Vec<Delivery<SqlReceipt>>, TransportError> {
        let taken = pending.take(&self.shared.store, max, || {
            let (shared, membership) = (self.shared.clone(), self.membership);
            let (is_partial, mix) = (self.is_partial.clone(), self.mix.clone());
            async move {
                let last = *lock(&mix);
                let taken = take(&shared.store, &membership, max, last).await?;
                *lock(&mix) = taken.mix;
                is_partial.store(taken.is_partial, Ordering::Release);
                Ok(taken.deliveries)
            }
        });
        taken.await
    }

    async fn settle(&self, leases: &[Lease<SqlReceipt>], end: End) -> Result<(), TransportError> {
        if leases.is_empty() {
            return Ok(());
        }
        let work = Settle {
            membership: self.membership,
            leases: leases.to_vec(),
            end,
        };
        let remove = self.shared.store.transact(work).await?;
        self.remove(remove).await;
        if !matches!(end, End::Renewed) {
            self.forget(leases);
            // A key may be free, or a record wait again.
            self.reader.wake_next();
        }
        Ok(())
    }

    /// The member does not hold the keys of leases that have ended.
    fn forget(&self, leases: &[Lease<SqlReceipt>]) {
        let mut claims = lock(&self.claims);
        let keys = leases.iter().filter_map(|lease| lease.claim.as_ref());
        for key in keys {
            claims.remove(key);
        }
    }

    /// Removes records that are settled. The housekeeping removes them if this fails.
    async fn remove(&self, records: Option<Remove>) {
        if let Some(records) = records {
            _ = self.shared.store.transact(records).await;
        }
    }
}

impl<D: Dialect> Consumer for SqlConsumer<D> {
    type Receipt = SqlReceipt;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<SqlReceipt>>, TransportError> {
        let end = later(Instant::now(), wait);
        let mut pending = self.pending.lock().await;
        loop {
            if self.is_closed.load(Ordering::Acquire) {
                return Err(self.shared.store.closed("consumer"));
            }
            self.touch().await?;
            let gathered = end.min(*lock(&self.gathered));
            if timeout_at(gathered, self.closing.notified()).await.is_ok() {
                continue;
            }
            let taken = self.take(&mut pending, max).await?;
            let is_partial = self.is_partial.swap(false, Ordering::AcqRel);
            if is_partial {
                self.reader.wake_next();
            }
            let now = Instant::now();
            if !is_partial && (BUSY..max).contains(&taken.len()) {
                *lock(&self.gathered) = now + GATHERING;
            }
            if !taken.is_empty() || max == 0 || now >= end && !is_partial {
                return Ok(taken);
            }
            let until = end.min(now + self.shared.poll);
            tokio::select! {
                biased;
                () = self.closing.notified() => {}
                _ = timeout_at(until, self.reader.woken()) => {}
            }
        }
    }

    async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let work = Claiming {
            membership: self.membership,
            keys: keys.to_vec(),
        };
        let claims = self.shared.store.transact(work).await?;
        let granted = keys.iter().zip(&claims);
        let granted = granted.filter(|(_, claim)| **claim == Claim::Granted);
        lock(&self.claims).extend(granted.map(|(key, _)| key.clone()));
        Ok(claims)
    }

    async fn acknowledge(&self, leases: &[Lease<SqlReceipt>]) -> Result<(), TransportError> {
        let leases: Vec<_> = {
            let mut handled = lock(&self.handled);
            let leases = leases
                .iter()
                .filter(|lease| !handled.remove(&lease.receipt));
            leases.cloned().collect()
        };
        self.settle(&leases, End::Acknowledged).await
    }

    const FINISHES: bool = true;

    fn begin(&self, _: &SqlReceipt) -> Option<Scope> {
        Some(Scope::new(Attempt::of_a_handler(
            self.shared.clone(),
            Destination::Queues,
        )))
    }

    async fn finish(&self, lease: &Lease<SqlReceipt>, scope: &Scope) -> Result<(), TransportError> {
        let Some(attempt) = scope.get::<Attempt<D>>() else {
            return Ok(());
        };
        let handled = Handled {
            membership: self.membership,
            lease: lease.clone(),
        };
        if let Some(remove) = attempt.commit(&handled).await? {
            lock(&self.handled).insert(lease.receipt);
            self.forget(std::slice::from_ref(lease));
            self.remove(remove).await;
            // A key may be free.
            self.reader.wake_next();
        }
        Ok(())
    }

    /// The number of the record: column `id` of the table `record`.
    fn place(&self, receipt: &SqlReceipt) -> Option<String> {
        Some(receipt.place())
    }

    fn failure(&self, scope: &Scope, error: &(dyn Error + 'static)) -> Option<TransportError> {
        scope.get::<Attempt<D>>()?.failure(error)
    }

    async fn renew(&self, leases: &[Lease<SqlReceipt>]) -> Result<(), TransportError> {
        self.touch().await?;
        self.settle(leases, End::Renewed).await
    }

    async fn release(&self, leases: &[Lease<SqlReceipt>]) -> Result<(), TransportError> {
        self.settle(leases, End::Released).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.closing.notify_one();
        let mut pending = self.pending.lock().await;
        // What a receive that was dropped has taken is released with the rest.
        _ = pending.rest(&self.shared.store).await;
        let leave = Leave {
            membership: self.membership,
            claims: lock(&self.claims).drain().collect(),
        };
        self.shared.store.transact(leave).await?;
        self.shared.wakers.wake(self.membership.topic);
        Ok(())
    }

    async fn backlog(&self) -> Result<Backlog, TransportError> {
        inspection::backlog(&self.shared.store, self.membership.group).await
    }
}

impl<D: Dialect> fmt::Debug for SqlConsumer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlConsumer").finish_non_exhaustive()
    }
}
