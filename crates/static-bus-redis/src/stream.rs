//! Consumers of commands and events: members of a group that reads the topic's streams.
//!
//! Two tasks work for a member, and meet its caller in the [`State`]: the [`reader`](super::reader)
//! fetches entries when the caller wants some, and the [`keeper`](super::keeper) gives signs of
//! life, takes its share of the partitions, and tidies up.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{Cmd, cmd};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{
    consumer::RedisReceipt,
    keeper, keys,
    keys::GroupKeys,
    link::Link,
    reader, scripts,
    scripts::Lua,
    state::{Reclaim, State},
    wire::EntryId,
};
use static_bus_remote::{
    lock::lock,
    time::millis,
    transport::{Backlog, Claim, Delivery, Kind, Lease, Subscription, TransportError},
};

/// A member of a group of commands or events.
pub(super) struct StreamMember {
    group: Arc<Group>,
    tasks: tokio::sync::Mutex<Tasks>,
}

struct Tasks {
    reader: JoinSet<()>,
    keeper: JoinSet<()>,
}

/// What a member's tasks share.
pub(super) struct Group {
    pub link: Arc<Link>,
    pub keys: GroupKeys,
    pub namespace: Arc<str>,
    pub subscription: Subscription,
    pub block: Duration,
    /// How often the keeper gives a sign of life.
    pub beat: Duration,
    /// The stretch of time whose handled keys are kept together, in milliseconds.
    pub stretch: u64,
    pub wake_reader: Notify,
    pub wake_keeper: Notify,
    /// For the caller: something was fetched, or was not.
    pub fetched: Notify,
    pub closed: AtomicBool,
    state: Mutex<State>,
}

impl StreamMember {
    /// Key and entry, as `XRANGE` takes them.
    pub fn place(&self, stream: u16, id: EntryId) -> String {
        format!("{} {id}", self.group.keys.streams[usize::from(stream)])
    }

    pub async fn join(
        link: Arc<Link>,
        namespace: Arc<str>,
        subscription: Subscription,
        partitions: usize,
        block: Duration,
    ) -> Result<Self, TransportError> {
        let keys = GroupKeys::new(
            &namespace,
            &subscription.topic,
            &subscription.group,
            partitions,
        );
        let lease = subscription.lease.max(Duration::from_millis(30));
        let stretch = subscription
            .deduplication
            .map_or(0, |kept| millis(kept).max(1));
        let group = Arc::new(Group {
            state: Mutex::new(State::new(keys.streams.len())),
            keys,
            link,
            namespace,
            block,
            beat: (lease / 3).min(Duration::from_millis(500)),
            stretch,
            subscription: subscription.with_lease(lease),
            wake_reader: Notify::new(),
            wake_keeper: Notify::new(),
            fetched: Notify::new(),
            closed: AtomicBool::new(false),
        });
        let start = match group.subscription.topic.kind {
            Kind::Event => "$",
            _ => "0",
        };
        group.create(start).await?;
        let server = &group.link.server;
        let connection = match timeout(server.deadline, server.open_reader()).await {
            Ok(opened) => opened.map_err(|e| server.error(&e))?,
            Err(_) => return Err(server.unanswered(server.deadline)),
        };
        keeper::beat(&group, &mut keeper::Mood::default()).await?;
        let mut tasks = Tasks {
            reader: JoinSet::new(),
            keeper: JoinSet::new(),
        };
        tasks.reader.spawn(reader::run(group.clone(), connection));
        tasks.keeper.spawn(keeper::run(group.clone()));
        Ok(StreamMember {
            group,
            tasks: tokio::sync::Mutex::new(tasks),
        })
    }

    pub async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery<RedisReceipt>>, TransportError> {
        let group = &*self.group;
        let end = Instant::now() + wait;
        let limit = end + group.link.server.deadline;
        let round = {
            let mut state = group.state();
            if state.asked.elapsed() > group.beat {
                group.wake_keeper.notify_one();
            }
            state.asked = Instant::now();
            let deliveries = state.hand_out(max);
            if !deliveries.is_empty() || max == 0 {
                return Ok(deliveries);
            }
            state.wanted = Some((max, end));
            state.rounds
        };
        let _wants = Wants(group);
        loop {
            self.check_open()?;
            group.wake_reader.notify_one();
            let until = if Instant::now() < end { end } else { limit };
            let told = timeout_at(until, group.fetched.notified()).await;
            let mut state = group.state();
            let deliveries = state.hand_out(max);
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            if Instant::now() < end {
                continue;
            }
            let trouble = || group.link.server.trouble();
            if let Some(trouble) = state.trouble.clone().or_else(trouble) {
                return Err(trouble);
            }
            if state.rounds > round {
                return Ok(Vec::new());
            }
            if told.is_err() && until == limit {
                return Err(group.link.server.unanswered(group.link.server.deadline));
            }
        }
    }

    pub async fn claim(&self, keys: &[Arc<str>]) -> Result<Vec<Claim>, TransportError> {
        self.group.claim(keys).await
    }

    pub async fn acknowledge(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        let group = &*self.group;
        let claims = leases.iter().filter_map(|lease| lease.claim.as_ref());
        group.acknowledge(&places(leases), claims).await?;
        group.settled(leases);
        Ok(())
    }

    pub async fn renew(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        let group = &*self.group;
        let until = Instant::now() + group.subscription.lease;
        let claims = group.claims_of(leases);
        group.renew(&places(leases), &claims).await?;
        let mut state = group.state();
        for lease in leases {
            if let Some(held) = state.held.get_mut(&lease.receipt) {
                *held = until;
            }
        }
        Ok(())
    }

    pub async fn release(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        let group = &*self.group;
        let claims = group.claims_of(leases);
        group.release(&places(leases), &claims).await?;
        group.settled(leases);
        let mut state = group.state();
        for (stream, _) in leases.iter().map(|lease| lease.receipt.place()) {
            match stream {
                0 => state.reclaim = Reclaim::Rests(Instant::now()),
                partition => state.look_again(partition),
            }
        }
        drop(state);
        group.wake_reader.notify_one();
        Ok(())
    }

    pub async fn close(&self) -> Result<(), TransportError> {
        let group = &*self.group;
        if group.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        group.fetched.notify_one();
        group.wake_reader.notify_one();
        let mut tasks = self.tasks.lock().await;
        // What the server gave to a read that nobody waits for would be found when its lease ends.
        let reading = group.state().blocked;
        if let Some(number) = reading {
            group.link.unblock(number).await;
        }
        let patience = group.beat + group.link.server.deadline;
        let _ = timeout(patience, tasks.reader.join_next()).await;
        tasks.reader.shutdown().await;
        tasks.keeper.shutdown().await;
        let claims = {
            let mut state = group.state();
            state.streams.iter_mut().for_each(|s| s.buffer.clear());
            std::mem::take(&mut state.claims)
        };
        let keys = [&group.keys.members, &group.keys.claims];
        let keys: Vec<_> = keys
            .into_iter()
            .chain(&group.keys.streams)
            .chain(&group.keys.owners)
            .collect();
        let mut call = scripts::LEAVE.call(keys.into_iter());
        call.arg(&*group.subscription.group);
        call.arg(&*group.subscription.member);
        call.arg(group.keys.streams.len());
        for (key, ends) in claims {
            call.arg(&*key).arg(ends);
        }
        group.link.run(&scripts::LEAVE, &call).await?;
        Ok(())
    }

    pub async fn backlog(&self) -> Result<Backlog, TransportError> {
        let group = &*self.group;
        let mut call = scripts::BACKLOG.call(group.keys.streams.iter());
        call.arg(&*group.subscription.group);
        let answer = group.link.run(&scripts::BACKLOG, &call).await?;
        let numbers: Option<Vec<u64>> = redis::from_redis_value(answer).ok();
        match numbers.as_deref() {
            Some(&[pending, lag, oldest]) => Ok(Backlog {
                pending,
                lag,
                oldest: Duration::from_millis(oldest),
            }),
            _ => Err(group.link.server.unexpected("a question for the backlog")),
        }
    }

    fn check_open(&self) -> Result<(), TransportError> {
        match self.group.closed.load(Ordering::Acquire) {
            true => Err(self.group.link.server.closed("consumer")),
            false => Ok(()),
        }
    }
}

impl Group {
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Creates the group on all streams, where it is missing.
    pub async fn create(&self, start: &str) -> Result<(), TransportError> {
        let mut call = scripts::CREATE.call(self.keys.streams.iter());
        call.arg(&*self.subscription.group).arg(start);
        self.link.run(&scripts::CREATE, &call).await?;
        Ok(())
    }

    /// Creates the group again, after the server lost its data. What the streams hold now came after.
    pub async fn recreate(&self) -> Result<(), TransportError> {
        let mut command = cmd("HSETNX");
        command
            .arg(keys::partitions(&self.namespace))
            .arg(keys::topic(&self.subscription.topic))
            .arg(self.keys.owners.len());
        self.link.send(&command).await?;
        self.create("0").await
    }

    /// Renews leases and claims that are still ours.
    pub async fn renew(&self, places: &Places, claims: &[Claimed]) -> Result<(), TransportError> {
        let lease = millis(self.subscription.lease);
        let ends = self.state().server_time() + lease;
        let head = [ends, lease * 2];
        self.settle(&scripts::RENEW, &head, claims, places).await?;
        let mut state = self.state();
        for (key, before) in claims {
            // What was lost meanwhile is not ours to the server, whatever is noted here.
            if let Some(noted) = state.claims.get_mut(key).filter(|noted| *noted == before) {
                *noted = ends;
            }
        }
        Ok(())
    }

    /// Gives entries back, and claims up.
    pub async fn release(&self, places: &Places, claims: &[Claimed]) -> Result<(), TransportError> {
        self.settle(&scripts::RELEASE, &[], claims, places).await
    }

    async fn settle(
        &self,
        script: &Lua,
        head: &[u64],
        claims: &[Claimed],
        places: &Places,
    ) -> Result<(), TransportError> {
        if claims.is_empty() && places.is_empty() {
            return Ok(());
        }
        let streams = places.keys().map(|n| &self.keys.streams[*n]);
        let keys: Vec<_> = std::iter::once(&self.keys.claims).chain(streams).collect();
        let mut call: Cmd = script.call(keys.into_iter());
        call.arg(&*self.subscription.group);
        call.arg(&*self.subscription.member);
        call.arg(head).arg(claims.len() * 2);
        for (key, ends) in claims {
            call.arg(&**key).arg(*ends);
        }
        for ids in places.values() {
            call.arg(ids.len()).arg(ids);
        }
        self.link.run(script, &call).await?;
        Ok(())
    }

    fn claims_of(&self, leases: &[Lease<RedisReceipt>]) -> Vec<Claimed> {
        let state = self.state();
        let claims = leases.iter().filter_map(|lease| {
            let key = lease.claim.as_ref()?;
            Some((key.clone(), *state.claims.get(key)?))
        });
        claims.collect()
    }

    fn settled(&self, leases: &[Lease<RedisReceipt>]) {
        let mut state = self.state();
        for lease in leases {
            state.settle(&lease.receipt);
            if let Some(claim) = &lease.claim {
                state.claims.remove(claim);
            }
        }
    }
}

/// The caller waits for entries as long as this lives.
struct Wants<'a>(&'a Group);

impl Drop for Wants<'_> {
    fn drop(&mut self) {
        self.0.state().wanted = None;
    }
}

/// A deduplication key, and the end of this member's claim.
pub(super) type Claimed = (Arc<str>, u64);

/// Ids by stream, ascending.
pub(super) type Places = BTreeMap<usize, Vec<EntryId>>;

fn places(leases: &[Lease<RedisReceipt>]) -> Places {
    let mut places = Places::new();
    for (stream, id) in leases.iter().map(|lease| lease.receipt.place()) {
        places.entry(stream).or_default().push(id);
    }
    places.values_mut().for_each(|ids| ids.sort_unstable());
    places
}
