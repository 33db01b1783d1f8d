//! Consumers and receivers whose process may be struck by faults.

use std::{fmt, sync::Arc, time::Duration};

use super::broker::SimBroker;
use crate::{
    memory::{MemoryConsumer, MemoryReceiver, Receipt},
    transport::{
        Backlog, Claim, Consumer, Delivery, Lease, Receiver, Record, Scope, TransportError,
    },
};

/// A consumer of a [`SimBroker`].
pub struct SimConsumer {
    broker: SimBroker,
    inner: MemoryConsumer,
    /// The topic and the group.
    of: String,
}

impl SimConsumer {
    pub(super) fn new(broker: SimBroker, inner: MemoryConsumer, of: String) -> Self {
        SimConsumer { broker, inner, of }
    }
}

impl Consumer for SimConsumer {
    type Receipt = Receipt;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<Receipt>>, TransportError> {
        self.broker.reach().await?;
        let received = self.inner.receive(max, wait).await?;
        if let Err(error) = self.broker.reach().await {
            // It was cut off while it waited.
            let leases = received.into_iter().map(|delivery| Lease {
                receipt: delivery.receipt,
                claim: None,
            });
            self.inner.release(&leases.collect::<Vec<_>>()).await?;
            return Err(error);
        }
        if !received.is_empty() {
            let what = format!("receives {}", self.of);
            self.broker.received(received.len(), &what).await;
        }
        Ok(received)
    }

    async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        let what = format!("claims keys of {}", self.of);
        let claims = self.broker.call(&what, self.inner.claim(keys)).await?;
        self.broker.note(format_args!("{what}: {claims:?}"));
        Ok(claims)
    }

    async fn acknowledge(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        let what = format!("acknowledges {}", self.of);
        let acknowledging = async {
            self.broker.note(format_args!("{what}: {}", leases.len()));
            self.inner.acknowledge(leases).await
        };
        self.broker.call(&what, acknowledging).await
    }

    fn begin(&self, receipt: &Receipt) -> Option<Scope> {
        self.broker
            .note(format_args!("begins an attempt of {}", self.of));
        self.inner.begin(receipt)
    }

    async fn renew(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        self.broker.reach().await?;
        self.inner.renew(leases).await
    }

    async fn release(&self, leases: &[Lease<Receipt>]) -> Result<(), TransportError> {
        self.broker.reach().await?;
        self.broker
            .note(format_args!("releases {}: {}", self.of, leases.len()));
        self.inner.release(leases).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        self.broker.reach().await?;
        self.broker.note(format_args!("leaves {}", self.of));
        self.inner.close().await
    }

    async fn backlog(&self) -> Result<Backlog, TransportError> {
        self.broker.reach().await?;
        self.inner.backlog().await
    }
}

impl fmt::Debug for SimConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimConsumer").finish_non_exhaustive()
    }
}

/// A receiver of a [`SimBroker`].
pub struct SimReceiver {
    broker: SimBroker,
    inner: MemoryReceiver,
    /// The topic.
    of: String,
}

impl SimReceiver {
    pub(super) fn new(broker: SimBroker, inner: MemoryReceiver, of: String) -> Self {
        SimReceiver { broker, inner, of }
    }
}

impl Receiver for SimReceiver {
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Arc<Record>>, TransportError> {
        self.broker.reach().await?;
        let received = self.inner.receive(max, wait).await?;
        self.broker.reach().await?;
        if !received.is_empty() {
            let what = format!("receives {}", self.of);
            self.broker.received(received.len(), &what).await;
        }
        Ok(received)
    }

    async fn close(&self) -> Result<(), TransportError> {
        if self.broker.is_killed() {
            // Of a killed process nobody is left to wait for it.
            return Ok(());
        }
        self.broker.reach().await?;
        self.inner.close().await
    }
}

impl fmt::Debug for SimReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimReceiver").finish_non_exhaustive()
    }
}
