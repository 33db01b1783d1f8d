//! Deduplication keys: a lock table that the members of a group replicate through a topic.
//!
//! Members append their claims, renewals, confirmations and releases to the topic. Each member reads the whole log,
//! in the order and with the timestamps of the broker, and computes the same table from it. A claim is granted if
//! the key is free at the place of the claim in the log. This does not depend on the assignment of the partitions
//! of messages to members.
//!
//! The topic has one partition, because every member reads all of it. A call is one record.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{error::KafkaError, producer::future_producer::OwnedDeliveryResult};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};
use uuid::Uuid;

use self::{
    claiming::Claiming,
    entry::{Entry, Numbered, pieces},
    table::Table,
};
use super::cluster::Cluster;
use static_bus_remote::{
    lock::lock,
    time::millis,
    transport::{Claim, Subscription, TransportError, TransportErrorKind},
};

mod claiming;
mod entry;
mod log;
mod reader;
mod table;

pub(super) use self::log::Log;

/// The time by which the client may exceed the deadline before it reports an error.
const GRACE: Duration = Duration::from_secs(2);

/// The deduplication keys of a group, as one member uses them. Without deduplication every claim is granted.
pub(super) struct Claims(Option<Arc<Inner>>);

/// The state that the member shares with its thread.
struct Inner {
    cluster: Arc<Cluster>,
    log: Arc<Log>,
    /// A globally unique name of the member.
    member: String,
    lease: Duration,
    /// The time for which confirmed keys are remembered.
    deduplication: Duration,
    state: Mutex<State>,
    /// Signals that more of the log was read.
    progress: Notify,
    closed: AtomicBool,
    /// `true` if the reader is to have a new client: an entry was appended and nothing was read in time, so this one may
    /// have lost the leader of the partition for good.
    replaces_reader: AtomicBool,
}

struct State {
    table: Table,
    /// The keys that this member holds, with the numbers of their claims.
    held: HashMap<Arc<str>, u64>,
    /// The number of the next claim.
    next: u64,
    /// The calls that wait for their results, by the number of the first claim.
    calls: HashMap<u64, Call>,
    /// The offset of the last record that was read.
    read: i64,
    /// The error of the last poll, if it failed.
    error: Option<KafkaError>,
}

/// A call that waits for the results of its claims.
struct Call {
    keys: Vec<Arc<str>>,
    results: oneshot::Sender<Vec<Claim>>,
}

impl Claims {
    /// Opens the log of a group, and waits until the member has read it. Without `deduplication` every claim is
    /// granted.
    pub(super) async fn open(
        cluster: &Arc<Cluster>,
        subscription: &Subscription,
    ) -> Result<Self, TransportError> {
        let Some(deduplication) = subscription.deduplication else {
            return Ok(Claims(None));
        };
        let inner = Inner::open(cluster, subscription, deduplication).await?;
        let claims = Claims(Some(inner.clone()));
        reader::start(inner).await?;
        Ok(claims)
    }

    /// Claims keys, in order, each for the length of a lease.
    pub(super) async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        let Some(inner) = &self.0 else {
            return Ok(vec![Claim::Granted; keys.len()]);
        };
        let mut claimings = Vec::with_capacity(1);
        for piece in pieces(keys, |key| key.len()) {
            claimings.push(inner.claim(piece)?);
        }
        let mut claims = Vec::with_capacity(keys.len());
        for claiming in &mut claimings {
            claims.append(&mut claiming.results().await?);
        }
        claimings.into_iter().for_each(Claiming::keep);
        Ok(claims)
    }

    /// Confirms keys of records that were handled, whichever member holds them.
    pub(super) async fn confirm(&self, keys: Vec<Arc<str>>) -> Result<(), TransportError> {
        let Some(inner) = &self.0 else {
            return Ok(());
        };
        for entry in confirmations(inner.deduplication, &keys) {
            inner.write(&entry).await?;
        }
        self.forget(&keys);
        Ok(())
    }

    /// Renews the claims that are not lost.
    pub(super) async fn renew(&self, keys: Vec<Arc<str>>) -> Result<(), TransportError> {
        let Some(inner) = &self.0 else {
            return Ok(());
        };
        let written = {
            // Locked until the renewal is sent, so that no release of the same claims overtakes it.
            let mut state = inner.state();
            let is_lost = |key: &&Arc<str>, state: &State| {
                let number = state.held.get(*key).copied();
                number.is_none_or(|n| state.table.is_lost(key, &inner.member, n))
            };
            let (lost, kept): (Vec<_>, Vec<_>) = keys.iter().partition(|key| is_lost(key, &state));
            for key in lost {
                state.held.remove(key);
            }
            let number = |key: &Arc<str>| state.held[key];
            let claims: Vec<Numbered<'_>> = kept
                .into_iter()
                .map(|key| ((&**key).into(), number(key)))
                .collect();
            inner.send_claims(&claims, |claims| Entry::Renew {
                member: (&*inner.member).into(),
                lease: millis(inner.lease),
                claims,
            })?
        };
        inner.wait_for(written).await
    }

    /// Releases claims of this member.
    pub(super) async fn release(&self, keys: Vec<Arc<str>>) -> Result<(), TransportError> {
        let Some(inner) = &self.0 else {
            return Ok(());
        };
        let written = {
            let mut state = inner.state();
            let held = keys.iter().filter_map(|key| {
                let number = state.held.remove(key)?;
                Some(((&**key).into(), number))
            });
            let claims: Vec<Numbered<'_>> = held.collect();
            inner.send_release(&claims)?
        };
        inner.wait_for(written).await
    }

    /// Releases all claims of this member, which makes no more.
    pub(super) async fn close(&self) -> Result<(), TransportError> {
        let Some(inner) = &self.0 else {
            return Ok(());
        };
        let written = {
            let mut state = inner.state();
            if inner.closed.swap(true, Ordering::AcqRel) || state.next == 0 {
                return Ok(());
            }
            state.held.clear();
            let member = (&*inner.member).into();
            inner.log.send(&Entry::Leave { member })?
        };
        inner.wait_for(vec![written]).await
    }

    /// Forgets claims that are confirmed.
    pub(super) fn forget(&self, keys: &[Arc<str>]) {
        if let Some(inner) = &self.0 {
            let mut state = inner.state();
            for key in keys {
                state.held.remove(key);
            }
        }
    }
}

/// Ends the thread. Claims that were not released by [`Claims::close`] end with their leases.
impl Drop for Claims {
    fn drop(&mut self) {
        if let Some(inner) = &self.0 {
            inner.closed.store(true, Ordering::Release);
        }
    }
}

/// The entries of the log that confirm these keys.
pub(super) fn confirmations(deduplication: Duration, keys: &[Arc<str>]) -> Vec<Entry<'_>> {
    let pieces = pieces(keys, |key| key.len());
    let entries = pieces.map(|piece| Entry::Confirm {
        kept: millis(deduplication),
        keys: piece.iter().map(|key| (&**key).into()).collect(),
    });
    entries.collect()
}

/// The result of an entry that was sent to the log.
type Written = rdkafka::producer::DeliveryFuture;

impl Inner {
    /// Opens the log. No thread reads it yet.
    async fn open(
        cluster: &Arc<Cluster>,
        subscription: &Subscription,
        deduplication: Duration,
    ) -> Result<Arc<Self>, TransportError> {
        let log = Log::new(cluster, subscription);
        log.open().await?;
        Ok(Arc::new(Inner {
            cluster: cluster.clone(),
            log,
            member: format!("{} {}", subscription.member, Uuid::now_v7().simple()),
            lease: subscription.lease,
            deduplication,
            state: Mutex::new(State {
                table: Table::new(millis(deduplication)),
                held: HashMap::new(),
                next: 0,
                calls: HashMap::new(),
                read: -1,
                error: None,
            }),
            progress: Notify::new(),
            closed: AtomicBool::new(false),
            replaces_reader: AtomicBool::new(false),
        }))
    }

    /// Appends claims of these keys.
    fn claim(&self, keys: &[Arc<str>]) -> Result<Claiming<'_>, TransportError> {
        let mut state = self.state();
        if self.closed.load(Ordering::Acquire) {
            let reason = "this consumer is closed: subscribe again to receive more";
            return Err(self.cluster.failure(TransportErrorKind::Closed, reason));
        }
        let first = state.next;
        let written = self.log.send(&Entry::Claim {
            member: (&*self.member).into(),
            first,
            lease: millis(self.lease),
            keys: keys.iter().map(|key| (&**key).into()).collect(),
        })?;
        state.next += keys.len() as u64;
        let (sender, results) = oneshot::channel();
        let keys = keys.to_vec();
        let call = Call {
            keys: keys.clone(),
            results: sender,
        };
        state.calls.insert(first, call);
        Ok(Claiming::new(self, first, keys, written, results))
    }

    /// Applies an entry that was read from the log.
    fn on_entry(&self, entry: &Entry<'_>, timestamp: u64) {
        let mut state = self.state();
        let claims = state.table.apply(entry, timestamp);
        if let Entry::Claim { member, first, .. } = entry
            && **member == *self.member
            && let Some(Call { keys, results }) = state.calls.remove(first)
        {
            let mut in_doubt = Vec::new();
            for ((key, number), claim) in keys.iter().zip(*first..).zip(&claims) {
                if *claim == Claim::Granted {
                    state.held.insert(key.clone(), number);
                } else if state.table.is_in_doubt(key, member, number) {
                    in_doubt.push(((&**key).into(), number));
                }
            }
            // If this fails, they end with their leases.
            _ = self.send_release(&in_doubt);
            // If the call was dropped, it releases them.
            _ = results.send(claims);
        }
    }

    fn send_release(&self, claims: &[Numbered<'_>]) -> Result<Vec<Written>, TransportError> {
        self.send_claims(claims, |claims| Entry::Release {
            member: (&*self.member).into(),
            claims,
        })
    }

    fn send_claims<'c>(
        &self,
        claims: &[Numbered<'c>],
        entry: impl Fn(Vec<Numbered<'c>>) -> Entry<'c>,
    ) -> Result<Vec<Written>, TransportError> {
        pieces(claims, |(key, _)| key.len())
            .map(|piece| self.log.send(&entry(piece.to_vec())))
            .collect()
    }

    async fn write(&self, entry: &Entry<'_>) -> Result<(), TransportError> {
        self.wait_for(vec![self.log.send(entry)?]).await
    }

    async fn wait_for(&self, entries: Vec<Written>) -> Result<(), TransportError> {
        for written in entries {
            match timeout(self.timeout(), written).await {
                Ok(written) => self.check(written)?,
                Err(_) => return Err(self.log.unanswered()),
            };
        }
        Ok(())
    }

    fn check(
        &self,
        written: Result<OwnedDeliveryResult, impl Sized>,
    ) -> Result<(), TransportError> {
        match written {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((e, _))) => Err(self.log.refused(&e)),
            Err(_) => Err(self.log.unanswered()),
        }
    }

    /// The error of an entry that was not read in time.
    fn unread(&self) -> TransportError {
        let doing = self.log.reading();
        match &self.state().error {
            Some(e) => self.cluster.error(&doing, e),
            None => self.cluster.unanswered(&doing),
        }
    }

    /// The time after which a call fails, if the client has not reported an error.
    fn timeout(&self) -> Duration {
        self.cluster.settings().deadline() + GRACE
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests;
