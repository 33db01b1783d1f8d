//! Claims on their way.

use std::{borrow::Cow, sync::Arc, time::Instant};

use tokio::{sync::oneshot, time::timeout_at};

use super::{Shared, Written};
use static_bus_remote::transport::{Claim, TransportError, TransportErrorKind};

/// Claims of which it is not known what became of them. If nobody waits for that any more, or it is not
/// known in time, they are given up: otherwise they would be held for a lease, and by nobody.
pub(super) struct Claiming<'s> {
    shared: &'s Shared,
    first: u64,
    keys: Vec<Arc<str>>,
    written: Option<Written>,
    told: oneshot::Receiver<Vec<Claim>>,
    begun: Instant,
    is_wanted: bool,
}

impl<'s> Claiming<'s> {
    /// The keys have numbers from `first` on, and `told` says what became of them.
    pub fn new(
        shared: &'s Shared,
        first: u64,
        keys: Vec<Arc<str>>,
        written: Written,
        told: oneshot::Receiver<Vec<Claim>>,
    ) -> Self {
        Claiming {
            shared,
            first,
            keys,
            written: Some(written),
            told,
            begun: Instant::now(),
            is_wanted: true,
        }
    }

    /// Keeps what was granted.
    pub fn take(mut self) {
        self.is_wanted = false;
    }

    /// Waits until it is known what became of them.
    pub async fn answer(&mut self) -> Result<Vec<Claim>, TransportError> {
        let Shared { settings, .. } = self.shared;
        let end = self.begun + self.shared.patience();
        let told = async {
            if let Some(mut written) = self.written.take() {
                tokio::select! {
                    biased;
                    told = &mut self.told => return Ok(told),
                    written = &mut written => self.shared.check(written)?,
                }
            }
            Ok((&mut self.told).await)
        };
        match timeout_at(end.into(), told).await {
            Ok(Ok(Ok(claims))) if self.begun.elapsed() < self.shared.lease => Ok(claims),
            Ok(Ok(Ok(_))) => Err(TransportError::new(
                TransportErrorKind::Unreachable,
                settings.address.clone(),
                "claims came through so late that their lease was over: the cluster or this machine is overloaded",
            )),
            Ok(Err(e)) => Err(e),
            Ok(Ok(Err(_))) | Err(_) => Err(self.shared.unread()),
        }
    }
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        if !self.is_wanted {
            return;
        }
        let mut state = self.shared.state();
        state.asked.remove(&self.first);
        let numbered = || self.keys.iter().zip(self.first..);
        for (key, number) in numbered() {
            if state.mine.get(key) == Some(&number) {
                state.mine.remove(key);
            }
        }
        let claims: Vec<_> = numbered()
            .map(|(key, number)| (Cow::Borrowed(&**key), number))
            .collect();
        // If this fails too, they end with their leases.
        _ = self.shared.send_given_up(&claims);
    }
}
