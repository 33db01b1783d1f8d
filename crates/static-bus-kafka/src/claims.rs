//! Deduplication keys: a lock table that a group keeps in a topic of its own.
//!
//! Members write what they claim, renew, confirm and give up to the topic, and each of them reads all
//! of it, in the order and with the timestamps that the broker gave it. From the same log all come to the
//! same table; a claim is granted if the key is free at its place in the log. So it does not matter which
//! member has which partition of the messages, nor when that changes.
//!
//! The topic has one partition: every member reads everything anyway, and a whole call is one record.

use std::{
    borrow::Cow,
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
    log::Log,
    table::Table,
};
use super::{errors, settings::Settings};
use static_bus_remote::{
    lock::lock,
    transport::{Claim, Topic, TransportError, TransportErrorKind},
};

mod claiming;
mod entry;
mod log;
mod reader;
mod table;

/// What a member of a group has to do with the group's keys.
pub(super) struct Claims(Option<Arc<Shared>>);

struct Shared {
    settings: Arc<Settings>,
    log: Log,
    /// A name that no other member has, nor had, nor will have.
    member: String,
    lease: Duration,
    kept: Duration,
    state: Mutex<State>,
    /// More of the log was read.
    progress: Notify,
    closed: AtomicBool,
}

struct State {
    table: Table,
    /// The keys that are this member's, and the numbers of their claims.
    mine: HashMap<Arc<str>, u64>,
    /// The number of the next claim.
    next: u64,
    /// Who waits for what becomes of claims, by the number of the first.
    asked: HashMap<u64, Asked>,
    /// Up to where the log was read.
    read: i64,
    /// What the reader last stumbled over.
    trouble: Option<KafkaError>,
}

struct Asked {
    keys: Vec<Arc<str>>,
    tell: oneshot::Sender<Vec<Claim>>,
}

impl Claims {
    /// Joins those who keep the keys of a group. With no time for which they are remembered there are no
    /// keys: every claim is granted.
    pub(super) async fn open(
        settings: &Arc<Settings>,
        topic: &Topic,
        group: &str,
        member: &Arc<str>,
        lease: Duration,
        kept: Option<Duration>,
    ) -> Result<Self, TransportError> {
        let Some(kept) = kept else {
            return Ok(Claims(None));
        };
        let log = Log::open(settings, topic, group, lease, kept).await?;
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            log,
            member: format!("{member} {}", Uuid::now_v7().simple()),
            lease,
            kept,
            state: Mutex::new(State {
                table: Table::new(millis(kept)),
                mine: HashMap::new(),
                next: 0,
                asked: HashMap::new(),
                read: -1,
                trouble: None,
            }),
            progress: Notify::new(),
            closed: AtomicBool::new(false),
        });
        let claims = Claims(Some(shared.clone()));
        reader::start(shared).await?;
        Ok(claims)
    }

    /// Claims keys, in order, each for the length of a lease.
    pub(super) async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        let Some(shared) = &self.0 else {
            return Ok(vec![Claim::Granted; keys.len()]);
        };
        let mut claimings = Vec::with_capacity(1);
        for piece in pieces(keys, |key| key.len()) {
            claimings.push(shared.ask(piece)?);
        }
        let mut claims = Vec::with_capacity(keys.len());
        for claiming in &mut claimings {
            claims.append(&mut claiming.answer().await?);
        }
        claimings.into_iter().for_each(Claiming::take);
        Ok(claims)
    }

    /// Says that what has these keys was handled, whoever claimed them.
    pub(super) async fn confirm(&self, keys: Vec<Arc<str>>) -> Result<(), TransportError> {
        let Some(shared) = &self.0 else {
            return Ok(());
        };
        for entry in confirmations(shared.kept, &keys) {
            shared.write(&entry).await?;
        }
        self.confirmed(&keys);
        Ok(())
    }

    /// Renews those claims that are not lost.
    pub(super) async fn renew(&self, keys: Vec<Arc<str>>) -> Result<(), TransportError> {
        let Some(shared) = &self.0 else {
            return Ok(());
        };
        let written = {
            // Until it is on its way, nobody gives up what is renewed here.
            let mut state = shared.state();
            let is_lost = |key: &&Arc<str>, state: &State| {
                let number = state.mine.get(*key).copied();
                number.is_none_or(|n| state.table.is_lost(key, &shared.member, n))
            };
            let (lost, kept): (Vec<_>, Vec<_>) = keys.iter().partition(|key| is_lost(key, &state));
            for key in lost {
                state.mine.remove(key);
            }
            let number = |key: &Arc<str>| state.mine[key];
            let claims: Vec<Numbered<'_>> = kept
                .into_iter()
                .map(|key| (Cow::Borrowed(&**key), number(key)))
                .collect();
            shared.send_claims(&claims, |claims| Entry::Renew {
                member: (&*shared.member).into(),
                lease: millis(shared.lease),
                claims,
            })?
        };
        shared.wait_for(written).await
    }

    /// Gives up what is claimed here.
    pub(super) async fn give_up(&self, keys: Vec<Arc<str>>) -> Result<(), TransportError> {
        let Some(shared) = &self.0 else {
            return Ok(());
        };
        let written = {
            let mut state = shared.state();
            let mine = keys.iter().filter_map(|key| {
                let number = state.mine.remove(key)?;
                Some((Cow::Borrowed(&**key), number))
            });
            let claims: Vec<Numbered<'_>> = mine.collect();
            shared.send_given_up(&claims)?
        };
        shared.wait_for(written).await
    }

    /// Gives up everything that is claimed here, and claims no more.
    pub(super) async fn close(&self) -> Result<(), TransportError> {
        let Some(shared) = &self.0 else {
            return Ok(());
        };
        let written = {
            let mut state = shared.state();
            if shared.closed.swap(true, Ordering::AcqRel) || state.next == 0 {
                return Ok(());
            }
            state.mine.clear();
            let member = (&*shared.member).into();
            shared.log.send(&Entry::Leave { member })?
        };
        shared.wait_for(vec![written]).await
    }

    /// They are confirmed, by other means.
    pub(super) fn confirmed(&self, keys: &[Arc<str>]) {
        if let Some(shared) = &self.0 {
            let mut state = shared.state();
            for key in keys {
                state.mine.remove(key);
            }
        }
    }
}

/// Without having been closed, it is a member that has crashed: its claims end with their leases.
impl Drop for Claims {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.closed.store(true, Ordering::Release);
        }
    }
}

/// What says in the log of claims that what has these keys was handled.
pub(super) fn confirmations(kept: Duration, keys: &[Arc<str>]) -> Vec<Entry<'_>> {
    let pieces = pieces(keys, |key| key.len());
    let entries = pieces.map(|piece| Entry::Confirm {
        kept: millis(kept),
        keys: piece.iter().map(|key| (&**key).into()).collect(),
    });
    entries.collect()
}

/// An entry on its way to the log.
type Written = rdkafka::producer::DeliveryFuture;

impl Shared {
    /// Writes down that these keys are claimed.
    fn ask(&self, keys: &[Arc<str>]) -> Result<Claiming<'_>, TransportError> {
        let mut state = self.state();
        if self.closed.load(Ordering::Acquire) {
            let reason = "this consumer is closed: subscribe again to receive more";
            return Err(TransportError::new(
                TransportErrorKind::Closed,
                self.settings.address.clone(),
                reason,
            ));
        }
        let first = state.next;
        let written = self.log.send(&Entry::Claim {
            member: (&*self.member).into(),
            first,
            lease: millis(self.lease),
            keys: keys.iter().map(|key| (&**key).into()).collect(),
        })?;
        state.next += keys.len() as u64;
        let (tell, told) = oneshot::channel();
        let keys = keys.to_vec();
        let asked = Asked {
            keys: keys.clone(),
            tell,
        };
        state.asked.insert(first, asked);
        Ok(Claiming::new(self, first, keys, written, told))
    }

    /// Takes in what was read from the log.
    fn on_entry(&self, entry: &Entry<'_>, timestamp: u64) {
        let mut state = self.state();
        let claims = state.table.apply(entry, timestamp);
        if let Entry::Claim { member, first, .. } = entry
            && **member == *self.member
            && let Some(Asked { keys, tell }) = state.asked.remove(first)
        {
            let mut in_doubt = Vec::new();
            for ((key, number), claim) in keys.iter().zip(*first..).zip(&claims) {
                if *claim == Claim::Granted {
                    state.mine.insert(key.clone(), number);
                } else if state.table.is_in_doubt(key, member, number) {
                    in_doubt.push((Cow::Borrowed(&**key), number));
                }
            }
            // If this fails, they end with their leases.
            _ = self.send_given_up(&in_doubt);
            // If nobody waits any more, they are being given up.
            _ = tell.send(claims);
        }
    }

    fn send_given_up(&self, claims: &[Numbered<'_>]) -> Result<Vec<Written>, TransportError> {
        self.send_claims(claims, |claims| Entry::GiveUp {
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
            match timeout(self.patience(), written).await {
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
            Ok(Err((e, _))) => Err(self.log.error(&e)),
            Err(_) => Err(self.log.unanswered()),
        }
    }

    /// Why what was written cannot be read.
    fn unread(&self) -> TransportError {
        let (address, doing) = (&self.settings.address, self.log.reading());
        match &self.state().trouble {
            Some(e) => errors::error(address, &doing, e),
            None => errors::unanswered(address, &doing),
        }
    }

    /// The client gives up at the deadline, and says why.
    fn patience(&self) -> Duration {
        self.settings.deadline + Duration::from_secs(2)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
