//! A consumer whose calls either succeed or say what went wrong.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{DEADLINE, JOINING, ids, in_order, leases, list, must};
use static_bus_remote::transport::{Backlog, Claim, Consumer, Delivery, Lease, Sharing};

/// A consumer whose calls have to succeed, in time.
pub struct Member<C> {
    pub name: Arc<str>,
    pub consumer: C,
    /// How its group shares.
    pub sharing: Sharing,
}

impl<C: Consumer> Member<C> {
    pub async fn receive(&self, max: usize, wait: Duration) -> Vec<Delivery<C::Receipt>> {
        let what = format!("{} receives", self.name);
        let got =
            match tokio::time::timeout(wait + DEADLINE, self.consumer.receive(max, wait)).await {
                Ok(Ok(got)) => got,
                Ok(Err(error)) => panic!("{what}: {error}"),
                Err(_) => panic!("{what}: still waiting {DEADLINE:?} after its time was over"),
            };
        assert!(
            got.len() <= max,
            "{what}: asked for {max}, got {}",
            got.len()
        );
        got
    }

    /// Exactly `n` records, however many calls it takes.
    pub async fn take(&self, n: usize) -> Vec<Delivery<C::Receipt>> {
        self.take_within(n, DEADLINE).await
    }

    /// Exactly `n` records without a key, [in order](in_order).
    pub async fn take_in_order(&self, n: usize) -> Vec<Delivery<C::Receipt>> {
        in_order(self.sharing, self.take(n).await)
    }

    /// The member that gets next what this one gives back, if that is not kept by it: the other.
    pub fn or<'m>(&'m self, other: &'m Self) -> &'m Self {
        match self.sharing {
            Sharing::Partitions => self,
            _ => other,
        }
    }

    pub async fn take_within(&self, n: usize, deadline: Duration) -> Vec<Delivery<C::Receipt>> {
        let start = Instant::now();
        let mut got = Vec::new();
        while got.len() < n {
            assert!(
                start.elapsed() < deadline,
                "{}: waited {deadline:?} for {n} records, and {} came",
                self.name,
                match got.len() {
                    0 => String::from("none"),
                    _ => list(ids(&got)),
                }
            );
            got.extend(self.receive(n - got.len(), Duration::from_secs(1)).await);
        }
        got
    }

    /// Listens for a while, and tells what came.
    pub async fn listen(&self, wait: Duration) -> Vec<usize> {
        let start = Instant::now();
        while let Some(rest) = wait.checked_sub(start.elapsed()) {
            let got = self.receive(10, rest.max(Duration::from_millis(1))).await;
            if !got.is_empty() {
                return ids(&got);
            }
            tokio::task::yield_now().await;
        }
        Vec::new()
    }

    /// Listens for a while: nothing may come. A member that takes part only when it listens is given
    /// time to join.
    pub async fn nothing(&self, wait: Duration, why: &str) {
        let joining = match self.sharing {
            Sharing::Partitions => JOINING,
            _ => Duration::ZERO,
        };
        let came = self.listen(joining + wait).await;
        assert!(
            came.is_empty(),
            "{} got {}, though {why}",
            self.name,
            list(came)
        );
    }

    pub async fn acknowledge(&self, deliveries: &[Delivery<C::Receipt>]) {
        self.acknowledge_leases(&leases(deliveries)).await;
    }

    pub async fn acknowledge_leases(&self, leases: &[Lease<C::Receipt>]) {
        let what = format!("{} acknowledges", self.name);
        must(&what, self.consumer.acknowledge(leases)).await;
    }

    pub async fn release(&self, leases: &[Lease<C::Receipt>]) {
        let what = format!("{} releases", self.name);
        must(&what, self.consumer.release(leases)).await;
    }

    pub async fn renew(&self, leases: &[Lease<C::Receipt>]) {
        let what = format!("{} renews", self.name);
        must(&what, self.consumer.renew(leases)).await;
    }

    pub async fn claim(&self, keys: &[&str]) -> Vec<Claim> {
        let keys: Vec<Arc<str>> = keys.iter().map(|key| Arc::from(*key)).collect();
        let claims = must(&format!("{} claims", self.name), self.consumer.claim(&keys)).await;
        assert_eq!(claims.len(), keys.len(), "each key has its answer");
        claims
    }

    /// Claims until it is granted, and never `Done` before. Gives when that was.
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
        must(&format!("{}'s backlog", self.name), self.consumer.backlog()).await
    }

    pub async fn close(&self) {
        must(&format!("{} closes", self.name), self.consumer.close()).await;
    }
}
