//! The membership in a group of a command or an event: what a consumer's caller and its two tasks share.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use redis::{Cmd, Value};
use tokio::time::Instant;

use super::{
    budget::Budget,
    deduplication::{Deduplication, HeldClaim},
    demand::Demand,
    errors::is_missing,
    keys::GroupKeys,
    link::Link,
    partitions::PartitionCounts,
    receipt::{Ids, RedisReceipt, ids, pieces},
    replies::NewEntries,
    scripts,
    scripts::Lua,
    server::Server,
    streams::Streams,
    transaction::Transaction,
};
use static_bus_remote::{
    lock::lock,
    time::{later, millis},
    transport::{Backlog, Kind, Lease, Subscription, TransportError},
};

/// The largest number of entries that one call settles. Other clients of the server wait for it.
const CALL: usize = 500;

/// A member of a group.
///
/// The demand connects the caller with the reader, which fetches entries, and the heartbeat, which renews the
/// membership. The streams are what the member has read and owns.
pub(super) struct Membership {
    link: Link,
    keys: Arc<GroupKeys>,
    counts: Arc<PartitionCounts>,
    subscription: Subscription,
    block: Duration,
    budget: Budget,
    demand: Demand,
    deduplication: Deduplication,
    streams: Mutex<Streams>,
}

impl Membership {
    /// A member of a group, which is created where it is missing.
    pub async fn new(
        link: Link,
        counts: Arc<PartitionCounts>,
        subscription: Subscription,
        block: Duration,
    ) -> Result<Self, TransportError> {
        let lease = subscription.lease.max(Duration::from_millis(30));
        let subscription = subscription.with_lease(lease);
        let keys = Arc::new(counts.group_keys(&subscription).await?);
        let member = Membership {
            budget: Budget::new(),
            demand: Demand::new(),
            deduplication: Deduplication::new(link.clone(), keys.clone(), &subscription),
            streams: Mutex::new(Streams::new(keys.streams().len())),
            link,
            keys,
            counts,
            subscription,
            block,
        };
        let start = match member.subscription.topic.kind {
            Kind::Event => "$",
            _ => "0",
        };
        member.create(start).await?;
        Ok(member)
    }

    pub fn server(&self) -> Arc<Server> {
        self.link.server()
    }

    pub fn link(&self) -> &Link {
        &self.link
    }

    pub fn keys(&self) -> &GroupKeys {
        &self.keys
    }

    pub fn group(&self) -> &str {
        &self.subscription.group
    }

    /// The name of the member.
    pub fn name(&self) -> &str {
        &self.subscription.member
    }

    pub fn lease(&self) -> Duration {
        self.subscription.lease
    }

    /// The longest time for which a read blocks.
    pub fn block(&self) -> Duration {
        self.block.min(self.beat())
    }

    /// The time between two renewals of the membership.
    pub fn beat(&self) -> Duration {
        (self.lease() / 3).min(Duration::from_millis(500))
    }

    /// The bounds of answers with entries.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    pub fn demand(&self) -> &Demand {
        &self.demand
    }

    pub fn deduplication(&self) -> &Deduplication {
        &self.deduplication
    }

    pub fn streams(&self) -> MutexGuard<'_, Streams> {
        lock(&self.streams)
    }

    /// Buffers new entries of these streams.
    pub fn buffer(&self, streams: &[usize], entries: NewEntries) {
        let until = later(Instant::now(), self.lease());
        let keys = self.keys.streams();
        let mut all = self.streams();
        for (key, entries) in entries {
            if let Some(stream) = streams.iter().find(|n| keys[**n].as_bytes() == key) {
                all.insert(*stream, entries.into_iter().map(|e| (e, 1)), until);
            }
        }
    }

    /// Creates the group on all streams, where it is missing.
    async fn create(&self, start: &str) -> Result<(), TransportError> {
        let mut call = scripts::CREATE.call(self.keys.streams());
        call.arg(self.group()).arg(start);
        self.link.run(&scripts::CREATE, &call).await.map(drop)
    }

    /// Creates the group again, after the server lost its data. All entries of the streams are newer.
    pub async fn recreate(&self) -> Result<(), TransportError> {
        let partitions = self.keys.owners().len();
        self.counts
            .restore(&self.subscription.topic, partitions)
            .await?;
        self.create("0").await
    }

    /// Runs a script. If the group is missing, it is created again, and there is no answer.
    pub async fn run_on_group(
        &self,
        script: &Lua,
        call: &Cmd,
        limit: Duration,
    ) -> Result<Option<Value>, TransportError> {
        match self.link.attempt_run(script, call, limit).await? {
            Ok(answer) => Ok(Some(answer)),
            Err(e) if is_missing(&e) => self.recreate().await.map(|()| None),
            Err(e) => Err(self.server().error(&e)),
        }
    }

    /// Confirms deduplication keys and acknowledges entries, both or neither.
    pub async fn acknowledge(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        for leases in leases.chunks(CALL) {
            self.acknowledge_some(leases).await?;
        }
        Ok(())
    }

    async fn acknowledge_some(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        let claims = leases.iter().filter_map(|lease| lease.claim.as_ref());
        let mut transaction = Transaction::new();
        self.deduplication.confirm(&mut transaction, claims.clone());
        for (stream, ids) in ids(leases) {
            transaction.cmd("XACK").arg(&self.keys.streams()[stream]);
            transaction.arg(self.group()).arg(ids);
        }
        transaction.run(&self.link).await?;
        self.deduplication.forget(claims);
        let mut streams = self.streams();
        for Lease { receipt, .. } in leases {
            streams.settle(receipt.stream(), receipt.id());
        }
        Ok(())
    }

    /// Renews leases and claims that this member still has.
    pub async fn renew(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        let leases = self.streams().last(leases);
        for leases in leases.chunks(CALL) {
            let until = later(Instant::now(), self.lease());
            let claims = self.claims_of(leases);
            self.renew_entries(&ids(leases), &claims).await?;
            self.streams().renew(leases, until);
        }
        Ok(())
    }

    /// Renews the leases of buffered entries that end soon.
    pub async fn renew_buffered(&self) -> Result<(), TransportError> {
        let expiring = self.streams().expiring(self.lease());
        for ids in pieces(&expiring, CALL) {
            let until = later(Instant::now(), self.lease());
            self.renew_entries(&ids, &[]).await?;
            self.streams().renew_buffered(&ids, until);
        }
        Ok(())
    }

    async fn renew_entries(&self, ids: &Ids, claims: &[HeldClaim]) -> Result<(), TransportError> {
        let ends = self.deduplication.next_end();
        let head = [ends, millis(self.lease()) * 2];
        let Some(answer) = self.settle(&scripts::RENEW, &head, claims, ids).await? else {
            return Ok(());
        };
        let renewed = redis::from_redis_value(answer);
        let renewed = renewed.map_err(|_| self.server().unexpected("a renewal"))?;
        self.deduplication.renewed(claims, &renewed, ends);
        Ok(())
    }

    /// Gives entries and claims up, but for those that were delivered again since.
    pub async fn release(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        let leases = self.streams().last(leases);
        for leases in leases.chunks(CALL) {
            let claims = self.claims_of(leases);
            self.settle(&scripts::RELEASE, &[], &claims, &ids(leases))
                .await?;
            let claims = leases.iter().filter_map(|lease| lease.claim.as_ref());
            self.deduplication.forget(claims);
            self.streams().release(leases);
        }
        self.demand.wake_reader();
        Ok(())
    }

    /// Gives entries up that were not handed out.
    pub async fn release_buffered(&self, ids: &Ids) -> Result<(), TransportError> {
        for ids in pieces(ids, CALL) {
            self.settle(&scripts::RELEASE, &[], &[], &ids).await?;
        }
        Ok(())
    }

    /// Runs a script on claims and entries. There is no answer if there are none of both, or the group was missing.
    async fn settle(
        &self,
        script: &Lua,
        head: &[u64],
        claims: &[HeldClaim],
        ids: &Ids,
    ) -> Result<Option<Value>, TransportError> {
        if claims.is_empty() && ids.is_empty() {
            return Ok(None);
        }
        let streams = ids.keys().map(|n| &*self.keys.streams()[*n]);
        let mut call = script.call(std::iter::once(self.keys.claims()).chain(streams));
        call.arg(self.group()).arg(self.name());
        call.arg(head).arg(claims.len() * 2);
        for (key, ends) in claims {
            call.arg(&**key).arg(*ends);
        }
        for ids in ids.values() {
            call.arg(ids.len()).arg(ids);
        }
        let limit = self.server().deadline();
        self.run_on_group(script, &call, limit).await
    }

    fn claims_of(&self, leases: &[Lease<RedisReceipt>]) -> Vec<HeldClaim> {
        let keys = leases.iter().filter_map(|lease| lease.claim.as_ref());
        self.deduplication.claims_of(keys)
    }

    /// Leaves the group, and releases all entries, partitions and claims.
    pub async fn leave(&self) -> Result<(), TransportError> {
        self.streams().clear_buffers();
        let claims: Vec<_> = self.deduplication.take_all().into_iter().collect();
        for claims in claims.chunks(CALL) {
            self.settle(&scripts::RELEASE, &[], claims, &Ids::new())
                .await?;
        }
        let keys = std::iter::once(self.keys.members());
        let mut call = scripts::LEAVE.call(
            keys.chain(self.keys.streams().iter().map(String::as_str))
                .chain(self.keys.owners().iter().map(String::as_str)),
        );
        call.arg(self.group()).arg(self.name());
        call.arg(self.keys.streams().len());
        while self.link.run(&scripts::LEAVE, &call).await? == Value::Int(0) {}
        Ok(())
    }

    pub async fn backlog(&self) -> Result<Backlog, TransportError> {
        let mut call = scripts::BACKLOG.call(self.keys.streams());
        call.arg(self.group());
        let answer = self.link.run(&scripts::BACKLOG, &call).await?;
        let numbers: Option<Vec<u64>> = redis::from_redis_value(answer).ok();
        match numbers.as_deref() {
            Some(&[pending, lag, oldest]) => Ok(Backlog {
                pending,
                lag,
                oldest: Duration::from_millis(oldest),
            }),
            _ => Err(self.server().unexpected("the script of the backlog")),
        }
    }
}
