//! A member of a group whose calls have to succeed before a deadline.

use std::{sync::Arc, time::Duration};

use super::{
    DEADLINE, leases, must,
    reader::{Leased, Reader},
};
use crate::Sharing;
use static_bus_remote::transport::{Backlog, Claim, Consumer, Delivery, Lease, TransportError};
use tokio::time::Instant;

/// A member of a group.
pub type Member<C> = Reader<Leased<C>>;

impl<C: Consumer> Member<C> {
    pub fn consumer(&self) -> &C {
        &self.source().0
    }

    /// The member that gets the records that this one releases.
    pub fn or<'m>(&'m self, other: &'m Self) -> &'m Self {
        match self.sharing() {
            Sharing::Partitions => self,
            Sharing::Records => other,
        }
    }

    pub async fn acknowledge(&self, deliveries: &[Delivery<C::Receipt>]) {
        self.acknowledge_leases(&leases(deliveries)).await;
    }

    pub async fn acknowledge_leases(&self, leases: &[Lease<C::Receipt>]) {
        self.must("acknowledges", self.consumer().acknowledge(leases))
            .await;
    }

    pub async fn release(&self, leases: &[Lease<C::Receipt>]) {
        self.must("releases", self.consumer().release(leases)).await;
    }

    pub async fn renew(&self, leases: &[Lease<C::Receipt>]) {
        self.must("renews", self.consumer().renew(leases)).await;
    }

    pub async fn claim(&self, keys: &[&str]) -> Vec<Claim> {
        let keys: Vec<Arc<str>> = keys.iter().map(|key| Arc::from(*key)).collect();
        let claims = self.must("claims", self.consumer().claim(&keys)).await;
        assert_eq!(claims.len(), keys.len(), "one result for each key");
        claims
    }

    /// Claims a key until it is granted, and never `Done` before. Returns the time of the grant.
    pub async fn claim_when_free(&self, key: &str) -> Instant {
        let start = Instant::now();
        loop {
            match self.claim(&[key]).await[0] {
                Claim::Granted => return Instant::now(),
                Claim::Done => panic!("{key} was confirmed, though no record of it was done"),
                Claim::Held => {}
            }
            assert!(
                start.elapsed() < DEADLINE,
                "{key} is still held after {DEADLINE:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn backlog(&self) -> Backlog {
        self.must("reads the backlog", self.consumer().backlog())
            .await
    }

    async fn must<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, TransportError>>,
    ) -> T {
        must(&format!("{} {what}", self.name()), call).await
    }
}
