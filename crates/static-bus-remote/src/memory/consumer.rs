//! The consumer of a group.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    task::coop::consume_budget,
    time::{Instant, timeout_at},
};

use super::{
    closed,
    group::{Group, Polled, Receipt},
    log::Log,
};
use crate::{
    time::later,
    transport::{Backlog, Claim, Consumer, Delivery, Lease, Scope, Subscription, TransportError},
};

const CLOSED: &str = "this consumer is closed: subscribe again to receive more";

/// A member of a group of a [`MemoryBroker`](super::MemoryBroker).
///
/// If it is dropped without [`close`](Consumer::close), its records stay leased until the leases run out, as
/// those of a process that crashed.
///
/// ```
/// use std::time::Duration;
/// use static_bus_remote::{MemoryBroker, Transport, transport::*};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), TransportError> {
/// let broker = MemoryBroker::new();
/// let topic = Topic { kind: Kind::Event, name: "orders.placed".into() };
/// let stock = |member: &str| Subscription::new(topic.clone(), "stock", member);
/// let one = broker.consume(stock("one")).await?;
/// let two = broker.consume(stock("two")).await?;
///
/// let placed = (topic.clone(), Record::default());
/// broker.append(vec![placed]).await.remove(0)?;
/// assert_eq!(one.receive(10, Duration::ZERO).await?.len(), 1);
/// assert_eq!(two.receive(10, Duration::ZERO).await?.len(), 0);
///
/// one.close().await?;
/// let again = two.receive(10, Duration::ZERO).await?;
/// assert_eq!(again[0].attempt, 1); // a released delivery does not count
/// # Ok(())
/// # }
/// ```
pub struct MemoryConsumer {
    log: Arc<Log>,
    group: usize,
    member: u64,
    wake: Arc<Notify>,
    lease: Duration,
    deduplication: Option<Duration>,
}

impl MemoryConsumer {
    pub(super) fn join(log: Arc<Log>, subscription: Subscription) -> Self {
        let group = log.group(subscription.group);
        let wake = Arc::new(Notify::new());
        let member = log.lock().groups[group].join(subscription.member, wake.clone());
        MemoryConsumer {
            log,
            group,
            member,
            wake,
            lease: subscription.lease,
            deduplication: subscription.deduplication,
        }
    }

    /// Changes the group, and wakes the members that the change concerns.
    fn change<R>(&self, change: impl FnOnce(&mut Group, Instant) -> R) -> R {
        self.log.change(self.group, change)
    }
}

impl Consumer for MemoryConsumer {
    type Receipt = Receipt;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<Receipt>>, TransportError> {
        consume_budget().await;
        let end = later(Instant::now(), wait);
        loop {
            let received = self.change(|group, now| {
                let until = later(now, self.lease);
                group.receive(self.member, max, until, end, now)
            });
            match received {
                Polled::Deliveries(deliveries) => return Ok(deliveries),
                Polled::Left => return Err(closed(CLOSED)),
                Polled::Wait(until) => {
                    let dropped = Dropped(self);
                    let _ = timeout_at(until, self.wake.notified()).await;
                    std::mem::forget(dropped);
                }
            }
        }
    }

    async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        consume_budget().await;
        self.change(|group, now| {
            if !group.has(self.member) {
                return Err(closed(CLOSED));
            }
            let until = later(now, self.lease);
            let claim = |key| group.claims.claim(key, self.member, until, now);
            Ok(keys.iter().map(claim).collect())
        })
    }

    async fn acknowledge(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        consume_budget().await;
        self.change(|group, now| {
            for Lease { receipt, claim } in leases {
                match (claim, self.deduplication) {
                    (Some(key), Some(kept)) => group.claims.confirm(key, later(now, kept), now),
                    (Some(key), None) => group.claims.give_up(key, self.member),
                    (None, _) => {}
                }
                group.acknowledge(receipt);
            }
        });
        Ok(())
    }

    /// The scope tells a handler that runs from one that has ended.
    fn begin(&self, receipt: &Receipt) -> Option<Scope> {
        let attempt = Arc::new(());
        self.change(|group, _| group.begin(receipt, &attempt));
        Some(Scope::new(attempt))
    }

    fn place(&self, receipt: &Receipt) -> Option<String> {
        Some(receipt.place())
    }

    async fn renew(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        consume_budget().await;
        self.change(|group, now| {
            let until = later(now, self.lease);
            for Lease { receipt, claim } in leases {
                group.renew(receipt, until);
                if let Some(key) = claim {
                    group.claims.renew(key, self.member, until);
                }
            }
        });
        Ok(())
    }

    async fn release(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        consume_budget().await;
        self.change(|group, _| {
            for Lease { receipt, claim } in leases {
                if let Some(key) = claim {
                    group.claims.give_up(key, self.member);
                }
                group.release(receipt);
            }
        });
        Ok(())
    }

    async fn close(&self) -> Result<(), TransportError> {
        consume_budget().await;
        self.change(|group, _| group.leave(self.member));
        Ok(())
    }

    async fn backlog(&self) -> Result<Backlog, TransportError> {
        consume_budget().await;
        Ok(self.change(|group, now| group.backlog(now)))
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.change(|group, _| group.vanish(self.member));
    }
}

impl std::fmt::Debug for MemoryConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryConsumer").finish_non_exhaustive()
    }
}

/// A guard of a `receive` that waits: if its future is dropped after it was woken, another member is woken.
struct Dropped<'c>(&'c MemoryConsumer);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0
            .change(|group, _| group.no_longer_waits(self.0.member));
    }
}
