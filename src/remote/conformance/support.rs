//! What the cases share: waits with a deadline, members that speak plainly, a tally of records.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    panic,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::super::transport::{
    Backlog, Claim, Consumer, Delivery, Kind, Lease, Record, Subscription, Topic, Transport,
    TransportError,
};
use super::{Harness, Outcome, Skipped};

/// How long anything may take that should happen soon.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
/// How long "at once" may take on a busy machine.
pub(super) const AT_ONCE: Duration = Duration::from_secs(10);
/// A lease that outlasts every case.
pub(super) const LONG: Duration = Duration::from_secs(600);
/// How long a member listens for what must not come.
pub(super) const SILENCE: Duration = Duration::from_millis(300);

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not done after {DEADLINE:?}"),
    }
}

pub(super) async fn must<T>(
    what: &str,
    future: impl Future<Output = Result<T, TransportError>>,
) -> T {
    match within(what, future).await {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Waits for all tasks; one that panics makes its caller panic.
pub(super) async fn join_all<T: 'static>(mut tasks: JoinSet<T>) -> Vec<T> {
    let mut results = Vec::new();
    while let Some(result) = tasks.join_next().await {
        match result {
            Ok(value) => results.push(value),
            Err(error) => panic::resume_unwind(error.into_panic()),
        }
    }
    results
}

pub(super) fn needs_key_order<T: Transport>(transport: &T) -> Outcome {
    needs(
        transport.capabilities().key_order,
        "the engine does not keep the order of keys",
    )
}

pub(super) fn needs_other_processes<T: Transport>(transport: &T) -> Outcome {
    needs(
        transport.capabilities().other_processes,
        "the engine's records do not outlive the process that appended them",
    )
}

pub(super) fn needs_restart<H: Harness>(harness: &H, transport: &H::Transport) -> Outcome {
    needs(
        transport.capabilities().persistence,
        "the engine's records do not outlive a restart of the broker",
    )?;
    needs(harness.restarts(), "the harness cannot restart the broker")
}

fn needs(met: bool, reason: &'static str) -> Outcome {
    if met { Ok(()) } else { Err(Skipped(reason)) }
}

pub(super) fn topic(kind: Kind, name: impl Into<String>) -> Topic {
    Topic {
        kind,
        name: name.into().into(),
    }
}

/// A record that names itself in its headers and its body.
pub(super) fn record(id: usize) -> Record {
    Record {
        headers: [("id", id.to_string().as_str())].into_iter().collect(),
        body: format!("body of {id}").into(),
        ..Record::default()
    }
}

pub(super) fn keyed(id: usize, key: &str) -> Record {
    Record {
        key: Some(key.into()),
        ..record(id)
    }
}

pub(super) fn id(record: &Record) -> usize {
    let named = record.headers.get("id").and_then(|id| id.parse().ok());
    let Some(id) = named else {
        panic!("a record came without its headers: {record:?}")
    };
    let body = format!("body of {id}");
    assert!(
        record.body == body.as_bytes(),
        "record {id} came with a body that is not its own: {:?}",
        record.body
    );
    id
}

pub(super) fn ids<R>(deliveries: &[Delivery<R>]) -> Vec<usize> {
    deliveries.iter().map(|d| id(&d.record)).collect()
}

/// Appends records to one topic; each has to be confirmed.
pub(super) async fn append<T: Transport>(
    transport: &T,
    topic: &Topic,
    records: impl IntoIterator<Item = Record>,
) {
    let mut records = records.into_iter().map(|r| (topic.clone(), r)).peekable();
    while records.peek().is_some() {
        let some: Vec<_> = records.by_ref().take(500).collect();
        for result in within("append", transport.append(some)).await {
            result.unwrap_or_else(|error| panic!("append: {error}"));
        }
    }
}

pub(super) fn subscription(topic: &Topic, group: &str, member: &str) -> Subscription {
    Subscription {
        lease: LONG,
        ..Subscription::new(topic.clone(), group.to_owned(), member)
    }
}

/// Joins a group with a lease that nothing outlasts.
pub(super) async fn join<T: Transport>(
    transport: &T,
    topic: &Topic,
    group: &str,
    member: &str,
) -> Member<T::Consumer> {
    join_as(transport, subscription(topic, group, member)).await
}

pub(super) async fn join_as<T: Transport>(
    transport: &T,
    subscription: Subscription,
) -> Member<T::Consumer> {
    let name = Arc::clone(&subscription.member);
    let consumer = must(&format!("{name} joins"), transport.consume(subscription)).await;
    Member { name, consumer }
}

/// A consumer whose calls have to succeed, in time.
pub(super) struct Member<C> {
    pub(super) name: Arc<str>,
    pub(super) consumer: C,
}

impl<C: Consumer> Member<C> {
    pub(super) async fn receive(&self, max: usize, wait: Duration) -> Vec<Delivery<C::Receipt>> {
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
    pub(super) async fn take(&self, n: usize) -> Vec<Delivery<C::Receipt>> {
        self.take_within(n, DEADLINE).await
    }

    pub(super) async fn take_within(
        &self,
        n: usize,
        deadline: Duration,
    ) -> Vec<Delivery<C::Receipt>> {
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
    pub(super) async fn listen(&self, wait: Duration) -> Vec<usize> {
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

    /// Listens for a while: nothing may come.
    pub(super) async fn nothing(&self, wait: Duration, why: &str) {
        let came = self.listen(wait).await;
        assert!(
            came.is_empty(),
            "{} got {}, though {why}",
            self.name,
            list(came)
        );
    }

    pub(super) async fn acknowledge(&self, deliveries: &[Delivery<C::Receipt>]) {
        self.acknowledge_leases(&leases(deliveries)).await;
    }

    pub(super) async fn acknowledge_leases(&self, leases: &[Lease<C::Receipt>]) {
        let what = format!("{} acknowledges", self.name);
        must(&what, self.consumer.acknowledge(leases)).await;
    }

    pub(super) async fn release(&self, leases: &[Lease<C::Receipt>]) {
        let what = format!("{} releases", self.name);
        must(&what, self.consumer.release(leases)).await;
    }

    pub(super) async fn renew(&self, leases: &[Lease<C::Receipt>]) {
        let what = format!("{} renews", self.name);
        must(&what, self.consumer.renew(leases)).await;
    }

    pub(super) async fn claim(&self, keys: &[&str]) -> Vec<Claim> {
        let keys: Vec<Arc<str>> = keys.iter().map(|key| Arc::from(*key)).collect();
        let claims = must(&format!("{} claims", self.name), self.consumer.claim(&keys)).await;
        assert_eq!(claims.len(), keys.len(), "each key has its answer");
        claims
    }

    /// Claims until it is granted, and never `Done` before. Gives when that was.
    pub(super) async fn claim_when_free(&self, key: &str) -> Instant {
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

    pub(super) async fn backlog(&self) -> Backlog {
        must(&format!("{}'s backlog", self.name), self.consumer.backlog()).await
    }

    pub(super) async fn close(&self) {
        must(&format!("{} closes", self.name), self.consumer.close()).await;
    }
}

/// Renews leases while `check` runs. Gives nothing if the machine was too busy to renew in time, as
/// nothing can be said of the engine then.
pub(super) async fn while_kept<C: Consumer, T>(
    member: &Member<C>,
    leases: &[Lease<C::Receipt>],
    lease: Duration,
    check: impl Future<Output = T>,
) -> Option<T> {
    let mut check = pin!(check);
    let mut renewed = Instant::now();
    let mut late = false;
    loop {
        tokio::select! {
            found = &mut check => {
                late |= renewed.elapsed() > lease / 2;
                return (!late).then_some(found);
            }
            () = tokio::time::sleep(lease / 10) => {
                let start = Instant::now();
                member.renew(leases).await;
                late |= renewed.elapsed() > lease / 2;
                renewed = start;
            }
        }
    }
}

/// Tries until a try says something; the machine may be too busy for a few of them.
pub(super) async fn tries<T: Clone, F>(on: &T, check: impl Fn(T, usize) -> F) -> Outcome
where
    F: Future<Output = Option<()>>,
{
    for n in 0..5 {
        if check(on.clone(), n).await.is_some() {
            return Ok(());
        }
    }
    Err(Skipped("the machine is too busy to renew leases in time"))
}

pub(super) fn leases<R: Clone>(deliveries: &[Delivery<R>]) -> Vec<Lease<R>> {
    let lease = |delivery: &Delivery<R>| Lease {
        receipt: delivery.receipt.clone(),
        claim: None,
    };
    deliveries.iter().map(lease).collect()
}

pub(super) fn claimed<R: Clone>(delivery: &Delivery<R>, key: &str) -> Lease<R> {
    Lease {
        receipt: delivery.receipt.clone(),
        claim: Some(key.into()),
    }
}

/// Which records came, and how often, against those that should.
pub(super) struct Tally(Mutex<Seen>);

struct Seen {
    expected: BTreeSet<usize>,
    missing: BTreeSet<usize>,
    times: BTreeMap<usize, usize>,
    last: Instant,
}

impl Tally {
    pub(super) fn new(expected: impl IntoIterator<Item = usize>) -> Self {
        let expected: BTreeSet<_> = expected.into_iter().collect();
        Tally(Mutex::new(Seen {
            missing: expected.clone(),
            expected,
            times: BTreeMap::new(),
            last: Instant::now(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn saw<R>(&self, deliveries: &[Delivery<R>]) {
        let mut seen = self.lock();
        for id in ids(deliveries) {
            *seen.times.entry(id).or_default() += 1;
            seen.missing.remove(&id);
            seen.last = Instant::now();
        }
    }

    /// Whether everything came. Panics when nothing has come for long.
    pub(super) fn complete(&self) -> bool {
        let stuck = self.lock().last.elapsed() > DEADLINE;
        if stuck {
            self.none_lost();
        }
        self.lock().missing.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.lock().times.len()
    }

    pub(super) fn none_lost(&self) {
        let seen = self.lock();
        assert!(
            seen.missing.is_empty(),
            "lost {} of {} records: {}",
            seen.missing.len(),
            seen.expected.len(),
            list(seen.missing.iter().copied())
        );
    }

    pub(super) fn none_twice(&self) {
        let seen = self.lock();
        let twice: Vec<_> = seen.times.iter().filter(|(_, n)| **n > 1).collect();
        assert!(
            twice.is_empty(),
            "handed out more than once: {} of {} records: {}",
            twice.len(),
            seen.expected.len(),
            list(twice.iter().map(|(id, _)| **id))
        );
    }

    pub(super) fn none_foreign(&self) {
        let seen = self.lock();
        let foreign = seen.times.keys().filter(|id| !seen.expected.contains(id));
        let foreign = list(foreign.copied());
        assert!(
            foreign.is_empty(),
            "got records that belong elsewhere: {foreign}"
        );
    }

    pub(super) fn exactly_once(&self) {
        self.none_lost();
        self.none_twice();
        self.none_foreign();
    }
}

/// All members receive and acknowledge until everything came, and listen for a moment longer.
pub(super) async fn drain<C: Consumer>(members: Vec<Member<C>>, tally: &Arc<Tally>, max: usize) {
    let mut tasks = JoinSet::new();
    for member in members {
        let tally = Arc::clone(tally);
        tasks.spawn(async move {
            while !tally.complete() {
                let got = member.receive(max, Duration::from_millis(250)).await;
                tally.saw(&got);
                member.acknowledge(&got).await;
            }
            tally.saw(&member.receive(max, SILENCE).await);
        });
    }
    join_all(tasks).await;
}

/// `1, 2, 5 to 90`, and no more than twenty of them.
pub(super) fn list(ids: impl IntoIterator<Item = usize>) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == id => *last = id,
            _ => runs.push((id, id)),
        }
    }
    let mut text = String::new();
    for (at, (first, last)) in runs.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        let _ = match last - first {
            _ if at == 20 => {
                let _ = write!(text, " and {} more", runs.len() - at);
                break;
            }
            0 => write!(text, "{comma}{first}"),
            1 => write!(text, "{comma}{first}, {last}"),
            _ => write!(text, "{comma}{first} to {last}"),
        };
    }
    text
}

/// Numbers that look random and are the same every time.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: usize) -> Self {
        Dice(seed as u64 + 1)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        // Knuth's MMIX generator; its high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}
