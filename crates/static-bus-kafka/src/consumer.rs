//! Members of groups of commands and events.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, OnceCell},
    time::{Instant, sleep_until, timeout},
};

use super::{
    assignment::{Assignment, Leased},
    backlog::GroupOffsets,
    claims::Claims,
    cluster::Cluster,
    membership::{self, MAX_SESSION_TIMEOUT, MIN_SESSION_TIMEOUT, Member},
    names::group_id,
    offsets,
    outputs::{Acknowledgement, Attempt, Handling},
    pace::Pace,
    receipt::KafkaReceipt,
    transactions::Committer,
};
use static_bus_remote::transport::{
    Backlog, Claim, Consumer, Delivery, Kind, Lease, Scope, Subscription, TransportError,
    TransportErrorKind,
};

/// The size of the output in bytes with which a transaction begins to be committed, so that it ends in time on a slow
/// link. The output of one message is never divided.
const MAX_TRANSACTION_BYTES: usize = 4_000_000;

/// The shortest interval of acknowledgements. A commit and a confirmation cost the cluster as much for one record as for
/// hundreds.
const ACKNOWLEDGEMENT_INTERVAL: Duration = Duration::from_millis(10);
/// The same after [`MANY`] records.
const LOADED_ACKNOWLEDGEMENT_INTERVAL: Duration = Duration::from_millis(50);
/// The shortest interval from [`MANY`] records whose keys are claimed to the next ones, unless more were there than the
/// caller wanted. A claim, too, costs as much for one key as for hundreds.
const LOADED_CLAIM_INTERVAL: Duration = Duration::from_millis(5);
/// The number of records from which on a call has to do with load, and the next ones may wait for others.
const MANY: usize = 32;

/// A member of a group of a command or an event.
///
/// If it is dropped without [`close`](Consumer::close), its claims stay held until their leases run out, as those of
/// a process that crashed.
pub struct KafkaConsumer {
    cluster: Arc<Cluster>,
    subscription: Subscription,
    topic: Arc<str>,
    member: Member<Leased>,
    /// Opened at the first use.
    claims: OnceCell<Claims>,
    /// With exactly once.
    handling: Option<Handling>,
    /// Locked by a trial of output.
    trial: Mutex<()>,
    acknowledgements_pace: Pace,
    claims_pace: Pace,
}

impl KafkaConsumer {
    /// Joins a group.
    pub(super) async fn join(
        cluster: &Arc<Cluster>,
        subscription: Subscription,
    ) -> Result<Self, TransportError> {
        let Subscription {
            topic: of,
            group,
            member,
            lease,
            ..
        } = &subscription;
        let settings = cluster.settings();
        if !matches!(of.kind, Kind::Command | Kind::Event) {
            return Err(TransportError::not_consumed(settings.address().clone(), of));
        }
        let handling = match settings.exactly_once() {
            true => Some(Handling::new(cluster, &subscription)?),
            false => None,
        };
        let topic = cluster.topics().get(of).await?.name;
        let group = group_id(settings.namespace(), of, group);
        let session_timeout = (*lease).clamp(MIN_SESSION_TIMEOUT, MAX_SESSION_TIMEOUT);
        let config = settings.member(&group, member);
        let config = membership::with_defaults(config, session_timeout);
        let client = membership::client(cluster, &config)?;
        if of.kind == Kind::Event {
            offsets::begin_at_end(cluster, &client, &topic).await?;
        }
        let committer = handling.as_ref();
        let committer = committer.map(|_| Committer::new(cluster, &subscription));
        let assignment =
            Assignment::new(topic.clone(), *lease, committer.is_some(), client.clone());
        let member = Member::start(cluster, config, client, assignment, committer)?;
        Ok(KafkaConsumer {
            cluster: cluster.clone(),
            subscription,
            topic,
            member,
            claims: OnceCell::new(),
            handling,
            trial: Mutex::default(),
            acknowledgements_pace: Pace::new(),
            claims_pace: Pace::new(),
        })
    }

    async fn claims(&self) -> Result<&Claims, TransportError> {
        let open = || Claims::open(&self.cluster, &self.subscription);
        self.claims.get_or_try_init(open).await
    }

    /// Acknowledges records without their keys.
    async fn acknowledge_records(
        &self,
        receipts: impl Iterator<Item = KafkaReceipt>,
    ) -> Result<(), TransportError> {
        let acknowledge = |assignment: &mut Assignment<_>| (assignment.acknowledge(receipts), ());
        self.member.commit(acknowledge).await
    }

    /// Acknowledges records, confirms their keys and appends the output of their handlers in the same transaction. The
    /// claims of records whose lease is lost are released, because another member handles these records.
    async fn acknowledge_in_transaction(
        &self,
        handling: &Handling,
        leases: &[Lease<KafkaReceipt>],
    ) -> Result<(), TransportError> {
        let (mut lost, mut rest) = (Vec::new(), leases);
        while !rest.is_empty() {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while let Some((lease, others)) = rest.split_first()
                && bytes < MAX_TRANSACTION_BYTES
            {
                let outputs = handling.settled(lease);
                bytes += outputs.iter().map(|output| output.size).sum::<usize>();
                some.push(Acknowledgement {
                    receipt: lease.receipt,
                    outputs,
                    key: lease.claim.clone(),
                });
                rest = others;
            }
            let acknowledge = |assignment: &mut Assignment<_>| assignment.acknowledge_with(some);
            lost.append(&mut self.member.commit(acknowledge).await?);
        }
        let Some(claims) = self.claims.get() else {
            return Ok(());
        };
        if !lost.is_empty() {
            claims.release(lost).await?;
        }
        claims.forget(&keys(leases));
        Ok(())
    }

    /// Releases claims. Returns those of the keys that are confirmed.
    async fn release_claims(
        &self,
        keys: Vec<Arc<str>>,
    ) -> Result<HashSet<Arc<str>>, TransportError> {
        if keys.is_empty() {
            return Ok(HashSet::new());
        }
        let claims = self.claims().await?;
        let results = claims.claim(&keys).await?;
        let (done, others): (Vec<_>, Vec<_>) = keys
            .into_iter()
            .zip(results)
            .partition(|(_, claim)| *claim == Claim::Done);
        let keys = |of: Vec<(Arc<str>, Claim)>| of.into_iter().map(|(key, _)| key);
        claims.release(keys(others).collect()).await?;
        Ok(keys(done).collect())
    }
}

impl Consumer for KafkaConsumer {
    type Receipt = KafkaReceipt;

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<KafkaReceipt>>, TransportError> {
        let begun = Instant::now();
        if timeout(wait, self.claims_pace.wait()).await.is_err() {
            return Ok(Vec::new());
        }
        let wait = wait.saturating_sub(begun.elapsed());
        let received = self.member.receive(max, wait).await?;
        let is_claimed = self.subscription.deduplication.is_some();
        if is_claimed && (MANY..max).contains(&received.len()) {
            self.claims_pace.begin(LOADED_CLAIM_INTERVAL);
        }
        Ok(received)
    }

    async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        match keys.is_empty() {
            true => Ok(Vec::new()),
            false => self.claims().await?.claim(keys).await,
        }
    }

    async fn acknowledge(&self, leases: &[Lease<KafkaReceipt>]) -> Result<(), TransportError> {
        if let Some(handling) = &self.handling {
            return self.acknowledge_in_transaction(handling, leases).await;
        }
        self.acknowledgements_pace.wait().await;
        self.acknowledgements_pace.begin(match leases.len() < MANY {
            true => ACKNOWLEDGEMENT_INTERVAL,
            false => LOADED_ACKNOWLEDGEMENT_INTERVAL,
        });
        let keys = keys(leases);
        if !keys.is_empty() {
            self.claims().await?.confirm(keys).await?;
        }
        self.acknowledge_records(leases.iter().map(|lease| lease.receipt))
            .await
    }

    fn place(&self, receipt: &KafkaReceipt) -> Option<String> {
        let (partition, offset) = (receipt.partition(), receipt.offset());
        Some(format!("partition {partition}, offset {offset}"))
    }

    fn begin(&self, receipt: &KafkaReceipt) -> Option<Scope> {
        let handling = self.handling.as_ref()?;
        Some(handling.begin(receipt))
    }

    const FINISHES: bool = true;

    /// Tries the output out if the cluster has refused such output a while ago: a refusal is then a failure of this attempt,
    /// and of no other message in the same transaction.
    async fn finish(
        &self,
        lease: &Lease<KafkaReceipt>,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        let is_suspect = |outputs: &[_]| self.member.suspects(&lease.receipt, outputs);
        let outputs = Attempt::outputs_if(scope, is_suspect);
        if outputs.is_empty() {
            return Ok(());
        }
        let _one = self.trial.lock().await;
        let trial = Acknowledgement {
            receipt: lease.receipt,
            outputs,
            key: None,
        };
        self.member.try_out(trial).await
    }

    async fn renew(&self, leases: &[Lease<KafkaReceipt>]) -> Result<(), TransportError> {
        let receipts = leases.iter().map(|lease| lease.receipt);
        self.member.assignment().renew(receipts);
        let keys = keys(leases);
        match keys.is_empty() {
            true => Ok(()),
            false => self.claims().await?.renew(keys).await,
        }
    }

    /// Releases records. A record whose key is confirmed was handled by a member that had lost it, and is
    /// acknowledged instead.
    async fn release(&self, leases: &[Lease<KafkaReceipt>]) -> Result<(), TransportError> {
        if let Some(handling) = &self.handling {
            for lease in leases {
                // The output is dropped.
                handling.settled(lease);
            }
        }
        let (done, released) = match self.release_claims(keys(leases)).await {
            Ok(done) => (done, Ok(())),
            Err(error) => (HashSet::new(), Err(error)),
        };
        let is_done = |lease: &&Lease<_>| lease.claim.as_ref().is_some_and(|k| done.contains(k));
        let (done, others): (Vec<_>, Vec<_>) = leases.iter().partition(is_done);
        let others = others.into_iter().map(|lease| lease.receipt);
        self.member.assignment().release(others);
        self.member.wake();
        if !done.is_empty() {
            let done = done.into_iter().map(|lease| lease.receipt);
            self.acknowledge_records(done).await?;
        }
        released
    }

    async fn close(&self) -> Result<(), TransportError> {
        let begun = Instant::now();
        let deadline = self.cluster.settings().deadline();
        let released = async {
            match self.claims.get() {
                Some(claims) => claims.close().await,
                None => Ok(()),
            }
        };
        let released = tokio::select! {
            biased;
            released = released => released,
            () = self.member.cluster_is_gone() => Err(self.cluster.unanswered("releasing claims")),
            () = sleep_until(begun + deadline / 2) => Err(self.cluster.unanswered("releasing claims")),
        };
        self.member.close(begun + deadline).await?;
        released
    }

    async fn backlog(&self) -> Result<Backlog, TransportError> {
        let client = self.member.assignment().client().ok_or_else(|| {
            let reason = "this consumer is closed: subscribe again to receive more";
            self.cluster.failure(TransportErrorKind::Closed, reason)
        })?;
        let looking = async {
            let group = GroupOffsets::read(&self.cluster, client, &self.topic).await?;
            let looked = std::time::Instant::now();
            let own = self.member.assignment().backlog(&group);
            self.member.wake();
            let waiting = group.waiting(&self.cluster, &own.unread).await?;
            Ok((looked, own, waiting))
        };
        let seen = looking.await;
        let mut assignment = self.member.assignment();
        match seen {
            Ok((looked, own, waiting)) => {
                // By then, a request that got no answer has been sent again.
                let longest = 2 * self.cluster.settings().request_timeout();
                assignment.note_unfetched(&waiting, looked, longest);
                Ok(own.of_group(&waiting))
            }
            Err(error) => {
                assignment.forget_unfetched();
                Err(error)
            }
        }
    }
}

/// The claimed keys of leases.
fn keys(leases: &[Lease<KafkaReceipt>]) -> Vec<Arc<str>> {
    let keys = leases.iter().filter_map(|lease| lease.claim.clone());
    keys.collect()
}

impl fmt::Debug for KafkaConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConsumer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
