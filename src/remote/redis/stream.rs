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

use redis::{Cmd, Pipeline, Value, cmd};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{
    consumer::RedisReceipt,
    keeper, keys,
    keys::GroupKeys,
    link::{Link, lock},
    reader, scripts,
    scripts::Lua,
    state::{Reclaim, State},
    wire::EntryId,
};
use crate::remote::transport::{
    Backlog, Claim, Delivery, Kind, Lease, Subscription, TransportError,
};

/// A member of a group of commands or events.
pub(super) struct StreamMember {
    group: Arc<Group>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
    closed: AtomicBool,
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
    state: Mutex<State>,
}

impl StreamMember {
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
            .map_or(0, |kept| (millis(kept) / 2).max(1));
        let group = Arc::new(Group {
            state: Mutex::new(State::new(keys.streams.len())),
            keys,
            link,
            namespace,
            block,
            beat: (lease / 3).min(Duration::from_millis(500)),
            stretch,
            subscription: Subscription {
                lease,
                ..subscription
            },
            wake_reader: Notify::new(),
            wake_keeper: Notify::new(),
            fetched: Notify::new(),
        });
        let start = match group.subscription.topic.kind {
            Kind::Event => "$",
            _ => "0",
        };
        group.create(start).await?;
        let server = &group.link.server;
        let connection = match timeout(server.deadline, server.reopen()).await {
            Ok(opened) => opened.map_err(|e| server.error(&e))?,
            Err(_) => return Err(server.unanswered(server.deadline)),
        };
        keeper::beat(&group, &mut keeper::Mood::default()).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(reader::run(group.clone(), connection));
        tasks.spawn(keeper::run(group.clone()));
        Ok(StreamMember {
            group,
            tasks: tokio::sync::Mutex::new(tasks),
            closed: AtomicBool::new(false),
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
        let group = &*self.group;
        if group.stretch == 0 || keys.is_empty() {
            return Ok(vec![Claim::Granted; keys.len()]);
        }
        let mut call = scripts::CLAIM.call([&group.keys.claims, &group.keys.done].into_iter());
        call.arg(&*group.subscription.member);
        call.arg(millis(group.subscription.lease))
            .arg(group.stretch);
        for key in keys {
            call.arg(&**key);
        }
        let answer = group.link.run(&scripts::CLAIM, &call).await?;
        let Value::BulkString(digits) = answer else {
            return Err(group.link.server.unexpected("a claim"));
        };
        let claims: Vec<_> = digits
            .iter()
            .map(|digit| match digit {
                b'0' => Claim::Granted,
                b'1' => Claim::Held,
                _ => Claim::Done,
            })
            .collect();
        if claims.len() != keys.len() {
            return Err(group.link.server.unexpected("a claim"));
        }
        let mut state = group.state();
        for (key, claim) in keys.iter().zip(&claims) {
            if *claim == Claim::Granted {
                state.claims.insert(key.clone());
            }
        }
        Ok(claims)
    }

    pub async fn acknowledge(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        let group = &*self.group;
        let places = places(leases);
        let claims = leases.iter().filter_map(|lease| lease.claim.as_ref());
        if group.stretch > 0 && claims.clone().next().is_some() {
            let keys = [&group.keys.claims, &group.keys.done];
            let head = [group.stretch.to_string()];
            group
                .settle(&scripts::ACKNOWLEDGE, &keys, &head, claims, &places)
                .await?;
        } else {
            let mut acks = Pipeline::with_capacity(places.len());
            for (stream, ids) in &places {
                acks.cmd("XACK");
                acks.arg(&group.keys.streams[*stream]);
                acks.arg(&*group.subscription.group).arg(ids);
            }
            if acks.is_empty() {
                return Ok(());
            }
            for answer in group.link.send_all(&acks).await? {
                answer
                    .extract_error()
                    .map_err(|e| group.link.server.error(&e))?;
            }
        }
        group.settled(leases);
        Ok(())
    }

    pub async fn renew(&self, leases: &[Lease<RedisReceipt>]) -> Result<(), TransportError> {
        let group = &*self.group;
        let claims = leases.iter().filter_map(|lease| lease.claim.as_ref());
        group.renew(&places(leases), claims).await?;
        let until = Instant::now() + group.subscription.lease;
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
        let claims = leases.iter().filter_map(|lease| lease.claim.as_ref());
        group.release(&places(leases), claims, false).await?;
        group.settled(leases);
        let mut state = group.state();
        for (stream, _) in leases.iter().filter_map(|lease| lease.receipt.place()) {
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
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.tasks.lock().await.shutdown().await;
        let group = &*self.group;
        group.fetched.notify_one();
        let (unseen, claims) = {
            let mut state = group.state();
            let unseen = (0..state.streams.len()).filter_map(|n| {
                let ids: Vec<_> = state.streams[n].buffer.keys().copied().collect();
                (!ids.is_empty()).then_some((n, ids))
            });
            let unseen: BTreeMap<_, _> = unseen.collect();
            state.streams.iter_mut().for_each(|s| s.buffer.clear());
            (unseen, std::mem::take(&mut state.claims))
        };
        if !unseen.is_empty() {
            group.release(&unseen, [].iter(), true).await?;
        }
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
        for claim in claims {
            call.arg(&*claim);
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
        match self.closed.load(Ordering::Acquire) {
            true => Err(TransportError::new(
                self.group.link.server.address().clone(),
                "this consumer was closed",
            )),
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

    /// Renews leases that are still ours.
    pub async fn renew<'a>(
        &self,
        places: &Places,
        claims: impl Iterator<Item = &'a Arc<str>>,
    ) -> Result<(), TransportError> {
        let head = [millis(self.subscription.lease).to_string()];
        self.settle(&scripts::RENEW, &[&self.keys.claims], &head, claims, places)
            .await
    }

    /// Gives entries back; those that nobody saw do not count as handed out.
    pub async fn release<'a>(
        &self,
        places: &Places,
        claims: impl Iterator<Item = &'a Arc<str>>,
        unseen: bool,
    ) -> Result<(), TransportError> {
        let head = [u8::from(unseen).to_string()];
        self.settle(
            &scripts::RELEASE,
            &[&self.keys.claims],
            &head,
            claims,
            places,
        )
        .await
    }

    async fn settle<'a>(
        &self,
        script: &Lua,
        keys: &[&String],
        head: &[String],
        claims: impl Iterator<Item = &'a Arc<str>>,
        places: &Places,
    ) -> Result<(), TransportError> {
        let claims: Vec<_> = match self.stretch {
            0 => Vec::new(),
            _ => claims.collect(),
        };
        if claims.is_empty() && places.is_empty() {
            return Ok(());
        }
        let streams = places.keys().map(|n| &self.keys.streams[*n]);
        let keys: Vec<_> = keys.iter().copied().chain(streams).collect();
        let mut call: Cmd = script.call(keys.into_iter());
        call.arg(&*self.subscription.group);
        call.arg(&*self.subscription.member);
        call.arg(head).arg(claims.len());
        for claim in claims {
            call.arg(&**claim);
        }
        for ids in places.values() {
            call.arg(ids.len()).arg(ids);
        }
        self.link.run(script, &call).await?;
        Ok(())
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

/// Ids by stream, ascending.
pub(super) type Places = BTreeMap<usize, Vec<EntryId>>;

fn places(leases: &[Lease<RedisReceipt>]) -> Places {
    let mut places = Places::new();
    for (stream, id) in leases.iter().filter_map(|lease| lease.receipt.place()) {
        places.entry(stream).or_default().push(id);
    }
    places.values_mut().for_each(|ids| ids.sort_unstable());
    places
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
