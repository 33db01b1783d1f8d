//! A member of a group, as its callers see it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use rdkafka::{ClientConfig, error::KafkaError};
use tokio::{
    sync::{OnceCell, watch},
    time::Instant,
};

use super::{
    assignment::{Assignment, Client, HandingOut, Settled, Wanted},
    claims::Claims,
    clients,
    consumer::KafkaReceipt,
    errors,
    membership::{Events, Shared},
    offsets,
    settings::{Settings, millis},
    topics::group_id,
    transactions::{Committer, Handling},
};
use static_bus_remote::transport::{
    Backlog, Claim, Delivery, Kind, Lease, Subscription, TransportError, TransportErrorKind,
};

const SESSION_TIMEOUT: &str = "session.timeout.ms";
/// How long a member may be gone until the cluster notices, depending on its lease; Kafka's servers allow no
/// less than 6 s.
const SESSION: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(10));

/// A member of a group.
pub(super) struct Member {
    settings: Arc<Settings>,
    subscription: Subscription,
    partitions: i32,
    shared: Arc<Shared>,
    claims: OnceCell<Claims>,
    /// With exactly once.
    handling: Option<Handling>,
}

impl Member {
    pub async fn join(
        settings: &Arc<Settings>,
        subscription: Subscription,
    ) -> Result<Self, TransportError> {
        let handling = Handling::begin(settings, &subscription)?;
        let (name, partitions) = settings.topic(&subscription.topic).await?;
        let group = group_id(
            &settings.namespace,
            &subscription.topic,
            &subscription.group,
        );
        let config = config(settings, &group, subscription.lease);
        let client: Client = clients::start(settings, &config, Events::default())?;
        let client = Arc::new(client);
        if subscription.topic.kind == Kind::Event {
            offsets::start(settings, &client, &name, partitions).await?;
        }
        let lease = subscription.lease;
        let handing_out = match subscription.topic.kind {
            // What is cut off is silent for longer.
            Kind::Query => HandingOut::Once(session(&config) / 2),
            _ => HandingOut::Leased(lease),
        };
        let in_transactions = handling.is_some();
        let assignment = Assignment::new(name.clone(), handing_out, in_transactions, client);
        let committer = in_transactions.then(|| Committer::new(settings, &subscription));
        let check = (lease / 20).clamp(Duration::from_millis(10), Duration::from_millis(500));
        let shared = Shared::start(name, assignment, committer, check);
        let shared = shared.ok_or_else(|| {
            TransportError::new(
                TransportErrorKind::Unreachable,
                settings.address.clone(),
                "no thread can be started",
            )
        })?;
        Ok(Member {
            settings: settings.clone(),
            subscription,
            partitions,
            shared,
            claims: OnceCell::new(),
            handling,
        })
    }

    fn at_most_once(&self) -> bool {
        self.subscription.topic.kind == Kind::Query
    }

    pub async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<KafkaReceipt>>, TransportError> {
        let end = Instant::now() + wait;
        loop {
            self.shared.receives();
            let arrived = self.shared.arrived.notified();
            // Nothing is awaited between taking records and giving them: none is lost on the way.
            let (got, error) = self.take(max);
            match error {
                Some(error) if got.is_empty() => return Err(self.error("receiving", &error)),
                _ if !got.is_empty() || Instant::now() >= end => return Ok(got),
                _ => _ = tokio::time::timeout_at(end, arrived).await,
            }
        }
    }

    fn take(&self, max: usize) -> (Vec<Delivery<KafkaReceipt>>, Option<KafkaError>) {
        let mut assignment = self.shared.assignment();
        let got = assignment.take(max);
        let error = assignment.error.take();
        drop(assignment);
        if let Some(handling) = &self.handling {
            handling.received(&got);
        }
        (got, error)
    }

    // ----- deduplication

    async fn claims(&self) -> Result<&Claims, TransportError> {
        let open = || {
            let Subscription {
                topic,
                group,
                member,
                lease,
                deduplication,
                ..
            } = &self.subscription;
            Claims::open(&self.settings, topic, group, member, *lease, *deduplication)
        };
        self.claims.get_or_try_init(open).await
    }

    pub async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        if keys.is_empty() || self.at_most_once() {
            return Ok(vec![Claim::Granted; keys.len()]);
        }
        self.claims().await?.claim(keys).await
    }

    /// The keys of leases.
    fn keys(&self, leases: &[Lease<KafkaReceipt>]) -> Vec<Arc<str>> {
        leases
            .iter()
            .filter_map(|lease| lease.claim.clone())
            .collect()
    }

    // ----- settling

    pub async fn acknowledge(&self, leases: &[Lease<KafkaReceipt>]) -> Result<(), TransportError> {
        if self.at_most_once() {
            return Ok(());
        }
        if let Some(handling) = &self.handling {
            return self.acknowledge_together(handling, leases).await;
        }
        let keys = self.keys(leases);
        if !keys.is_empty() {
            self.claims().await?.confirm(keys).await?;
        }
        self.acknowledge_records(leases.iter().map(|lease| lease.receipt))
            .await
    }

    async fn acknowledge_records(
        &self,
        receipts: impl Iterator<Item = KafkaReceipt>,
    ) -> Result<(), TransportError> {
        let settled = self.shared.settled.subscribe();
        let wanted = self.shared.assignment().acknowledge(receipts);
        self.committed(wanted, settled).await
    }

    /// Acknowledges records, confirms their keys and appends what their handlers have sent, all in one.
    /// Of those that come too late, the claims are given up: whoever has them now handles them.
    async fn acknowledge_together(
        &self,
        handling: &Handling,
        leases: &[Lease<KafkaReceipt>],
    ) -> Result<(), TransportError> {
        let settle = |lease: &Lease<KafkaReceipt>| Settled {
            receipt: lease.receipt,
            outputs: handling.settled(lease),
            key: lease.claim.clone(),
        };
        let settling = leases.iter().map(settle).collect();
        let settled = self.shared.settled.subscribe();
        let (wanted, late) = self.shared.assignment().settle(settling);
        self.committed(wanted, settled).await?;
        let Some(claims) = self.claims.get() else {
            return Ok(());
        };
        let late: Vec<_> = late.into_iter().filter_map(|one| one.key).collect();
        if !late.is_empty() {
            claims.give_up(late).await?;
        }
        claims.confirmed(&self.keys(leases));
        Ok(())
    }

    /// Waits until something is committed.
    async fn committed(
        &self,
        wanted: Option<Wanted>,
        mut settled: watch::Receiver<()>,
    ) -> Result<(), TransportError> {
        let Some(wanted) = wanted else {
            return Ok(());
        };
        self.shared.commit();
        let waiting = async {
            loop {
                if let Some(outcome) = self.outcome(wanted) {
                    return outcome;
                }
                if settled.changed().await.is_err() {
                    return Ok(());
                }
            }
        };
        match tokio::time::timeout(self.settings.deadline, waiting).await {
            Ok(outcome) => outcome,
            Err(_) => Err(errors::unanswered(&self.settings.address, "committing")),
        }
    }

    fn outcome(&self, wanted: Wanted) -> Option<Result<(), TransportError>> {
        let outcome = self.shared.assignment().outcome(wanted)?;
        Some(outcome.map_err(|e| self.error("committing", &e)))
    }

    pub fn failed(&self, receipt: &KafkaReceipt) {
        if let Some(handling) = &self.handling {
            handling.failed(receipt);
        }
    }

    pub async fn renew(&self, leases: &[Lease<KafkaReceipt>]) -> Result<(), TransportError> {
        if self.at_most_once() {
            return Ok(());
        }
        let receipts = leases.iter().map(|lease| lease.receipt);
        self.shared.assignment().renew(receipts);
        let keys = self.keys(leases);
        match keys.is_empty() {
            true => Ok(()),
            false => self.claims().await?.renew(keys).await,
        }
    }

    /// Gives records back. One whose key is done by now was handled, by a member that had lost it: it is
    /// acknowledged instead.
    pub async fn release(&self, leases: &[Lease<KafkaReceipt>]) -> Result<(), TransportError> {
        if self.at_most_once() {
            return Ok(());
        }
        if let Some(handling) = &self.handling {
            for Lease { receipt, .. } in leases {
                handling.failed(receipt);
                handling.settled(&Lease {
                    receipt: *receipt,
                    claim: None,
                });
            }
        }
        let (done, given_up) = match self.give_up(self.keys(leases)).await {
            Ok(done) => (done, Ok(())),
            Err(error) => (HashSet::new(), Err(error)),
        };
        let is_done = |lease: &&Lease<_>| lease.claim.as_ref().is_some_and(|k| done.contains(k));
        let (done, back): (Vec<_>, Vec<_>) = leases.iter().partition(is_done);
        let back = back.into_iter().map(|lease| lease.receipt);
        self.shared.assignment().release(back);
        self.shared.arrived.notify_one();
        if !done.is_empty() {
            let done = done.into_iter().map(|lease| lease.receipt);
            self.acknowledge_records(done).await?;
        }
        given_up
    }

    /// Gives claims up. Says which of the keys are done.
    async fn give_up(&self, keys: Vec<Arc<str>>) -> Result<HashSet<Arc<str>>, TransportError> {
        if keys.is_empty() {
            return Ok(HashSet::new());
        }
        let claims = self.claims().await?;
        let answers = claims.claim(&keys).await?;
        let (done, others): (Vec<_>, Vec<_>) = keys
            .into_iter()
            .zip(answers)
            .partition(|(_, claim)| *claim == Claim::Done);
        let keys = |of: Vec<(Arc<str>, Claim)>| of.into_iter().map(|(key, _)| key);
        claims.give_up(keys(others).collect()).await?;
        Ok(keys(done).collect())
    }

    pub async fn close(&self) -> Result<(), TransportError> {
        let mut ended = self.shared.ended.subscribe();
        let given_up = match self.claims.get() {
            Some(claims) => claims.close().await,
            None => Ok(()),
        };
        self.shared.closes();
        let ending = ended.wait_for(|ended| *ended);
        match tokio::time::timeout(self.settings.deadline, ending).await {
            Ok(_) => given_up,
            Err(_) => Err(errors::unanswered(
                &self.settings.address,
                "leaving a group",
            )),
        }
    }

    pub async fn backlog(&self) -> Result<Backlog, TransportError> {
        let client = self.shared.assignment().client.clone();
        let client = client.ok_or_else(|| {
            TransportError::new(
                TransportErrorKind::Closed,
                self.settings.address.clone(),
                "the member has left",
            )
        })?;
        let topic = &self.shared.topic;
        let group = offsets::group(&self.settings, &client, topic, self.partitions).await?;
        drop(client);
        let here = self.shared.assignment().behind(&group.bounds);
        self.shared.arrived.notify_one();
        group.backlog(&self.settings, topic, here).await
    }

    fn error(&self, doing: &str, error: &KafkaError) -> TransportError {
        errors::error(&self.settings.address, doing, error)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.closes();
    }
}

/// What a member's client is told, where it has not been set otherwise.
fn config(settings: &Settings, group: &str, lease: Duration) -> ClientConfig {
    let mut config = settings.consumer(group);
    let mut default = |name: &str, value: String| {
        if config.get(name).is_none() {
            config.set(name, value);
        }
    };
    default(SESSION_TIMEOUT, millis(lease.clamp(SESSION.0, SESSION.1)));
    default("heartbeat.interval.ms", "500".to_owned());
    // To know that only markers of transactions are left.
    default("enable.partition.eof", "true".to_owned());
    // To know when to leave.
    default("statistics.interval.ms", "200".to_owned());
    // For each partition.
    default("queued.min.messages", "10000".to_owned());
    default("queued.max.messages.kbytes", "8192".to_owned());
    config
}

/// How long a member may be gone until the cluster notices.
fn session(config: &ClientConfig) -> Duration {
    let set = config.get(SESSION_TIMEOUT);
    let set = set.and_then(|ms| ms.parse().ok());
    set.map_or(SESSION.0, Duration::from_millis)
}
