//! Claims that wait for their results.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use tokio::{sync::oneshot, time::timeout_at};

use super::{Inner, Written};
use static_bus_remote::transport::{Claim, TransportError, TransportErrorKind};

/// Claims that were appended and whose results are not known. They are released if the call is dropped or fails:
/// otherwise the keys would stay held until the leases run out.
pub(super) struct Claiming<'s> {
    inner: &'s Inner,
    first: u64,
    keys: Vec<Arc<str>>,
    written: Option<Written>,
    results: oneshot::Receiver<Vec<Claim>>,
    begun: Instant,
    is_kept: bool,
}

impl<'s> Claiming<'s> {
    /// Claims with numbers from `first` on.
    pub fn new(
        inner: &'s Inner,
        first: u64,
        keys: Vec<Arc<str>>,
        written: Written,
        results: oneshot::Receiver<Vec<Claim>>,
    ) -> Self {
        Claiming {
            inner,
            first,
            keys,
            written: Some(written),
            results,
            begun: Instant::now(),
            is_kept: false,
        }
    }

    /// Keeps the granted claims.
    pub fn keep(mut self) {
        self.is_kept = true;
    }

    /// Waits for the results.
    pub async fn results(&mut self) -> Result<Vec<Claim>, TransportError> {
        let end = self.begun + self.inner.timeout();
        let mut read_before = None;
        let results = async {
            if let Some(mut written) = self.written.take() {
                tokio::select! {
                    biased;
                    results = &mut self.results => return Ok(results),
                    written = &mut written => self.inner.check(written)?,
                }
            }
            read_before = Some(self.inner.state().read);
            Ok((&mut self.results).await)
        };
        match timeout_at(end.into(), results).await {
            Ok(Ok(Ok(claims))) if self.begun.elapsed() < self.inner.lease => Ok(claims),
            Ok(Ok(Ok(_))) => Err(self.inner.cluster.failure(
                TransportErrorKind::Unreachable,
                "claims were granted after their lease had run out: the cluster or this machine is \
                 overloaded",
            )),
            Ok(Err(e)) => Err(e),
            Ok(Ok(Err(_))) | Err(_) => {
                if read_before == Some(self.inner.state().read) {
                    self.inner.replaces_reader.store(true, Ordering::Release);
                }
                Err(self.inner.unread())
            }
        }
    }
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        let mut state = self.inner.state();
        state.calls.remove(&self.first);
        let numbered = || self.keys.iter().zip(self.first..);
        for (key, number) in numbered() {
            if state.held.get(key) == Some(&number) {
                state.held.remove(key);
            }
        }
        let claims: Vec<_> = numbered()
            .map(|(key, number)| ((&**key).into(), number))
            .collect();
        // If this fails, they end with their leases.
        _ = self.inner.send_release(&claims);
    }
}
